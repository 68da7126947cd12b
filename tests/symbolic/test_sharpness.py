"""The sharpness under noise: exact Hessians, S along orbits, its rates against integrated and simulated motion,
verdicts and stability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from symbolic import SGD, Dataset, Loss, Moments, Normal
from symbolic.library import LIBRARY, matrix_factorization, rescaling
from symbolic.noise.covariance import Noise
from symbolic.noise.hessian import MeanHessian, trace_expression
from symbolic.predictions.sharpness import sharpness
from symbolic.problem.optimizer import warmup
from symbolic.problem.parameter import entries
from symbolic.theory import Theory, derive
from tests.symbolic import losses
from tests.symbolic.losses import u, w, x, y


def net(outputs: Any, inputs: Any, target: np.ndarray) -> Loss:
    """|U W x - target x - e|^2 with diagonal covariances given by the two lists of standard deviations."""
    dy, dx = target.shape
    h = int(np.linalg.matrix_rank(target))
    big_u, big_w, z, e = entries("U", (dy, h)), entries("W", (h, dx)), entries("x", (dx,)), entries("e", (dy,))
    goal = np.vectorize(sp.Rational, otypes=[object])(target)
    residual = big_u @ (big_w @ z) - goal @ z - e
    data = {sp.ImmutableMatrix(z): Normal(0, list(inputs)), sp.ImmutableMatrix(e): Normal(0, list(outputs))}
    return Loss(sp.Add(*(r**2 for r in residual)), {"U": big_u, "W": big_w}, data, name="net")


def differences(f: Any, theta: np.ndarray, step: float = 1e-5) -> np.ndarray:
    return np.array([(f(theta + step * d) - f(theta - step * d)) / (2 * step) for d in np.eye(len(theta))])


# the Hessian


@pytest.mark.parametrize(
    "name", ["rescaling", "deep-linear", "scale-invariant", "two-layer-relu", "two-layer-tanh", "softmax-regression"]
)
def test_hessian_is_the_gradients_derivative(name: str) -> None:
    entry = LIBRARY[name]
    noise = Noise(entry.build())
    theta = noise.loss.pack(entry.start)
    assert MeanHessian(noise)(theta) == pytest.approx(differences(noise.mean_gradient, theta), abs=1e-8)


def test_hessian_is_exact() -> None:
    """Against SymPy's Hessian of the expectation at a rational point, to rounding."""
    loss = losses.rescaling(mean=1, std=2)
    noise, features = Noise(loss), Noise(loss).features
    assert features is not None
    mean = sum(m * c for m, c in zip(features.mean, features.coefficients, strict=True))
    known = np.array(sp.hessian(mean, loss.theta).subs({u: sp.Rational(3, 7), w: sp.Rational(-5, 3)}), dtype=float)
    assert MeanHessian(noise)(np.array([3 / 7, -5 / 3])) == pytest.approx(known, rel=1e-14)


def test_two_layer_regression_has_the_closed_form() -> None:
    """S = 2 (dy Tr[W Sx W'] + |U|^2 Tr Sx). Source: docs/theory.md, section 5; arXiv 2402.07193."""
    loss = matrix_factorization(3, 2, 4)
    theta = np.random.default_rng(0).normal(size=loss.dimension)
    big_u, big_w = theta[:6].reshape(3, 2), theta[6:].reshape(2, 4)
    sx = np.diag([1.2, 1.0, 0.8, 0.6]) ** 2
    known = 2 * (3 * np.trace(big_w @ sx @ big_w.T) + np.sum(big_u**2) * np.trace(sx))
    found = sharpness(derive(loss), loss.unpack(theta), SGD(0.01))
    assert found.value == pytest.approx(known, rel=1e-13)
    assert found.expression is not None
    assert float(found.expression.subs(dict(zip(loss.theta, theta, strict=True)))) == pytest.approx(known, rel=1e-13)


def test_trace_keeps_the_symbols_of_the_laws() -> None:
    m2, s = sp.symbols("m2 s", positive=True)
    loss = Loss((u * w * x - y) ** 2, [u, w], {x: Moments([0, m2]), y: Normal(0, s)})
    found = trace_expression(Noise(loss))
    assert found is not None
    assert sp.expand(found - 2 * m2 * (u**2 + w**2)) == 0
    assert trace_expression(Noise(LIBRARY["two-layer-relu"].build())) is None


# along the orbit


def test_along_the_orbit_at_any_point_and_for_affine_charges() -> None:
    """S(theta_lambda) = Tr[H e^{-2 lambda A}] holds away from a minimum too, since theta_lambda is affine in theta."""
    shifted = Loss(((u + 1) * (w - 2) * x - y) ** 2, [u, w], {x: Normal(1, 1), y: Normal(0, 1)})
    found = sharpness(derive(shifted), {u: 0.3, w: 0.4}, SGD(0.01))
    hessian = MeanHessian(Noise(shifted))
    for lam in (-0.7, 0.0, 0.4):
        moved = np.array([1.3 * np.exp(lam) - 1, -1.6 * np.exp(-lam) + 2])
        sign = np.sign(found.charges[0].charge.A[0, 0])
        assert found.along(0, sign * lam) == pytest.approx(np.trace(hessian(moved)))
    entry = LIBRARY["matrix-factorization"]
    theory = derive(entry.build())
    theta = theory.loss.pack(entry.start)
    found, hessian = sharpness(theory, entry.start, SGD(0.01)), MeanHessian(theory.noise)
    for k, c in enumerate(theory.charges):
        values = [np.trace(hessian(expm(lam * c.A) @ theta)) for lam in (-0.5, 0.3)]
        assert found.along(c.name, [-0.5, 0.3]) == pytest.approx(values)
        assert found.along(k, 0.0) == pytest.approx(found.value)
        slope = (found.along(k, 1e-5) - found.along(k, -1e-5)) / 2e-5
        assert found.charges[k].slope == pytest.approx(slope, rel=1e-6, abs=1e-7)
    with pytest.raises(ValueError, match="charge must be"):
        found.along("C_9", 0.0)


def integrated(theory: Theory, k: int, theta: np.ndarray, temperature: float, decay: float, time: float) -> Any:
    """theta moved along one orbit so that the charge follows its own law, C' = T Tr[Sigma A] - 2 lambda_wd C, C by
    C(theta) itself."""
    charge = theory.charges[k]

    def velocity(_: float, at: np.ndarray) -> np.ndarray:
        push = temperature * np.trace(theory.sigma(at) @ charge.A) - 2 * decay * charge.value(at)
        field = charge.A @ at
        slope = (charge.value(at + 1e-6 * field) - charge.value(at - 1e-6 * field)) / 2e-6
        return push / slope * field

    return solve_ivp(velocity, (0, time), theta, rtol=1e-10, atol=1e-12, dense_output=True)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_rate_of_each_charge_is_the_slope_of_integrated_motion(index: int) -> None:
    entry = LIBRARY["matrix-factorization"]
    theory = derive(entry.build())
    theta = theory.loss.pack(entry.start)
    found = sharpness(theory, entry.start, SGD(0.02, batch_size=2))
    path = integrated(theory, index, theta, 0.01, 0.0, 1.0).sol
    hessian = MeanHessian(theory.noise)
    s = [np.trace(hessian(path(t))) for t in (0.0, 0.01, 0.02)]
    slope = (-3 * s[0] + 4 * s[1] - s[2]) / 0.02
    c = found.charges[index]
    assert c.rate == pytest.approx(slope, rel=1e-4)
    assert -c.rate != pytest.approx(slope, rel=1e-4)
    assert c.verdict == ("sharpens" if slope > 0 else "flattens")


def test_one_charge_with_weight_decay_and_momentum() -> None:
    """S(t) integrated from the charge's law: both rates, and the value at the equilibrium. Momentum multiplies T by
    1/(1 - beta) and time as well."""
    theory = derive(rescaling())
    sgd = SGD(0.1, weight_decay=0.05, momentum=0.5)
    found = sharpness(theory, {"u": 2.0, "w": 0.5}, sgd)
    path = integrated(theory, 0, np.array([2.0, 0.5]), 0.1 / 0.25, 0.05 / 0.5, 60.0).sol
    hessian = MeanHessian(theory.noise)
    s = [np.trace(hessian(path(t))) for t in (0.0, 1e-4, 2e-4, 60.0)]
    assert found.rate + found.decay_rate == pytest.approx((-3 * s[0] + 4 * s[1] - s[2]) / 2e-4, rel=1e-4)
    assert found.rate == pytest.approx(found.charges[0].rate)
    assert found.value_star == pytest.approx(s[3], rel=1e-6)
    assert found.value_star == pytest.approx(4.0)
    assert found.at_minimum
    assert found.flat == 0
    assert found.verdict == "flattens"


# verdicts


def designed(deviations: list[Any]) -> Theory:
    """Rank one, U = (1, 0)', W = (1, 0), Sx = diag(1, 2/5): Tr[HA] > 0; the label noise decides the sign of Tr[Sigma
    A]."""
    return derive(net(deviations, [1, sp.sqrt(sp.Rational(2, 5))], np.array([[1.0, 0.0], [0.0, 0.0]])))


def test_a_first_verdict_may_be_undone() -> None:
    """S is convex along an orbit: noise across U flattens first and overshoots far beyond the start."""
    found = sharpness(designed([sp.Rational(1, 10), 1]), BALANCED, SGD(0.01))
    assert found.verdict == "flattens"
    assert found.value_star > 2 * found.value
    assert "the other way in the end" in found.summary()


BALANCED = {"U": [[1.0], [0.0]], "W": [[1.0, 0.0]]}


@pytest.mark.parametrize(
    ("deviations", "verdict"),
    [([1, sp.Rational(1, 10)], "sharpens"), ([1, sp.Rational(87, 100)], "flattens")],
)
def test_the_data_alone_decide_the_sign(deviations: list[Any], verdict: str) -> None:
    """Label noise along U against across it, everything else equal; discrete SGD agrees in sign and size. Source:
    docs/theory.md eq. (5.1)."""
    theory = designed(deviations)
    found = sharpness(theory, BALANCED, SGD(0.01))
    assert (found.verdict, found.at_minimum, found.flat) == (verdict, True, 0)
    assert (found.value_star > found.value) == (verdict == "sharpens")
    spread, rng, paths, eta = np.array([float(d) for d in deviations]), np.random.default_rng(5), 4000, 0.01
    big_u, big_w = np.tile([1.0, 0.0], (paths, 1)), np.tile([1.0, 0.0], (paths, 1))
    measured = []
    for _ in range(400):
        z = rng.standard_normal((paths, 2)) * np.sqrt([1, 0.4])
        hidden = np.sum(big_w * z, axis=1)
        r = big_u * hidden[:, None] - rng.standard_normal((paths, 2)) * spread
        r[:, 0] -= z[:, 0]
        pull = np.sum(big_u * r, axis=1)
        big_u, big_w = big_u - 2 * eta * r * hidden[:, None], big_w - 2 * eta * pull[:, None] * z
        # the valley's point of each path, by its charge: |U|^2 - |W|^2 at |U| |W| = 1
        charge = np.sum(big_u**2, axis=1) - np.sum(big_w**2, axis=1)
        u2 = charge / 2 + np.sqrt(charge**2 / 4 + 1)
        measured.append(float(np.mean(2 * (2 / u2 + 1.4 * u2))))
    k = next(i for i, c in enumerate(theory.charges) if c.classification == "convergent")
    path = integrated(theory, k, found.theta, eta, 0.0, 4.0).sol
    hessian = MeanHessian(theory.noise)
    predicted = np.array([np.trace(hessian(path(t))) for t in (2.0, 4.0)]) - found.value
    assert np.array([measured[199], measured[399]]) - found.value == pytest.approx(predicted, rel=0.15)


def test_translations_and_noiseless_points_are_neutral() -> None:
    entry = LIBRARY["softmax-regression"]
    found = sharpness(derive(entry.build()), entry.start, entry.sgd)
    assert (found.verdict, found.rate) == ("neutral", 0.0)
    assert found.value_star == found.value
    points = np.array([1.0, 2.0, 0.5])
    fitted = Loss((u * w * x - y) ** 2, [u, w], Dataset({x: points, y: 2 * points}))
    still = sharpness(derive(fitted), {u: 4.0, w: 0.5}, SGD(0.01))
    assert (still.verdict, still.charges[0].verdict, still.at_minimum) == ("neutral", "neutral", True)


def test_no_charge_is_neutral() -> None:
    entry = LIBRARY["two-layer-tanh"]
    found = sharpness(derive(entry.build()), entry.start, entry.sgd)
    assert (found.verdict, found.charges, found.value_star) == ("neutral", (), found.value)


def test_scale_invariance_flattens_to_zero() -> None:
    """S ~ 1/|w|^2 on the orbit, |w| -> oo; weight decay makes the end finite."""
    entry = LIBRARY["scale-invariant"]
    theory = derive(entry.build())
    found = sharpness(theory, entry.start, entry.sgd)
    assert (found.verdict, found.value_star, found.theta_star) == ("flattens", 0.0, None)
    assert found.stable().at_equilibrium is None
    held = sharpness(theory, entry.start, SGD(0.02, weight_decay=0.1))
    assert held.theta_star is not None
    assert held.value_star == pytest.approx(np.trace(MeanHessian(theory.noise)(held.theta_star)))


def test_a_wider_valley_is_reported() -> None:
    """Two hidden units at 0 minimise a regression on noise: U = 0 leaves all of W free, four directions, one orbit of
    the scale among them."""
    big_u, big_w = entries("U", (1, 2)), entries("W", (2, 2))
    z, e = entries("x", (2,)), sp.Symbol("e", real=True)
    loss = Loss(
        (big_u @ (big_w @ z) - e)[0] ** 2,
        {"U": big_u, "W": big_w},
        {sp.ImmutableMatrix(z): Normal(0, 1), e: Normal(0, 1)},
    )
    found = sharpness(derive(loss), {"U": [[0.0, 0.0]], "W": [[1.0, 0.2], [0.0, 0.7]]}, SGD(0.01))
    assert (found.at_minimum, found.flat) == (True, 0)
    deeper = Loss(
        (big_u @ (big_w @ z) - e)[0] ** 2 + 0 * e,
        {"U": big_u, "W": big_w},
        {sp.ImmutableMatrix(z): Normal(0, [1, 0]), e: Normal(0, 1)},
    )
    wide = sharpness(derive(deeper), {"U": [[0.0, 0.0]], "W": [[1.0, 0.2], [0.0, 0.7]]}, SGD(0.01))
    assert wide.flat > 0
    assert "flat in" in str(wide)


# stability


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.4)])
def test_stability_limit_against_descent(momentum: float, decay: float) -> None:
    """Gradient descent on the quadratic form of H + lambda contracts just below the limit and not just above it."""
    theory = derive(rescaling())
    found = sharpness(theory, {"u": 2.0, "w": 0.5}, SGD(0.01))
    for factor, contracts in ((0.97, True), (1.03, False)):
        probe = found.stable(SGD(0.01, weight_decay=decay, momentum=momentum))
        rate = factor * probe.limit
        at, velocity = np.array([1.0, 0.7]), np.zeros(2)
        for _ in range(600):
            velocity = momentum * velocity + found.hessian @ at + decay * at
            at = at - rate * velocity
        curved = at @ np.linalg.eigh(found.hessian)[1][:, -1]
        assert (abs(curved) < 1) == contracts
        assert found.stable(SGD(rate, weight_decay=decay, momentum=momentum)).now == contracts


def test_warmup_reading() -> None:
    """Unbalanced, S is large: a rate that is unstable there is stable at the noise equilibrium."""
    found = sharpness(derive(rescaling()), {"u": 5.0, "w": 0.2}, SGD(0.1))
    cold = found.stable()
    assert (cold.now, cold.at_equilibrium) == (False, True)
    assert "warmup" in str(cold)
    warm = found.stable(SGD(0.1, schedule=warmup(5.0)))
    assert (warm.now, warm.learning_rate, warm.full) == (True, 0.0, 0.1)
    assert "a warmup lets the noise balance" in str(warm)
    assert found.stable(SGD(1.0)).at_equilibrium is False
    assert found.largest_star == pytest.approx(4.0)


# the rest


def test_display() -> None:
    entry = LIBRARY["matrix-factorization"]
    found = sharpness(derive(entry.build()), entry.start, entry.sgd)
    text = str(found)
    assert "noise flattens: S = Tr Hess L from 17.7928 to" in text
    assert "not a minimum" in text
    assert text.count("C_") == 3
    assert "<table>" in found._repr_html_()
    assert r"\nabla^2" in found._repr_latex_()
    assert repr(found) == text


@pytest.mark.parametrize(
    "f, value",
    [(u * w * x - y, 0.0), (u**2 * w**2 * x - y, 0.0), ((u * w) ** 2 * x, 0.0), (u * w * x - x, 0.0)],
)
def test_flat_origin_is_neutral(f: sp.Expr, value: float) -> None:
    """Without slope and curvature there is no rate, and S = 2 (u^2 + w^2) E x^2 of (uwx - y)^2 stays 0."""
    theory = derive(Loss(f**2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)} if f.has(y) else {x: Normal(0, 1)}))
    found = theory.sharpness({u: 0, w: 0}, SGD(0.1))
    assert (found.value, found.rate, found.verdict, found.value_star) == (value, 0.0, "neutral", value)
    relative = theory.equilibrium({u: 0, w: 0}, SGD(0.1)).relative
    assert relative is None or not relative.converged


def test_bad_input() -> None:
    theory = derive(rescaling())
    with pytest.raises(ValueError, match="schedule"):
        sharpness(theory, {"u": 1, "w": 1}, SGD(0.1, schedule=warmup(1.0)))
    with pytest.raises(ValueError, match="every parameter needs"):
        sharpness(theory, {"u": 1}, SGD(0.1))
    s = sp.Symbol("s", positive=True)
    loose = derive(Loss((u * w * x - y) ** 2, [u, w], {x: Normal(0, s), y: Normal(0, 1)}))
    with pytest.raises(ValueError, match="need numbers"):
        sharpness(loose, {u: 1, w: 1}, SGD(0.1))
    bare = derive(Loss(sp.log(1 + (u * w * x) ** 2), [u, w], {x: Moments([0, 1])}))
    with pytest.raises(ValueError, match="bare moments"):
        sharpness(bare, {u: 1, w: 1}, SGD(0.1))
    pole = derive(Loss(x**2 / (u * w), [u, w], {x: Normal(0, 1)}))
    with pytest.raises(ValueError, match="finite"):
        sharpness(pole, {u: 0.0, w: 1.0}, SGD(0.1))


def test_averages_over_draws_say_so() -> None:
    found = sharpness(
        derive(Loss(sp.log(1 + (u * w * x - 1) ** 2), [u, w], {x: Normal(0, 1)})), {u: 1.0, w: 0.5}, SGD(0.1)
    )
    assert found.source == "samples"
    assert "an estimate" in str(found)
