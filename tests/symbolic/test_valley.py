"""Slow motion along a valley of minima: its law, where it ends, and that discrete SGD does as it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from symbolic import SGD
from symbolic.predictions.sharpness import sharpness
from symbolic.predictions.sharpness.valley import motion
from symbolic.theory import Theory, derive
from tests.symbolic.test_sharpness import net

TARGET, SX, SE = np.array([[1.0, 0.25], [0.5, -0.75]]), np.diag([1.44, 0.36]), np.array([0.8, 0.3])


def anisotropic() -> Theory:
    """Two hidden units, noise and data of unequal directions; minima are U W = TARGET, one orbit."""
    return derive(net(SE.tolist(), [1.2, 0.6], TARGET))


def minimum(big_u: np.ndarray) -> np.ndarray:
    return np.concatenate([big_u.ravel(), np.linalg.solve(big_u, TARGET).ravel()])


def trace(at: np.ndarray) -> float:
    a, b = at[:4].reshape(2, 2), at[4:].reshape(2, 2)
    return 2 * float(2 * np.trace(b @ SX @ b.T) + np.sum(a**2) * np.trace(SX))


def settled(at: np.ndarray) -> float:
    """S where gradient flow ends."""

    def gradient(_: float, p: np.ndarray) -> np.ndarray:
        a, b = p[:4].reshape(2, 2), p[4:].reshape(2, 2)
        g = -2 * (a @ b - TARGET) @ SX
        return np.concatenate([(g @ b.T).ravel(), (a.T @ g).ravel()])

    return trace(solve_ivp(gradient, (0, 100), at, method="LSODA", rtol=1e-12, atol=1e-14).y[:, -1])


def bent(theory: Theory, theta: np.ndarray, step: float = 0.01) -> float:
    """D^2(S o Phi)[Sigma], Phi the limit of gradient flow, by differences."""
    values, vectors = np.linalg.eigh(theory.sigma(theta))
    total, middle = 0.0, settled(theta)
    for s, d in zip(values[4:], vectors.T[4:], strict=True):
        rows = [settled(theta + c * step * d) for c in (-2, -1, 1, 2)]
        total += s * (-rows[0] + 16 * rows[1] - 30 * middle + 16 * rows[2] - rows[3]) / (12 * step**2)
    return total


def test_all_charges_together_are_the_slow_motion_of_the_valley() -> None:
    """dS/dt = (T/2) D^2(S o Phi)[Sigma]; the motion without rotations is refused. Source: Katzenberger 1991; Li, Wang,
    Arora (2110.06914). docs/theory.md eq. (5.6)."""
    theory, theta = anisotropic(), minimum(np.array([[1.6, 0.9], [0.2, 0.5]]))
    found = sharpness(theory, theory.loss.unpack(theta), SGD(0.01))
    assert (found.at_minimum, found.flat) == (True, 0)
    assert trace(theta) == pytest.approx(found.value)
    measured = 0.005 * bent(theory, theta)
    assert found.rate == pytest.approx(measured, rel=1e-4)
    charges = [c.field for c in theory.charges]
    alone = motion(charges, charges, theta, found.hessian, 0 * theta, theory.noise.factor(theta)[1]).rate
    assert abs(0.01 * alone / measured - 1) > 0.03


def test_rotations_keep_the_noise_equilibrium_of_the_charges_moving() -> None:
    """Where Tr[Sigma A] = 0 for every charge S still moves, by the same differences, and ends elsewhere."""
    theory = anisotropic()
    before = sharpness(theory, theory.loss.unpack(minimum(np.array([[1.2, 0.4], [-0.3, 0.9]]))), SGD(0.01))
    assert before.theta_star is not None
    after = sharpness(theory, theory.loss.unpack(before.theta_star), SGD(0.01))
    assert all(c.verdict == "neutral" for c in after.charges)
    assert after.rate == pytest.approx(0.005 * bent(theory, before.theta_star), rel=1e-3)
    assert after.rate == pytest.approx(before.rate_star)
    assert abs(after.rate) > 1e-3
    assert "rotations keep" in str(before)
    thetas, s = before.path([0.0, 100.0, 1500.0, 2000.0])
    assert s[:2] == pytest.approx([trace(t) for t in thetas[:2]])
    slope = (before.path([0.0, 0.01])[1][1] - s[0]) / 0.01
    assert slope == pytest.approx(before.rate, rel=1e-3)
    assert s[3] == pytest.approx(s[2], rel=1e-6)
    assert abs(s[3] - before.value_star) > 0.1
    assert np.linalg.norm(thetas[3] - thetas[2]) > 0.1


def test_isotropic_noise_comes_to_rest_at_the_equilibrium_of_the_charges() -> None:
    theory = derive(net([0.5, 0.5], [1, 1], TARGET))
    found = sharpness(theory, theory.loss.unpack(minimum(np.array([[1.6, 0.9], [0.2, 0.5]]))), SGD(0.01))
    assert found.rate_star == 0
    assert found.theta_star is not None
    after = sharpness(theory, theory.loss.unpack(found.theta_star), SGD(0.01))
    assert (after.verdict, after.value) == ("neutral", pytest.approx(found.value_star))
    assert found.path([3000.0])[1][0] == pytest.approx(found.value_star, rel=1e-6)
    with pytest.raises(ValueError, match="must be a minimum"):
        sharpness(theory, {"U": np.eye(2), "W": np.eye(2)}, SGD(0.01)).path([1.0])


@pytest.mark.slow
def test_discrete_sgd_rotates_as_the_slow_motion_says() -> None:
    """U'U - WW' turns for ever, at the rate and with the eigenvalues of `path` in the limit eta -> 0 (two rates,
    extrapolated), 4 standard errors. docs/theory.md eq. (5.6), (5.7)."""
    theory = anisotropic()
    start = minimum(np.array([[1.2, 0.4], [-0.3, 0.9]]))
    unit = sharpness(theory, theory.loss.unpack(start), SGD(1.0))
    thetas = unit.path(np.linspace(0, 12, 121))[0][50:]
    eigenvalues, angles = _turning(thetas[:, None, :])
    known = np.array([*eigenvalues[-1, 0], (angles[-1, 0] - angles[0, 0]) / 7])
    coarse, fine = _descend(0.02, start), _descend(0.01, start)
    found, error = 2 * fine[0] - coarse[0], np.hypot(2 * fine[1], coarse[1])
    assert np.all(np.abs(found - known) < 4 * error + 0.005)
    assert abs(found[1] - np.linalg.eigvalsh(_charge(unit.theta_star)[0])[1]) > 8 * error[1]
    assert abs(found[2]) > 0.05


def _charge(thetas: Any) -> np.ndarray:
    a, b = np.reshape(thetas, (-1, 8))[:, :4].reshape(-1, 2, 2), np.reshape(thetas, (-1, 8))[:, 4:].reshape(-1, 2, 2)
    return np.einsum("nki,nkj->nij", a, a) - np.einsum("nik,njk->nij", b, b)


def _turning(thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of U'U - WW', shape (K, paths, 2), and the angle of its axes, unwrapped, (K, paths); thetas (K,
    paths, 8)."""
    c = _charge(thetas).reshape(*thetas.shape[:2], 2, 2)
    angle = np.arctan2(2 * c[..., 0, 1], c[..., 0, 0] - c[..., 1, 1]) / 2
    return np.linalg.eigvalsh(c), np.unwrap(angle, axis=0, period=np.pi)


def _descend(eta: float, start: np.ndarray, paths: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Discrete SGD over T t from 0 to 12: eigenvalues and turning rate per unit of T t from 5 on, mean and standard
    error over paths."""
    rng, steps, rows = np.random.default_rng(8), int(12 / eta**2), []
    a, b = np.tile(start[:4].reshape(2, 2), (paths, 1, 1)), np.tile(start[4:].reshape(2, 2), (paths, 1, 1))
    for k in range(steps):
        z = rng.standard_normal((paths, 2)) * np.sqrt(np.diag(SX))
        hidden = np.einsum("nij,nj->ni", b, z)
        r = np.einsum("nij,nj->ni", a, hidden) - z @ TARGET.T - rng.standard_normal((paths, 2)) * SE
        pull = np.einsum("nij,ni->nj", a, r)
        a, b = a - 2 * eta * r[:, :, None] * hidden[:, None, :], b - 2 * eta * pull[:, :, None] * z[:, None, :]
        if k * eta**2 >= 5 and k % max(1, int(0.05 / eta**2)) == 0:
            rows.append(np.concatenate([a.reshape(paths, 4), b.reshape(paths, 4)], axis=1))
    eigenvalues, angle = _turning(np.array(rows))
    each = np.column_stack([eigenvalues.mean(axis=0), (angle[-1] - angle[0]) / (0.05 * (len(rows) - 1))])
    return each.mean(axis=0), each.std(axis=0) / np.sqrt(paths)
