"""Averages over data in which a loss is no polynomial: exact over rows and nodes, else with an error that is true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Bernoulli, Dataset, Laplace, Loss, Moments, Normal, Uniform, derive, parameters
from symbolic.functions.activations import relu
from symbolic.noise.covariance import Noise
from symbolic.noise.data_points import data_points, gauss, node_counts, way
from symbolic.noise.hessian import MeanHessian
from symbolic.predictions.label_noise import label_noise
from symbolic.problem.distributions import bind

u, v, w, x, y, e, s = sp.symbols("u v w x y e s", real=True)
ROWS = np.random.default_rng(4).normal(size=(7, 2))
DATA = Dataset({x: ROWS[:, 0], y: ROWS[:, 1]})
AT = np.array([0.9, -0.6, 0.5])
LAWS: dict[str, tuple[Any, float, float]] = {
    "normal": (Normal(0.2, 0.3), 0.2, 0.09),
    "uniform": (Uniform(-1, 2), 0.5, 0.75),
    "laplace": (Laplace(1, 2), 1.0, 8.0),
    "coin": (Bernoulli(0.3), 0.3, 0.21),
    "moments": (Moments([1, 3]), 1.0, 2.0),
}


def net(noise: Any) -> Loss:
    """(v tanh(u w x) - y - e)^2, its e beside the rows."""
    return Loss((v * sp.tanh(u * w * x) - y - e) ** 2, [u, w, v], [DATA, {e: noise}])


def residual_and_slope() -> tuple[np.ndarray, np.ndarray]:
    """Of the network without e, at every row: (N,) and (N, 3)."""
    z = AT[0] * AT[1] * ROWS[:, 0]
    d = AT[2] / np.cosh(z) ** 2 * ROWS[:, 0]
    return AT[2] * np.tanh(z) - ROWS[:, 1], np.stack([d * AT[1], d * AT[0], np.tanh(z)], axis=1)


@pytest.mark.parametrize("name", LAWS)
def test_label_noise_beside_rows_is_exact(name: str) -> None:
    """g = 2 (r - e) grad r, so E g = 2 (r - m) grad r and E g g^T = 4 ((r - m)^2 + variance) grad r grad r^T."""
    law, mean, variance = LAWS[name]
    noise, (r, slope) = Noise(net(law)), residual_and_slope()
    g = 2 * (r - mean) @ slope / len(r)
    second = np.einsum("n,ni,nj->ij", 4 * ((r - mean) ** 2 + variance), slope, slope) / len(r)
    assert noise.source == "nodes" and noise.exact
    assert np.allclose(noise.mean_gradient(AT), g, rtol=1e-12, atol=1e-14)
    assert np.allclose(noise.sigma(AT), second - np.outer(g, g), rtol=1e-12, atol=1e-14)
    assert np.allclose(noise.factors(AT[None])[1][0] @ noise.factors(AT[None])[1][0].T, noise.sigma(AT), rtol=1e-12)
    label, rest = label_noise(net(law), "e").sigma(AT)
    assert np.allclose(label, 4 * variance * slope.T @ slope / len(r), rtol=1e-10, atol=1e-13)
    assert np.allclose(label + rest, noise.sigma(AT), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", LAWS)
def test_the_mean_loss_takes_what_is_drawn_beside_rows_by_its_moments(name: str) -> None:
    law, mean, variance = LAWS[name]
    loss, (r, _) = net(law), residual_and_slope()
    found = float(loss.mean.xreplace(dict(zip(loss.theta, map(sp.Float, AT), strict=True))))
    assert found == pytest.approx(float(np.mean((r - mean) ** 2) + variance), rel=1e-12)
    step = 1e-4
    means = [np.mean((residual_of(AT + k * step * axis) - mean) ** 2) for axis in np.eye(3) for k in (-1, 0, 1)]
    trace = sum(np.diff(np.diff(np.array(means).reshape(3, 3)))[:, 0]) / step**2
    assert np.trace(MeanHessian(Noise(loss))(AT)) == pytest.approx(trace, rel=1e-5)


def residual_of(theta: np.ndarray) -> np.ndarray:
    return theta[2] * np.tanh(theta[0] * theta[1] * ROWS[:, 0]) - ROWS[:, 1]


@pytest.mark.parametrize("law", [Normal(1, 2), Uniform(0, 3), Laplace(-1, 0.5)], ids=lambda law: law.name)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_nodes_have_the_moments_of_the_law(law: Any, n: int) -> None:
    (block,) = bind({e: law})
    nodes, weights = gauss(block, e, n, {})
    for p in range(2 * n):
        assert float(nodes**p @ weights) == pytest.approx(float(block.moment({e: p})), rel=1e-9, abs=1e-9)
    after = float(nodes ** (2 * n) @ weights)
    assert len(nodes) == n and after < float(block.moment({e: 2 * n})) * (1 - 1e-6)  # and no more


def test_nodes_of_a_law_of_few_values_are_these() -> None:
    (block,) = bind({e: Moments([sp.Rational(1, 4)] * 8)})  # a coin, by its moments
    nodes, weights = gauss(block, e, 4, {})
    assert np.allclose(nodes, [0, 1], atol=1e-12) and np.allclose(weights, [0.75, 0.25])
    (block,) = bind({e: Normal(3, 0)})
    assert gauss(block, e, 3, {})[0].tolist() == [3.0]
    (block,) = bind({e: Normal(s, 2)})
    assert np.allclose(gauss(block, e, 2, {s: 5.0})[0], [3.0, 7.0])


def test_nodes_are_of_what_the_gradient_is_a_polynomial_in() -> None:
    data = {x: Normal(0, 1), y: Normal(0, 1), (e, s): Normal(0, covariance=[[2, 1], [1, 2]])}
    loss = Loss((v * sp.tanh(u * w * x) * y - e * s + y**3) ** 2, [u, w, v], data)
    assert node_counts(loss) == {y: 5}  # of (f y + ..)^2: f^2 y^2, f y^4; e and s hang together
    found = way(loss)
    assert found is not None and set(found.drawn) == {x, y, e, s} and not found.exact  # five nodes are too many beside
    coins = Loss(
        (v * relu(u * x * y + w) - e) ** 2, [u, w, v], {x: Bernoulli(0.5), y: Bernoulli(0.2), e: Laplace(0, 1)}
    )
    points = data_points(coins, way(coins), {})  # type: ignore[arg-type]
    assert points.sets is None and points.at.shape == (3, 8) and points.weights.sum() == pytest.approx(1)


UNIT = Loss((v * relu(u * x) - y) ** 2, [u, v], {x: Normal(0, 1), y: Normal(0, 1)})
WIDE = parameters(W=(3, 4), a=(3,), X=(4,), Y=())


def test_an_estimate_states_its_error() -> None:
    """Tr[Sigma A] of v relu(u x) - y with A = diag(1, -1), by the half-normal's moments m2 = 1/2, m3 = sqrt(2/pi), m4 =
    3/2: it is off by less than five of its standard errors, and that is a few per cent."""
    (charge,) = [c for c in derive(UNIT).charges if c.expression.has(u)]
    a, b = 0.8, -0.7  # u > 0: relu(u x) = u x for x > 0
    sign = 1 if sp.expand(charge.expression - (u**2 - v**2)) == 0 else -1
    # g_u = 2 r v x 1[x>0], g_v = 2 r u x 1[x>0], r = v u x - y: E g_u^2 - E g_v^2 = 4 (v^2 - u^2) (u^2 v^2 m4 + m2)
    second = 4 * (b**2 - a**2) * (a**2 * b**2 * 1.5 + 0.5)
    first = 4 * (b**2 - a**2) * (a * b * 0.5) ** 2
    exact = 0.1 * sign * (second - first)
    sgd, at = SGD(0.1), np.array([a, b])
    found, error = charge.drift_at(at, sgd), charge.drift_error(at, sgd)
    assert 0 < error < 0.02 * abs(exact) and abs(found - exact) < 5 * error
    rows = Loss(UNIT.expression, [u, v], Dataset({x: ROWS[:, 0], y: ROWS[:, 1]}))
    assert derive(rows).charges[0].drift_error(at, sgd) == 0


def test_errors_are_those_of_other_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve averages, each of points scrambled anew: their spread is the error that each states, within a factor that
    a chi-square of 11 leaves at one in ten thousand (and the stated ones' own, of 7)."""
    from scipy.stats import qmc

    own, W = qmc.Sobol, WIDE
    loss = Loss(
        (W[1].dot((W[0] @ W[2]).applyfunc(relu)) - W[3]) ** 2,
        {"W": W[0], "a": W[1]},
        {W[2]: Normal(0, 1), W[3]: Uniform(-1, 1)},
    )
    theta = np.random.default_rng(1).normal(size=loss.dimension)
    found, errors = [], []
    for k in range(12):
        monkeypatch.setattr(
            qmc, "Sobol", lambda axes, scramble, seed, k=k: own(axes, scramble=scramble, seed=seed + 1000 * k)
        )
        noise = Noise(loss)
        found.append(float(np.trace(noise.sigma(theta)[:12, :12])))
        errors.append(noise.trace_error(theta, lambda g: np.sum(g[:, :12] ** 2, axis=1)))
    ratio = np.std(found, ddof=1) / np.sqrt(np.mean(np.square(errors)))
    assert 0.4 < ratio < 1.9
