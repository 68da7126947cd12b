"""Joint equilibria with translations and weight decay, against what weight decay does alone."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from sde.spec.problem_file import spec_for
from symbolic import SGD, Dataset, Loss, Normal, derive, library
from symbolic.display import at_point
from symbolic.library._shared import array
from symbolic.problem.parameter import entries

DECAY = SGD(0.05, batch_size=10, weight_decay=0.01)


def test_case_b7_softmax_on_iris_ends_at_column_sums_zero() -> None:
    spec = spec_for("examples/iris_softmax.toml")
    theory, start = derive(spec.loss), spec.run["start"]
    joint = theory.equilibrium(start, DECAY).joint
    assert joint is not None and joint.converged and joint.residual < 1e-9
    found = spec.loss.unpack(joint.theta)
    assert np.abs(found["W"].sum(axis=0)).max() < 1e-9 and abs(found["b"].sum()) < 1e-9
    W, b = np.array(start["W"]), np.array(start["b"])
    assert np.allclose(found["W"], W - W.mean(axis=0), atol=1e-9) and np.allclose(found["b"], b - b.mean(), atol=1e-9)
    assert np.allclose(joint.rates, DECAY.weight_decay, rtol=1e-6)
    theta = spec.loss.pack(start)
    assert np.allclose(joint.transform @ theta + joint.shift, joint.theta)
    assert "all drifts vanish together (residual" in at_point(theory, start, DECAY)


@pytest.mark.parametrize("sizes", [(2, 3), (1, 4), (4, 2)])
def test_case_b7_softmax_of_other_sizes(sizes: tuple[int, int]) -> None:
    loss = library.softmax_regression(*sizes, rows=24)
    theta = np.random.default_rng(4).standard_normal(loss.dimension)
    joint = derive(loss).equilibrium(loss.unpack(theta), DECAY).joint
    assert joint is not None and joint.converged
    found = loss.unpack(joint.theta)
    assert max(np.abs(found["W"].sum(axis=0)).max(), abs(found["b"].sum())) < 1e-9


def test_case_b7_a_rescaling_beside_a_translation() -> None:
    """(u w x + p - q - y)^2: p + q goes to 0, and (u, w) to the equilibrium that it has alone under decay."""
    u, w, p, q, x, y = sp.symbols("u w p q x y", real=True)
    data = {x: Normal(0, 1), y: Normal(0, 1)}
    sgd = SGD(0.02, weight_decay=0.05)
    whole = derive(Loss((u * w * x + p - q - y) ** 2, [u, w, p, q], data))
    joint = whole.equilibrium({u: 1.2, w: 0.6, p: 0.5, q: -0.1}, sgd).joint
    assert joint is not None and joint.converged
    assert np.allclose(joint.theta[2:], [0.3, -0.3])
    assert np.allclose(np.abs(joint.theta[:2]), np.sqrt(1.2 * 0.6))
    assert joint.residual < 1e-9


def test_case_b7_an_affine_generator() -> None:
    """(u (w + 1) x - y)^2: C = u^2 - (w + 1)^2; the minimum of (T/2) Tr Sigma + lambda |theta|^2 by a scan of the
    orbit."""
    u, w, x, y = sp.symbols("u w x y", real=True)
    loss = Loss((u * (w + 1) * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})
    theory, sgd = derive(loss), SGD(0.1, weight_decay=0.02)
    joint = theory.equilibrium({u: 1.2, w: 0.6}, sgd).joint
    assert joint is not None and joint.converged and joint.residual < 1e-9
    s = np.linspace(-2, 2, 40_001)
    orbit = np.stack([1.2 * np.exp(s), 1.6 * np.exp(-s) - 1], axis=-1)
    sigma = theory.noise.sigma(np.array([1.2, 0.6]))
    trace = sigma[0, 0] * np.exp(-2 * s) + sigma[1, 1] * np.exp(2 * s)
    best = orbit[np.argmin(0.05 * trace + 0.02 * (orbit**2).sum(axis=1))]
    assert np.allclose(joint.theta, best, atol=2e-4)


def test_case_b7_without_decay_translations_rest() -> None:
    loss = library.softmax_regression()
    theta = np.random.default_rng(4).standard_normal(loss.dimension)
    joint = derive(loss).equilibrium(loss.unpack(theta), SGD(0.05)).joint
    assert joint is None or np.allclose(joint.theta, theta)


def test_case_b7_logits_through_a_product() -> None:
    """Softmax of V W x: shifts of V's columns beside GL(2); all drifts vanish with V's column sums at 0."""
    V, W, x, y = (entries(n, s) for n, s in (("V", (3, 2)), ("W", (2, 2)), ("x", (2,)), ("y", (3,))))
    z = V @ (W @ x)
    rng = np.random.default_rng(2)
    data = Dataset({array(x): rng.standard_normal((30, 2)).round(3), array(y): np.eye(3)[rng.integers(0, 3, 30)]})
    loss = Loss(sp.log(sp.Add(*map(sp.exp, z))) - y @ z, {"V": V, "W": W}, data)
    start = loss.unpack(rng.standard_normal(loss.dimension))
    joint = derive(loss).equilibrium(start, SGD(0.05, weight_decay=0.2)).joint
    assert joint is not None and joint.converged and joint.residual < 1e-9
    assert np.abs(loss.unpack(joint.theta)["V"].sum(axis=0)).max() < 1e-8
