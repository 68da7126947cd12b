"""Losses as polynomials in their data: l = c_0 + sum_k c_k m_k, exactly, and None where they are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp

from symbolic import Bernoulli, Dataset, Loss, Moments, Normal, Uniform, parameters
from symbolic.functions.activations import relu
from symbolic.problem.features import features

u, v, w, x, y, e = sp.symbols("u v w x y e", real=True)
RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(25, 3)) + np.array([0.5, -1.0, 2.0])


def _chain() -> Loss:
    A, B, X, E = parameters(A=(2, 2), B=(2, 3), X=(3,), E=(2,))
    r = A * B * X - sp.Matrix([X[0] + X[1], X[2]]) - E
    return Loss((r.T * r)[0, 0], [A, B], {X: Normal(0, [1, 2, 3]), E: Normal(0, 0.5)})


def _deep() -> Loss:
    A, B, C, X = parameters(A=(1, 2), B=(2, 2), C=(2, 2), X=(2,))
    return Loss(((A * B * C * X)[0, 0] - y) ** 2, [A, B, C], {X: Normal(1, 1), y: Uniform(-1, 2)})


CASES: dict[str, Callable[[], Loss]] = {
    "chain": _chain,
    "deep": _deep,
    "nested": lambda: Loss(
        ((u * (w * x + v) + w) * (x + u * (y + v)) - e) ** 2,
        [u, v, w],
        {x: Normal(0, 1), y: Bernoulli(0.3), e: Normal(0, 1)},
    ),
    "nested-powers": lambda: Loss(((u * x + v) ** 2 * w - y) ** 3, [u, v, w], {x: Normal(0, 1), y: Normal(1, 1)}),
    "ridge": lambda: Loss((u * w * x - y) ** 2 + (u**2 + w**2) / 10 + 7, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}),
    "label-noise": lambda: Loss((u * w * x - x - e) ** 2, [u, w], {x: Normal(0, 1), e: Normal(0, 0.5)}),
    "smooth-in-theta": lambda: Loss(
        (sp.tanh(u) * x / sp.sqrt(1 + w**2) - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}
    ),
    "relu-in-theta": lambda: Loss((relu(u) * x - w * y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}),
    "cancelling": lambda: Loss(
        (u + x) ** 2 - (u - x) ** 2 + w * x * y - w * y * x + w * y, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}
    ),
    "dataset": lambda: Loss((u * x + v * y - e) ** 2, [u, v], Dataset({x: ROWS[:, 0], y: ROWS[:, 1], e: ROWS[:, 2]})),
    "mixed": lambda: Loss(
        (u * x - v * y - e) ** 2, [u, v], [Dataset({x: ROWS[:, 0], y: ROWS[:, 1]}), {e: Normal(0, 1)}]
    ),
    "same-power-twice": lambda: Loss(u * x**2 + v * x * x + w * x, [u, v, w], {x: Normal(0, 1)}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_expansion_is_the_loss(name: str) -> None:
    """Up to what holds no parameter, such as y**2, which moves nothing and is left out."""
    loss = CASES[name]()
    f = features(loss)
    assert f is not None
    total = f.constant + sp.Add(*(c * m for c, m in zip(f.coefficients, f.monomials, strict=True)))
    left_out = sp.expand(loss.expression - total)
    assert not left_out.free_symbols & set(loss.theta)


@pytest.mark.parametrize("name", CASES)
def test_monomials_are_distinct_and_of_the_data_only(name: str) -> None:
    loss = CASES[name]()
    f = features(loss)
    assert f is not None
    assert len(set(f.monomials)) == len(f.monomials)
    assert all(m != 1 and m.free_symbols <= set(loss.z) for m in f.monomials)
    assert all(c.free_symbols <= set(loss.theta) for c in (*f.coefficients, f.constant))


def test_moments_of_a_polynomial_loss() -> None:
    f = features(CASES["label-noise"]())
    assert f is not None
    found = dict(zip(f.monomials, f.mean, strict=True))
    assert found == {x**2: 1, x * e: 0}
    k, j = f.monomials.index(x**2), f.monomials.index(x * e)
    assert f.covariance[k, k] == 2 and f.covariance[j, j] == sp.Rational(1, 4) and f.covariance[k, j] == 0


@pytest.mark.parametrize("name", ["chain", "nested", "dataset", "mixed", "deep"])
def test_mean_gradient_through_features(name: str) -> None:
    """H E m against the expectation of the expanded loss's gradient, monomial by monomial."""
    loss = CASES[name]()
    f = features(loss)
    assert f is not None
    mean, covariance = f.numeric_moments()
    assert mean == pytest.approx(np.array(f.mean, dtype=float), rel=1e-12, abs=1e-12)
    assert covariance == pytest.approx(np.array(f.covariance.tolist(), dtype=float), rel=1e-9, abs=1e-9)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9 * np.abs(covariance).max()


def test_covariance_of_rows_is_that_of_numpy() -> None:
    f = features(CASES["dataset"]())
    assert f is not None
    columns = dict(zip((x, y, e), ROWS.T, strict=True))
    values = np.array([sp.lambdify((x, y, e), m)(columns[x], columns[y], columns[e]) for m in f.monomials])
    mean, covariance = f.numeric_moments()
    assert mean == pytest.approx(values.mean(axis=1), rel=1e-13)
    assert covariance == pytest.approx(np.cov(values, bias=True), rel=1e-12)


@pytest.mark.parametrize("order", [(x, y, e), (e, x, y), (y, e, x)])
def test_columns_that_the_loss_does_not_use_change_nothing(order: tuple[sp.Symbol, ...]) -> None:
    columns = dict(zip((x, y, e), ROWS.T, strict=True))
    alone = features(Loss((u * x) ** 2, [u], Dataset({x: columns[x]})))
    beside = features(Loss((u * x) ** 2, [u], Dataset({s: columns[s] for s in order})))
    assert alone is not None and beside is not None
    for expected, found in zip(alone.numeric_moments(), beside.numeric_moments(), strict=True):
        assert found == pytest.approx(expected, rel=1e-13)


def test_two_of_three_columns() -> None:
    f = features(Loss((u * x - y) ** 2, [u], Dataset({x: ROWS[:, 0], e: ROWS[:, 2], y: ROWS[:, 1]})))
    assert f is not None
    mean, _ = f.numeric_moments()
    by_name = dict(zip(f.monomials, mean, strict=True))
    assert by_name[x**2] == pytest.approx(np.mean(ROWS[:, 0] ** 2)) and by_name[x * y] == pytest.approx(
        np.mean(ROWS[:, 0] * ROWS[:, 1])
    )


@pytest.mark.parametrize("name", ["phi_0", "phi_1"])
def test_a_parameter_may_bear_the_name_of_a_part(name: str) -> None:
    p = sp.Symbol(name, real=True)
    loss = Loss(((u + p) ** 2 * x - y) ** 2, [u, p], {x: Normal(0, 1), y: Normal(0, 1)})
    f = features(loss)
    assert f is not None
    total = f.constant + sp.Add(*(c * m for c, m in zip(f.coefficients, f.monomials, strict=True)))
    assert all(sp.expand(sp.diff(loss.expression - total, s)) == 0 for s in loss.theta)


@pytest.mark.parametrize(
    "expression",
    [
        (relu(u * x) - y) ** 2,
        (sp.tanh(u * x) - y) ** 2,
        sp.Abs(u * x - y),
        sp.Max(0, u * x),
        sp.sqrt(1 + (u * x) ** 2),
        u / (1 + x**2),
        sp.exp(u * x),
        sp.Piecewise((u * x, x > 0), (0, True)),
        u**x,
        u * x ** sp.Rational(1, 2),
    ],
)
def test_losses_that_are_not_polynomial_in_the_data(expression: sp.Expr) -> None:
    law = {s: Normal(0, 1) for s in (x, y) if s in expression.free_symbols}
    assert features(Loss(expression, [u], law)) is None


def test_a_loss_of_moments_alone_has_numbers() -> None:
    f = features(Loss((u * x - 1) ** 2, [u], {x: Moments([0, 1, 0, 5])}))
    assert f is not None
    mean, covariance = f.numeric_moments()
    by_name = dict(zip(f.monomials, mean, strict=True))
    assert by_name == {x**2: 1.0, x: 0.0}
    assert covariance[f.monomials.index(x**2), f.monomials.index(x**2)] == 4.0


def test_symbols_in_laws_stay_symbols_and_are_refused_as_numbers() -> None:
    s = sp.Symbol("s", positive=True)
    f = features(Loss((u * x - 1) ** 2, [u], {x: Normal(0, s)}))
    assert f is not None
    k = f.monomials.index(x**2)
    assert f.covariance[k, k] == 2 * s**4
    with pytest.raises(ValueError, match=r"numbers are needed to simulate; got laws with symbols \['s'\]"):
        f.numeric_moments()


def test_a_loss_without_noise_has_no_features() -> None:
    """Nothing that the data touch moves theta: deterministic dynamics, not an error."""
    for loss in (Loss(u**2 + w**2, [u, w], {}), Loss(u**2 * w + x, [u, w], {x: Normal(0, 1)})):
        f = features(loss)
        assert f is not None and f.monomials == ()
        mean, covariance = f.numeric_moments()
        assert mean.shape == (0,) and covariance.shape == (0, 0)
