"""Noise equilibria: closed forms, the joint minimum, rates and limits."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy.linalg import expm

from symbolic import SGD
from symbolic.library import LIBRARY
from symbolic.predictions.joint_equilibrium import geometric_mean_equilibrium, joint_equilibrium
from symbolic.theory import derive
from tests.symbolic import losses
from tests.symbolic.losses import u, w
from tests.symbolic.test_drift import gammas


def covariance(n: int, rng: np.random.Generator) -> np.ndarray:
    a = rng.normal(size=(n, n))
    return a @ a.T + 0.1 * np.eye(n)


def test_sign_split_closed_form_and_rate() -> None:
    """lambda* = ln(Tr Sigma_u / Tr Sigma_w)/4; rate 4 T C_2(v) + 2 lambda. docs/theory.md eq. (4.5), (4.6)."""
    theory = derive(losses.rescaling())
    at = {u: 1.2, w: 0.6}
    sigma = theory.sigma(np.array([1.2, 0.6]))
    found = theory.equilibrium(at=at, sgd=SGD(0.01))[0]
    assert found.lambda_star == pytest.approx(np.log(sigma[0, 0] / sigma[1, 1]) / 4)
    assert found.value == pytest.approx(0, abs=1e-12)
    assert found.theta == pytest.approx([np.sqrt(0.72)] * 2)
    c2 = 2 * 0.72**2 - 4 * 0.72 + 2 + 0.25
    assert found.rate == pytest.approx(4 * 0.01 * c2)
    decayed = theory.equilibrium(at=at, sgd=SGD(0.01, weight_decay=0.3))[0]
    assert decayed.rate == pytest.approx(4 * 0.01 * c2 + 0.6)


def test_rate_is_the_slope_of_the_drift() -> None:
    """d(dlambda/dt)/dlambda at lambda*, by differences, for a charge with weight decay and b != 0. docs/theory.md eq.
    (4.4)."""
    shifted = losses.Loss(
        ((u + 1) * (w - 2) * losses.x - losses.y) ** 2,
        [u, w],
        {losses.x: losses.Normal(1, 1), losses.y: losses.Normal(0, 1)},
    )
    theory, sgd = derive(shifted), SGD(0.02, weight_decay=0.05)
    charge, found = theory.charges[0], theory.equilibrium(at={u: 0.3, w: 0.4}, sgd=SGD(0.02, weight_decay=0.05))[0]
    assert found.theta is not None
    assert charge.drift_at(found.theta, sgd) == pytest.approx(0, abs=1e-12)
    v = charge.A @ found.theta + charge.b
    h = 1e-6
    ahead, behind = (charge.drift_at(found.theta + s * h * v, sgd) for s in (1, -1))
    assert found.rate == pytest.approx(-(ahead - behind) / (2 * h) / (2 * v @ v), rel=1e-5)


def test_scale_invariance_diverges_and_weight_decay_stops_it() -> None:
    """|theta|^4 -> T Tr Sigma-hat/(2 lambda). docs/theory.md eq. (4.7)."""
    theory = derive(losses.scale_invariant())
    at = np.array([0.8, -0.4, 0.5])
    free = theory.equilibrium(at={"w": at}, sgd=SGD(0.1))
    assert free[0].lambda_star == np.inf
    assert free[0].theta is None
    assert free.joint is not None
    assert not free.joint.converged
    held = theory.equilibrium(at={"w": at}, sgd=SGD(0.1, weight_decay=0.02))
    unit = at / np.linalg.norm(at)
    assert held[0].value ** 2 == pytest.approx(0.1 * np.trace(theory.sigma(unit)) / (2 * 0.02))
    assert held.joint is not None
    assert held.joint.converged
    assert held.joint.theta == pytest.approx(held[0].theta)


def test_frozen_charges_stay() -> None:
    entry = LIBRARY["softmax-regression"]
    found = derive(entry.build()).equilibrium(at=dict(entry.start), sgd=entry.sgd)
    assert all(e.classification == "frozen" and e.lambda_star == 0.0 and e.rate == 0.0 for e in found.charges)


@pytest.mark.parametrize("h", [1, 2, 3, pytest.param(8, marks=pytest.mark.slow)])
def test_joint_minimum_is_the_geometric_mean(h: int) -> None:
    """Anisotropic regression: U^T Gamma_U U = W Gamma_W W^T, reached by the closed form and by Newton on the orbit
    alike. docs/theory.md eq. (4.9)."""
    dy, dx = max(3, h), max(4, h + 1)
    theory = derive(losses.linear_net([dy, h, dx], (sp.Rational(3, 2), sp.Rational(1, 2))))
    rng = np.random.default_rng(h)
    U, W = rng.normal(size=(dy, h)), rng.normal(size=(h, dx))
    joint = theory.equilibrium(at={"W0": U, "W1": W}, sgd=SGD(0.01)).joint
    assert joint is not None
    assert joint.converged
    assert joint.residual < 1e-10
    left, right = gammas(U @ W, np.eye(dx) * 2.25, np.eye(dy) * 0.25)
    u_star, w_star = geometric_mean_equilibrium(U, W, left, right)
    assert u_star @ w_star == pytest.approx(U @ W)
    assert u_star.T @ left @ u_star == pytest.approx(w_star @ right @ w_star.T)
    u_joint, w_joint = joint.theta[: dy * h].reshape(dy, h), joint.theta[dy * h :].reshape(h, dx)
    assert u_joint @ u_joint.T == pytest.approx(u_star @ u_star.T)
    assert w_joint.T @ w_joint == pytest.approx(w_star.T @ w_star)
    for charge in theory.charges:
        assert charge.drift_at(joint.theta, SGD(1.0)) == pytest.approx(
            0, abs=1e-9 * np.trace(theory.sigma(joint.theta))
        )


@pytest.mark.parametrize("h", [2, 5, pytest.param(8, marks=pytest.mark.slow)])
def test_joint_minimum_for_any_noise_up_to_rotations(h: int) -> None:
    """Sigma built from random Gammas directly: agreement up to h = 8, and independence of the start on the orbit."""
    rng, dy, dx = np.random.default_rng(h), h + 1, h + 2
    U, W = rng.normal(size=(dy, h)), rng.normal(size=(h, dx))
    left, right = covariance(dy, rng), covariance(dx, rng)

    def sigma(U: np.ndarray, W: np.ndarray) -> np.ndarray:
        """A covariance whose block traces over the outer index are W Gamma_W W^T and U^T Gamma_U U."""
        out = np.zeros((U.size + W.size,) * 2)
        out[: U.size, : U.size] = np.kron(np.eye(dy) / dy, W @ right @ W.T)
        out[U.size :, U.size :] = np.kron(U.T @ left @ U, np.eye(dx) / dx)
        return out

    basis = []
    for i in range(h):
        for j in range(i + 1):
            s = np.zeros((h, h))
            s[i, j] = s[j, i] = 1.0
            basis.append(
                np.block(
                    [
                        [np.kron(np.eye(dy), -s), np.zeros((U.size, W.size))],
                        [np.zeros((W.size, U.size)), np.kron(s, np.eye(dx))],
                    ]
                )
            )
    u_star, w_star = geometric_mean_equilibrium(U, W, left, right)
    for _ in range(2):
        b = rng.normal(size=(h, h)) * 0.3
        moved = (U @ expm(-b), expm(b) @ W)
        joint = joint_equilibrium(basis, np.concatenate([m.ravel() for m in moved]), sigma(*moved), 1.0)
        assert joint.converged
        assert joint.residual < 1e-10
        found = joint.theta[: U.size].reshape(U.shape)
        assert found @ found.T == pytest.approx(u_star @ u_star.T, rel=1e-6, abs=1e-8)
    assert u_star.T @ left @ u_star == pytest.approx(w_star @ right @ w_star.T)


def test_one_lambda_per_generator_is_not_the_joint_equilibrium() -> None:
    entry = LIBRARY["matrix-factorization"]
    theory = derive(entry.build())
    found = theory.equilibrium(at=dict(entry.start), sgd=entry.sgd)
    assert found.joint is not None
    assert found.joint.converged
    theta = found.charges[0].theta
    assert theta is not None
    assert abs(theory.charges[1].drift_at(theta, entry.sgd)) > 1e-3 * abs(
        theory.charges[0].drift_at(theory.loss.pack(entry.start), entry.sgd)
    )


def test_joint_minimum_of_a_deep_chain() -> None:
    entry = LIBRARY["deep-linear"]
    theory = derive(entry.build())
    joint = theory.equilibrium(at=dict(entry.start), sgd=SGD(0.01, weight_decay=0.01)).joint
    assert joint is not None
    assert joint.converged
    for charge in theory.charges:
        assert charge.drift_at(joint.theta, SGD(0.01, weight_decay=0.01)) == pytest.approx(0, abs=1e-12)


def test_joint_rates_are_those_of_small_displacements() -> None:
    """Charges displaced along the orbit drift back as -K x, at the generalised eigenvalues of (K, 2 Gram): by finite
    differences."""
    entry, sgd = LIBRARY["matrix-factorization"], SGD(0.02, batch_size=2)
    theory = derive(entry.build())
    joint = theory.equilibrium(at=dict(entry.start), sgd=sgd).joint
    assert joint is not None
    step, charges = 1e-5, theory.charges
    jacobian = np.empty((len(charges), len(charges)))
    for k, along in enumerate(charges):
        ends = [expm(sign * step * along.A) @ joint.theta for sign in (1, -1)]
        jacobian[:, k] = [(c.drift_at(ends[0], sgd) - c.drift_at(ends[1], sgd)) / (2 * step) for c in charges]
    moved = [c.A @ joint.theta for c in charges]
    gram = 2 * np.array([[a @ b for b in moved] for a in moved])
    assert joint.rates == pytest.approx(np.sort(-np.linalg.eigvals(np.linalg.solve(gram, jacobian)).real), rel=1e-5)


def test_joint_rate_of_one_charge_is_its_own() -> None:
    found = derive(losses.rescaling()).equilibrium(at={u: 1.2, w: 0.6}, sgd=SGD(0.01, weight_decay=0.02, momentum=0.5))
    assert found.joint is not None
    assert found.joint.rates == pytest.approx([found[0].rate])


def test_closed_form_refuses_singular_noise() -> None:
    with pytest.raises(ValueError, match="must be positive definite"):
        geometric_mean_equilibrium(np.ones((2, 1)), np.ones((1, 2)), np.zeros((2, 2)), np.eye(2))


def test_text_names_every_charge() -> None:
    text = str(derive(losses.rescaling()).equilibrium(at={u: 1.2, w: 0.6}, sgd=SGD(0.01)))
    assert "C_1: convergent" in text
    assert "joint equilibrium: reached" in text


def test_minimum_at_infinity_is_not_taken_for_reached() -> None:
    """Weight normalisation: the directions' noise dies out as their norms grow, and the drifts with it."""
    entry = LIBRARY["weight-norm"]
    joint = derive(entry.build()).equilibrium(at=dict(entry.start), sgd=entry.sgd).joint
    assert joint is not None
    assert not joint.converged
    assert not len(joint.rates)


@pytest.mark.parametrize("name", ["rescaling", "scalar-chain", "two-layer-linear"])
def test_noise_along_an_orbit_is_least_where_the_drift_ends(name: str) -> None:
    """Sigma and Tr[Sigma A] at points of the orbit are those of the formula, G falls, and Tr Sigma has the slope -2 G.
    docs/theory.md eq. (4.1), (4.3)."""
    entry = LIBRARY[name]
    theory = derive(entry.build())
    at = theory.loss.pack(entry.start)
    sigma, A = theory.sigma(at), theory.charges[0].A

    def along(lam: float) -> tuple[float, float]:
        back = expm(-lam * A)
        there = theory.sigma(expm(lam * A) @ at)
        assert np.allclose(there, back @ sigma @ back, rtol=1e-9, atol=1e-12 * np.abs(sigma).max())
        return float(np.trace(there)), float(np.sum(there * A))

    lams, h = np.linspace(-0.6, 0.6, 7), 1e-5
    pulls = [along(lam)[1] for lam in lams]
    assert (np.diff(pulls) < 0).all()
    for lam, pull in zip(lams, pulls, strict=True):
        slope = (along(lam + h)[0] - along(lam - h)[0]) / (2 * h)
        assert slope == pytest.approx(-2 * pull, rel=1e-5, abs=1e-6 * np.abs(pulls).max())
