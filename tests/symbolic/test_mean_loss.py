"""L = E l and Tr Hess L as expressions: exact by moments, one node over rows, refused where there is neither."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from symbolic import Dataset, InputError, Loss, Moments, Normal, Uniform, derive, library
from symbolic.functions.activations import relu
from symbolic.noise.covariance import Noise
from symbolic.noise.hessian import MeanHessian
from symbolic.problem.row_mean import RowMean

u, w, x, y, e = sp.symbols("u w x y e", real=True)
RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=60), RNG.normal(size=60)
ROWS = Dataset({x: X, y: Y})


def test_mean_of_a_polynomial_loss_is_exact() -> None:
    loss = Loss((u * w * x - x - e) ** 2, [u, w], {x: Uniform(0, 3), e: Normal(0, sp.Rational(1, 2))})
    assert sp.expand(loss.mean - (3 * (u * w - 1) ** 2 + sp.Rational(1, 4))) == 0


def test_mean_keeps_what_no_data_enters() -> None:
    loss = Loss((u * x - 1) ** 2 + w**2 / 2, [u, w], {x: Normal(0, 1)})
    assert sp.expand(loss.mean - (u**2 + 1 + w**2 / 2)) == 0


def test_mean_by_rows_of_a_polynomial_loss_is_a_polynomial() -> None:
    loss = Loss((u * w * x - y) ** 2, [u, w], ROWS)
    assert not loss.mean.has(RowMean)
    assert float(loss.mean.subs({u: 1.2, w: -0.7})) == pytest.approx(((-0.84 * X - Y) ** 2).mean(), rel=1e-14)


@pytest.mark.parametrize(
    "activation, numeric", [(sp.tanh, np.tanh), (relu, lambda h: np.maximum(h, 0)), (sp.Abs, np.abs), (sp.sin, np.sin)]
)
def test_mean_over_rows_is_one_node_with_its_value_and_slope(activation, numeric) -> None:
    loss = Loss((u * activation(w * x) - y) ** 2, [u, w], ROWS)
    assert isinstance(loss.mean, RowMean) and loss.mean.free_symbols == {u, w}

    def at(a: float, b: float) -> float:
        return float(((a * numeric(b * X) - Y) ** 2).mean())

    assert float(loss.mean.subs({u: 1.3, w: 0.8})) == pytest.approx(at(1.3, 0.8), rel=1e-14)
    slope = (at(1.3 + 1e-6, 0.8) - at(1.3 - 1e-6, 0.8)) / 2e-6
    assert float(sp.diff(loss.mean, u).subs({u: 1.3, w: 0.8})) == pytest.approx(slope, rel=1e-7)


def test_means_over_other_rows_differ() -> None:
    one, two = (Loss((u * sp.tanh(w * x) - y) ** 2, [u, w], Dataset({x: X, y: v})).mean for v in (Y, 2 * Y))
    assert one != two and hash(one) != hash(two)
    assert one == Loss((u * sp.tanh(w * x) - y) ** 2, [u, w], Dataset({x: X, y: Y})).mean


def test_mean_without_moments_or_rows_is_refused() -> None:
    with pytest.raises(InputError, match=r"^Loss.mean: needs the data's moments, or rows.*Dataset"):
        _ = Loss((u * sp.tanh(w * x) - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}).mean
    with pytest.raises(InputError, match=r"^Loss.mean: "):
        _ = Loss((u * w * x - 1) ** 2, [u, w], {x: Moments([0])}).mean


@pytest.mark.parametrize("name", ["rescaling", "matrix-factorization", "deep-linear", "two-layer-quadratic"])
def test_sharpness_expression_is_the_trace_of_the_hessian(name: str) -> None:
    loss = library.LIBRARY[name].build()
    written = derive(loss).sharpness_expression
    theta = np.random.default_rng(2).normal(size=loss.dimension)
    value = float(written.subs(dict(zip(loss.theta, theta, strict=True))))
    assert value == pytest.approx(np.trace(MeanHessian(Noise(loss))(theta)), rel=1e-10)


def test_sharpness_over_rows_of_a_network() -> None:
    loss = Loss((u * relu(w * x) + sp.tanh(u * x) - y) ** 2, [u, w], ROWS)
    theta = np.array([0.9, 1.7])
    value = float(derive(loss).sharpness_expression.subs({u: 0.9, w: 1.7}))
    assert value == pytest.approx(np.trace(MeanHessian(Noise(loss))(theta)), rel=1e-10)
