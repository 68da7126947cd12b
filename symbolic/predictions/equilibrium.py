"""Where gradient noise leads a point along its symmetry orbit, and how fast (docs/theory.md eq. (4.2)).

On the orbit theta_lambda of A the loss is constant and Sigma -> e^{-lambda A} Sigma e^{-lambda A}; C drifts by
F(lambda) = -2 lambda_wd v.theta + T Tr[Sigma A], decreasing in lambda: its zero is the noise equilibrium. For several
charges the joint equilibrium minimises lambda_wd |theta|^2 + (T/2) Tr Sigma over the group, a geodesically convex
problem. It is where every mean drift vanishes at once; noise that also turns theta along rotations
(`symbolic.predictions.sharpness.valley`) may end a little off it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from symbolic.errors import InputError
from symbolic.noise import drift as laws
from symbolic.noise.covariance import Noise
from symbolic.noise.sign_class import classify
from symbolic.predictions.charge import Charge
from symbolic.problem.optimizer import SGD

Array = np.ndarray
NEAR = 1e-3
"""Longest Newton step, as a generator's norm, from a point that counts as the minimum."""
FAR = 200.0
"""Largest |lambda| * max|eigenvalue| looked at before an equilibrium counts as infinitely far."""


@dataclass(frozen=True)
class ChargeEquilibrium:
    """One charge's own equilibrium on the orbit of its generator.

    Attributes
    ----------
    charge
        The charge.
    lambda_star
        The orbit parameter there: infinite where noise has one sign only, 0.0 when frozen.
    theta
        The point, (D,); None when infinitely far.
    value
        C there.
    rate
        Rate of relaxation per unit of t at it; 0 when frozen or infinite.
    classification, reason
        The charge's class at this theta, and why.
    """

    charge: Charge
    lambda_star: float
    theta: Array | None
    value: float
    rate: float
    classification: str
    reason: str


@dataclass(frozen=True)
class JointEquilibrium:
    """The point of the group orbit where every charge's drift vanishes.

    Attributes
    ----------
    theta
        The point, (D,).
    residual
        Largest |dC/dt| over T Tr Sigma there.
    transform
        The group element that leads to it, (D, D).
    steps
        Newton steps taken.
    converged
        False where the minimum lies at infinity.
    rates
        Relaxation rates per unit of t of all directions of the orbit there, ascending; empty when not converged.
    """

    theta: Array
    residual: float
    transform: Array
    steps: int
    converged: bool
    rates: Array


@dataclass(frozen=True)
class Equilibrium:
    """Equilibria of all charges from one point, one by one and jointly.

    Attributes
    ----------
    theta
        The point, (D,).
    charges
        A `ChargeEquilibrium` each; indexing gives the same.
    joint
        A `JointEquilibrium`; None without quadratic charges, or where their generators do not close.
    """

    theta: Array
    charges: tuple[ChargeEquilibrium, ...]
    joint: JointEquilibrium | None

    def __getitem__(self, index: int) -> ChargeEquilibrium:
        return self.charges[index]

    def __str__(self) -> str:
        lines = [
            f"{e.charge.name}: {e.classification}, lambda* = {e.lambda_star:.6g}, C ->"
            f" {_snapped(e.value, self.theta):.6g}, rate {e.rate:.6g} per unit time"
            for e in self.charges
        ]
        if self.joint is not None:
            state = f"reached, residual {self.joint.residual:.1e}" if self.joint.converged else "at infinity"
            if len(self.joint.rates):
                state += f", slowest rate {self.joint.rates[0]:.6g} per unit time"
            lines.append(f"joint equilibrium: {state}")
        return "\n".join(lines)


def _snapped(value: float, theta: Array) -> float:
    """A charge for display: rounding against |theta|^2 shows as 0."""
    return 0.0 if abs(value) < 1e-12 * float(theta @ theta) else value


class Orbit:
    """The affine flow theta' = A theta + b of a symmetric generator, through one theta."""

    def __init__(self, a: Array, b: Array, theta: Array) -> None:
        values, self.vectors = np.linalg.eigh(a)
        self.values = np.where(np.abs(values) > 1e-10 * np.abs(values).max(initial=0.0), values, 0.0)
        self.coordinates, self.shift = self.vectors.T @ theta, self.vectors.T @ b

    def at(self, x: float) -> Array:
        """theta_x."""
        growth = np.exp(x * self.values)
        small = self.values == 0
        safe = np.where(small, 1.0, self.values)
        return self.vectors @ (growth * self.coordinates + np.where(small, x, (growth - 1) / safe) * self.shift)

    def push(self, sigma: Array) -> Array:
        """s_i = v_i^T Sigma v_i, the noise on each eigenvector."""
        return np.einsum("ji,jk,ki->i", self.vectors, sigma, self.vectors)


def charge_equilibrium(charge: Charge, theta: Array, sigma: Array, rates: laws.Rates) -> ChargeEquilibrium:
    """lambda*, theta, C, rate and class of one charge, from theta (D,) with Sigma (D, D) there."""
    a, b = charge.A, charge.b
    orbit = Orbit(a, b, theta)
    s = orbit.push(sigma)
    kind, reason = classify(sigma, a)
    floor = 1e-10 * max(float(np.trace(sigma)), 1e-300)
    s = np.where(s > floor, s, 0.0)
    temperature, decay = rates.speed * rates.temperature, rates.weight_decay

    def force(x: float) -> float:
        with np.errstate(over="ignore"):
            noise = float(np.sum(orbit.values * np.exp(-2 * x * orbit.values) * s))
            at = orbit.at(x)
            return temperature * noise - 2 * decay * float(at @ (a @ at + b)) if decay else temperature * noise

    star = _root(force, FAR / float(np.abs(orbit.values).max()) if a.any() else 1e9)
    if star is None:
        return ChargeEquilibrium(charge, 0.0, theta, charge.value(theta), 0.0, kind, reason)
    if np.isinf(star):
        return ChargeEquilibrium(charge, star, None, _limit(charge, orbit, star), 0.0, kind, reason)
    at = orbit.at(star)
    v = a @ at + b
    curvature = temperature * float(np.sum(orbit.values**2 * np.exp(-2 * star * orbit.values) * s))
    pull = decay * (2 * float(at @ a @ v) + float(b @ v))
    rate = rates.speed * (curvature + pull) / float(v @ v) if v.any() else 0.0
    return ChargeEquilibrium(charge, star, at, charge.value(at), rate, kind, reason)


def _root(force: Callable[[float], float], far: float) -> float | None:
    """Zero of a decreasing function; +-inf when it keeps its sign, None when it is zero throughout."""
    from scipy.optimize import brentq  # slow to load

    start = force(0.0)
    if start == 0.0:
        ahead, behind = force(1e-3), force(-1e-3)
        return None if ahead == behind == 0.0 else 0.0
    sign, step = (1.0, 1.0) if start > 0 else (-1.0, 1.0)
    near = 0.0
    while step <= far:
        value = force(sign * step)
        if abs(value) <= 1e-13 * abs(start):  # rounding: it dies out without a zero, or the zero is as good as there
            return sign * np.inf if abs(force(sign * 2 * step)) <= 1e-13 * abs(start) else sign * step
        if value * sign < 0:
            low, high = sorted((near, sign * step))
            found: Any = brentq(force, low, high, xtol=1e-14, rtol=4 * np.finfo(float).eps)
            return float(found)
        near, step = sign * step, step * 2
    return sign * np.inf


def _limit(charge: Charge, orbit: Orbit, star: float) -> float:
    """C at the end of the orbit: infinite unless it settles."""
    ahead = np.sign(star)
    values = [charge.value(orbit.at(ahead * x)) for x in (10.0, 11.0)]
    return ahead * np.inf if abs(values[1] - values[0]) > 1e-6 * (1 + abs(values[0])) else values[1]


def joint_equilibrium(
    generators: Sequence[Array],
    theta: Array,
    sigma: Array,
    temperature: float,
    weight_decay: float = 0.0,
    tolerance: float = 1e-12,
    steps: int = 100,
) -> JointEquilibrium:
    """Minimise (T/2) Tr Sigma + lambda_wd |theta|^2 over the orbit of exp(span A_k), A_k symmetric, by Newton steps
    along geodesics.

    Starts at theta (D,) with Sigma (D, D); exact gradient and Hessian, backtracking. The span with its brackets must be
    closed under transpose, as for linear networks. Relative tolerance on the gradient.
    """
    from scipy.linalg import expm  # slow to load

    basis = np.array(generators)
    point, noise, transform = theta.copy(), sigma.copy(), np.eye(len(theta))

    def value(p: Array, s: Array) -> float:
        return 0.5 * temperature * float(np.trace(s)) + weight_decay * float(p @ p)

    scale = max(value(point, noise), 1e-300)
    taken, converged = 0, False
    while taken < steps:
        taken += 1
        moved = basis @ point
        gradient = -temperature * np.einsum("kij,ji->k", basis, noise) + 2 * weight_decay * moved @ point
        hessian = _hessian(basis, point, noise, temperature, weight_decay)
        step = -np.linalg.lstsq(hessian, gradient, rcond=1e-13)[0]
        generator = np.einsum("k,kij->ij", step, basis)
        flat = np.abs(gradient).max() <= tolerance * max(value(point, noise), 1e-300)
        if (
            flat and float(np.linalg.norm(generator, 2)) <= NEAR
        ):  # flat with a long way to go: the minimum is at infinity
            converged = True
            break
        generator *= min(1.0, 2.0 / max(float(np.linalg.norm(generator, 2)), 1e-300))
        slope, t = float(gradient @ step), 1.0
        while True:
            transport, back = expm(t * generator), expm(-t * generator)
            new_point, new_noise = transport @ point, back @ noise @ back
            if value(new_point, new_noise) <= value(point, noise) + 1e-14 * scale or t < 1e-8 or slope >= 0:
                break
            t /= 2
        point, noise, transform = new_point, (new_noise + new_noise.T) / 2, transport @ transform
        if np.linalg.norm(transform, 2) > 1e8:
            break
    drift = np.array([temperature * np.trace(noise @ a) - 2 * weight_decay * point @ a @ point for a in basis])
    size = max(temperature * float(np.trace(noise)), 1e-300)
    rates = _relaxation(basis, point, noise, temperature, weight_decay) if converged else np.zeros(0)
    return JointEquilibrium(point, float(np.abs(drift).max() / size), transform, taken, converged, rates)


def _hessian(basis: Array, point: Array, noise: Array, temperature: float, weight_decay: float) -> Array:
    """Second derivatives of (T/2) Tr Sigma + lambda_wd |theta|^2 along exp(sum_k x_k A_k)."""
    moved, pushed = basis @ point, np.einsum("kij,jl->kil", basis, noise)
    flat = np.swapaxes(basis, 1, 2).reshape(len(basis), -1)
    out = 2 * temperature * pushed.reshape(len(basis), -1) @ flat.T + 4 * weight_decay * moved @ moved.T
    return (out + out.T) / 2


def _relaxation(basis: Array, point: Array, noise: Array, temperature: float, weight_decay: float) -> Array:
    """Rates at which small displacements along the orbit die out: 2 <A_k theta, A_l theta> x' = -Hessian x, on the
    orbit's tangent space."""
    moved = basis @ point
    values, vectors = np.linalg.eigh(2 * moved @ moved.T)
    kept = values > 1e-10 * values.max()
    white = vectors[:, kept] / np.sqrt(values[kept])
    return np.linalg.eigvalsh(white.T @ _hessian(basis, point, noise, temperature, weight_decay) @ white)


def equilibrium(charges: Sequence[Charge], noise: Noise, theta: Array, sgd: SGD) -> Equilibrium:
    """Equilibria of every charge from theta, one by one and together."""
    sigma = noise.sigma(theta)
    rates = noise.rates(sgd, numeric=True)
    single = tuple(charge_equilibrium(c, theta, sigma, rates) for c in charges)
    linear = [c.A for c in charges if c.A.any() and not c.b.any()]
    joint = None
    if linear and _closed(linear):
        joint = joint_equilibrium(linear, theta, sigma, rates.speed * rates.temperature, rates.weight_decay)
        joint = replace(joint, rates=rates.speed * joint.rates)
    return Equilibrium(theta, single, joint)


def _closed(basis: Sequence[Array]) -> bool:
    """Whether [A, [A', A'']] stays in the span: the symmetric half of an algebra closed under transpose (a Lie triple
    system)."""
    span = np.array([a.ravel() for a in basis]).T
    q, _ = np.linalg.qr(span)
    rng = np.random.default_rng(3)
    for _ in range(3):
        x, y, z = (np.einsum("k,kij->ij", rng.standard_normal(len(basis)), np.array(basis)) for _ in range(3))
        w = x @ y - y @ x
        w = (w @ z - z @ w).ravel()
        if np.linalg.norm(w - q @ (q.T @ w)) > 1e-9 * max(1.0, float(np.linalg.norm(w))):
            return False
    return True


def geometric_mean_equilibrium(U: Array, W: Array, Gamma_U: Array, Gamma_W: Array) -> tuple[Array, Array]:
    """Noise equilibrium of loss(U W) on the orbit of (U, W): returns (U g^-1, g W) with U^T Gamma_U U = W Gamma_W W^T
    there.

    U (dy, h), W (h, dx); Gamma_U = E[G G^T] - Gbar Gbar^T (dy, dy), Gamma_W = E[G^T G] - Gbar^T Gbar (dx, dx), G the
    gradient in U W. g is the symmetric square root of P, P Q_h P = Q_g, a matrix geometric mean. Unique up to rotations
    g -> O g. Raises ValueError when a noise matrix is singular on the hidden space (the equilibrium is then at infinity
    or not unique).
    """
    left, right = U.T @ Gamma_U @ U, W @ Gamma_W @ W.T
    for name, q in (("U^T Gamma_U U", left), ("W Gamma_W W^T", right)):
        w = np.linalg.eigvalsh(q)
        if w[0] <= 1e-13 * max(w[-1], 1e-300):
            raise InputError(
                f"geometric_mean_equilibrium: {name} must be positive definite; got smallest eigenvalue {w[0]:.3g}. Use"
                " theory.equilibrium."
            )
    root = _sqrt(right)
    inverse = np.linalg.inv(root)
    p = inverse @ _sqrt(root @ left @ root) @ inverse
    g = _sqrt(p)
    return U @ np.linalg.inv(g), g @ W


def _sqrt(matrix: Array) -> Array:
    w, v = np.linalg.eigh((matrix + matrix.T) / 2)
    return (v * np.sqrt(np.maximum(w, 0))) @ v.T
