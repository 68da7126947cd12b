"""The optimiser's settings: what they refuse, schedules, and the share of noise that sampling leaves."""

from __future__ import annotations

from itertools import combinations
from typing import Any, cast

import numpy as np
import pytest
import sympy as sp

from symbolic import SDE, Dataset, Loss, Normal
from symbolic.problem.optimizer import SGD, cosine, t, warmup


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0}, "SGD.learning_rate: must be positive"),
        ({"learning_rate": -0.1}, "SGD.learning_rate: must be positive"),
        ({"learning_rate": float("nan")}, "SGD.learning_rate: must be a finite number"),
        ({"learning_rate": "0.1"}, r"SGD.learning_rate: must be a finite number; got '0.1' \(str\)"),
        ({"learning_rate": True}, "SGD.learning_rate: must be a finite number"),
        ({"learning_rate": 0.1, "batch_size": 0}, "SGD.batch_size: must be a whole number of at least 1"),
        ({"learning_rate": 0.1, "batch_size": 1.5}, "SGD.batch_size: must be a whole number"),
        ({"learning_rate": 0.1, "batch_size": True}, "SGD.batch_size: must be a whole number"),
        ({"learning_rate": 0.1, "batch_size": "a"}, "SGD.batch_size: must be a whole number"),
        ({"learning_rate": 0.1, "batch_size": float("inf")}, "SGD.batch_size: must be a whole number"),
        ({"learning_rate": 0.1, "weight_decay": -1}, "SGD.weight_decay: must not be negative"),
        ({"learning_rate": 0.1, "momentum": 1.0}, r"SGD.momentum: must lie in \[0, 1\)"),
        ({"learning_rate": 0.1, "momentum": -0.1}, r"SGD.momentum: must lie in \[0, 1\)"),
        ({"learning_rate": 0.1, "nesterov": True}, "SGD.nesterov: needs a momentum above 0"),
        ({"learning_rate": 0.1, "momentum": 0.5, "nesterov": 1}, "SGD.nesterov: must be True or False"),
        ({"learning_rate": 0.1, "schedule": [t]}, "SGD.schedule: must be an expression"),
        ({"learning_rate": 0.1, "schedule": sp.Symbol("t")}, "SGD.schedule: must be an expression"),
        ({"learning_rate": 0.1, "schedule": sp.Symbol("s", real=True)}, "SGD.schedule: must be an expression"),
    ],
)
def test_refusals(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SGD(**settings)


@pytest.mark.parametrize("number", [1, np.float64(0.5), np.float32(0.5), np.int64(1), sp.Rational(1, 2)])
def test_any_real_number_is_a_learning_rate(number: Any) -> None:
    sgd = SGD(number, batch_size=cast("int", np.int64(4)))
    assert type(sgd.learning_rate) is float and type(sgd.batch_size) is int
    assert sgd.temperature == float(number) / 4


def test_it_is_frozen_and_comparable() -> None:
    assert SGD(0.1) == SGD(0.1, 1) and hash(SGD(0.1)) == hash(SGD(0.1)) and SGD(0.1) != SGD(0.2)
    with pytest.raises(AttributeError):
        SGD(0.1).learning_rate = 0.2  # type: ignore[misc]


def test_schedules() -> None:
    times = np.array([0.0, 1.0, 2.5, 5.0, 7.0, 100.0])
    assert SGD(0.1).factor(times).tolist() == [1.0] * 6
    assert SGD(0.1, schedule=warmup(5)).factor(times) == pytest.approx([0, 0.2, 0.5, 1, 1, 1], abs=1e-15)
    found = SGD(0.1, schedule=cosine(10, 0.1)).factor(times)
    assert found == pytest.approx(0.1 + 0.45 * (1 + np.cos(np.pi * np.minimum(times / 10, 1))), rel=1e-14)
    assert SGD(0.1, schedule=sp.Integer(2)).factor(times).tolist() == [2.0] * 6
    assert SGD(0.1, schedule=warmup(0.3) * cosine(7.7)).factor(np.array([0.15]))[0] == pytest.approx(
        0.25 * (1 + np.cos(np.pi * 0.15 / 7.7))
    )


@pytest.mark.parametrize(("schedule", "got"), [(1 - t, "-1.0"), (1 / (t - 2), "inf|-0.5"), (sp.log(t), "inf")])
def test_a_schedule_must_stay_finite_and_not_negative(schedule: sp.Expr, got: str) -> None:
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=f"SGD.schedule: must be finite and not negative; got .*({got})"),
    ):
        SGD(0.1, schedule=schedule).factor(np.array([0.0, 2.0]))


@pytest.mark.parametrize(("rows", "batch"), [(6, 1), (6, 2), (6, 5), (6, 6), (1, 1)])
def test_noise_factor_by_enumeration(rows: int, batch: int) -> None:
    """Cov of the mean of all subsets of size S, over Sigma/S. docs/theory.md eq. (1.3)."""
    values = np.arange(rows, dtype=float) ** 2
    means = [np.mean(c) for c in combinations(values, batch)]
    factor = SGD(0.1, batch, replacement=False).noise_factor(rows)
    assert factor * np.var(values) / batch == pytest.approx(np.var(means), abs=1e-12)
    assert SGD(0.1, batch).noise_factor(rows) == 1 and SGD(0.1, batch, replacement=False).noise_factor(None) == 1


def test_a_batch_without_replacement_fits_the_data() -> None:
    with pytest.raises(ValueError, match=r"SGD.batch_size: without replacement .* got 7 \(int\) of 6 rows"):
        SGD(0.1, 7, replacement=False).noise_factor(6)


u, w, x, e, q = sp.symbols("u w x e q", real=True)
ROWS = Dataset({x: [1.0, 2.0, -1.0, 0.5, 3.0], e: [0.0, 1.0, -1.0, 2.0, 0.5]})


def test_rates_are_the_coefficients_of_the_setting() -> None:
    loss = Loss((u * x - w * e) ** 2, [u, w], ROWS)
    sgd = SGD(0.1, 2, weight_decay=0.3, momentum=0.9, replacement=False, schedule=warmup(4.0))
    exact, numbers = sgd.rates(loss, exact=True), sgd.rates(loss)
    assert (exact.temperature, exact.variance) == (sp.Rational(3, 80), sp.Rational(3, 8))
    assert (exact.weight_decay, exact.learning_rate, exact.population) == (sp.Rational(3, 10), sp.Rational(1, 10), 5)
    assert exact.inertia == sp.Rational(1, 10) and sp.expand(exact.speed - 10 * sp.Min(t / 4, 1)) == 0
    for field in ("temperature", "variance", "weight_decay", "learning_rate", "inertia"):
        assert getattr(numbers, field) == pytest.approx(float(getattr(exact, field)), rel=1e-15)
        assert type(getattr(numbers, field)) is float
    assert SGD(0.1).rates(loss).speed == 1 and SGD(0.1, 2).rates(loss).temperature == 0.05


def test_what_the_loss_does_not_use_has_no_part_in_its_population() -> None:
    sgd = SGD(0.1, 2, replacement=False)
    beside: Any = [ROWS, {q: Normal(0, 1)}]
    assert sgd.rates(Loss((u * x - e) ** 2, [u], beside)).population == 5
    assert SGD(0.1, 2).rates(Loss((u * x - q) ** 2, [u], beside)).population is None
    with pytest.raises(ValueError, match="SGD.replacement: without replacement the noise needs all data"):
        sgd.rates(Loss((u * x - q) ** 2, [u], beside))
    with pytest.raises(ValueError, match=r"SGD.batch_size: without replacement .* got 7 \(int\) of 5 rows"):
        SGD(0.1, 7, replacement=False).rates(Loss((u * x - e) ** 2, [u], ROWS))


def test_the_equation_has_the_rates_and_the_noise_of_its_rows() -> None:
    """Drift -s (mean gradient + wd theta) and diffusion s^2 T Sigma, by plain averages over the rows. docs/theory.md
    eq. (1.1)."""
    loss = Loss((u * w * x - e) ** 2, [u, w], ROWS)
    sgd = SGD(0.1, 2, weight_decay=0.3, momentum=0.5, replacement=False, schedule=warmup(4.0))
    sde, theta = SDE.from_loss(loss, sgd), np.array([1.5, -0.5])
    a, b = ROWS.table.T
    gradients = 2 * (theta[0] * theta[1] * a - b) * a * theta[::-1, None]
    s, heat = 0.25 * 2, 0.05 * 3 / 4  # at t = 1: a quarter of the rate, doubled by momentum
    at = {u: theta[0], w: theta[1]}
    f = np.array(sde.drift(sp.Matrix([u, w]), sp.Integer(1)).subs(at).tolist(), float)[:, 0]
    g = np.array(sde.diffusion(sp.Matrix([u, w]), sp.Integer(1)).subs(at).tolist(), float)
    assert f == pytest.approx(-s * (gradients.mean(axis=1) + 0.3 * theta), rel=1e-12)
    assert g @ g.T == pytest.approx(s**2 * heat * np.cov(gradients, bias=True), rel=1e-12)
