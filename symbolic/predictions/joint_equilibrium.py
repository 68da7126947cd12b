"""Where the drifts of several charges vanish at once (docs/theory.md eq. (4.2)).

The joint equilibrium minimises lambda_wd |theta|^2 + (T/2) Tr Sigma over the group, a geodesically convex problem.
Noise that also turns theta along rotations (`symbolic.predictions.valley`) ends a little off it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symbolic.errors import InputError

Array = np.ndarray
NEAR = 1e-3
"""Longest Newton step, as a generator's norm, from a point that counts as the minimum."""
FAR = 1e8
"""Norm of the group element, over that of what brings one charge to rest, beyond which the minimum is at infinity."""


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
        The group element that leads to it, (D, D); theta is transform @ start + shift.
    steps
        Newton steps taken.
    converged
        False where the minimum lies at infinity.
    rates
        Relaxation rates per unit of t along the charges' own generators there, ascending, rotations held still (with
        them: `RelativeEquilibrium.rates`); empty when not converged.
    shift
        The group element's translation, (D,); 0 where no generator has one.
    """

    theta: Array
    residual: float
    transform: Array
    steps: int
    converged: bool
    rates: Array
    shift: Array


def joint_equilibrium(
    generators: Sequence[Array],
    theta: Array,
    sigma: Array,
    temperature: float,
    weight_decay: float = 0.0,
    tolerance: float = 1e-12,
    steps: int = 100,
    *,
    shifts: Sequence[Array] | None = None,
    reach: float = 1.0,
) -> JointEquilibrium:
    """Minimise (T/2) Tr Sigma + lambda_wd |theta|^2 over the orbit of exp(span (A_k, b_k)), A_k symmetric, by Newton
    steps along geodesics.

    Starts at theta (D,) with Sigma (D, D); exact gradient and Hessian, backtracking. The span with its brackets must be
    closed under transpose, as for linear networks, up to translations. shifts: b_k (D,) each, 0 when left out. reach:
    norm of the group element that brings the farthest of the charges to rest alone. Tolerance on every charge's drift,
    relative to the noise and decay that lift and lower this charge.
    """
    basis = np.array(generators)
    offset = np.zeros(basis.shape[:2]) if shifts is None else np.array(shifts)
    sizes = np.array([_absolute(a) for a in basis])
    point, noise, transform, shift = theta.copy(), sigma.copy(), np.eye(len(theta)), np.zeros(len(theta))

    def value(p: Array, s: Array) -> float:
        return 0.5 * temperature * float(np.trace(s)) + weight_decay * float(p @ p)

    scale = max(value(point, noise), 1e-300)
    taken, converged = 0, False
    while taken < steps:
        taken += 1
        moved = basis @ point + offset
        gradient = -temperature * np.einsum("kij,ji->k", basis, noise) + 2 * weight_decay * moved @ point
        hessian = _hessian(basis, offset, point, noise, temperature, weight_decay)
        lengths = _lengths(basis, offset, point)
        curvature = temperature * np.einsum("kij,jl,kil->k", basis, noise, basis) + weight_decay * lengths**2
        # One charge's noise may be any factor of another's; products of translations are no directions of their own
        # where these vanish, and of all steps that do the same the shortest, in their own units, is the safe one.
        unit = np.ones(len(basis)) if offset.any() else 1 / np.sqrt(np.maximum(curvature, 1e-300))
        step = -unit * np.linalg.lstsq(unit[:, None] * hessian * unit, unit * gradient, rcond=1e-13)[0]
        generator, along = np.einsum("k,kij->ij", step, basis), step @ offset
        lifts = temperature * np.einsum("kij,ji->k", sizes, noise)
        lifts += 2 * weight_decay * lengths * float(np.linalg.norm(point))
        flat = bool((np.abs(gradient) <= tolerance * lifts).all())
        if (
            flat and float(np.linalg.norm(generator, 2)) <= NEAR
        ):  # flat with a long way to go: the minimum is at infinity
            converged = True
            break
        shrink = min(1.0, 2.0 / max(float(np.linalg.norm(generator, 2)), 1e-300))
        generator, along = generator * shrink, along * shrink
        slope, t = float(gradient @ step), 1.0
        while True:
            (transport, by), (back, _) = _flow(t * generator, t * along), _flow(-t * generator, 0 * along)
            new_point, new_noise = transport @ point + by, back @ noise @ back
            if value(new_point, new_noise) <= value(point, noise) + 1e-14 * scale or t < 1e-8 or slope >= 0:
                break
            t /= 2
        point, noise, transform = new_point, (new_noise + new_noise.T) / 2, transport @ transform
        shift = transport @ shift + by
        if np.linalg.norm(transform, 2) > FAR * reach:
            break
    pull = (basis @ point + offset) @ point
    drift = np.array(
        [temperature * np.trace(noise @ a) - 2 * weight_decay * p for a, p in zip(basis, pull, strict=True)]
    )
    size = max(temperature * float(np.trace(noise)), 1e-300)
    rates = _relaxation(basis, offset, point, noise, temperature, weight_decay) if converged else np.zeros(0)
    return JointEquilibrium(point, float(np.abs(drift).max() / size), transform, taken, converged, rates, shift)


def _flow(a: Array, b: Array) -> tuple[Array, Array]:
    """(M, m) of the flow of A theta + b over unit time, theta -> M theta + m."""
    from scipy.linalg import expm  # slow to load

    if not b.any():
        return expm(a), b
    found = expm(bordered(a, b))
    return found[:-1, :-1], found[:-1, -1]


def bordered(a: Array, b: Array) -> Array:
    """[[A, b], [0, 0]], whose commutators are the brackets of A theta + b up to sign."""
    return np.pad(np.column_stack([a, b]), ((0, 1), (0, 0)))


def _lengths(basis: Array, offset: Array, point: Array) -> Array:
    """How long A theta + b is where its terms do not cancel, for every field: what a field that vanishes at theta, as
    (p + q)^2 does beside p + q, is held against."""
    return np.sqrt(np.sum(basis**2, axis=1) @ point**2 + np.sum(offset**2, axis=1))


def _absolute(a: Array) -> Array:
    """|A| of a symmetric matrix of few rows that are not 0."""
    rows = np.flatnonzero(a.any(axis=1))
    values, vectors = np.linalg.eigh(a[np.ix_(rows, rows)])
    out = np.zeros_like(a)
    out[np.ix_(rows, rows)] = (vectors * np.abs(values)) @ vectors.T
    return out


def _hessian(basis: Array, offset: Array, point: Array, noise: Array, temperature: float, weight_decay: float) -> Array:
    """Second derivatives of (T/2) Tr Sigma + lambda_wd |theta|^2 along exp(sum_k x_k (A_k, b_k))."""
    turned, pushed = basis @ point, np.einsum("kij,jl->kil", basis, noise)
    moved = turned + offset
    flat = np.swapaxes(basis, 1, 2).reshape(len(basis), -1)
    out = 2 * temperature * pushed.reshape(len(basis), -1) @ flat.T
    out += 2 * weight_decay * (moved + turned) @ moved.T
    return (out + out.T) / 2


def _relaxation(
    basis: Array, offset: Array, point: Array, noise: Array, temperature: float, weight_decay: float
) -> Array:
    """Rates at which small displacements along the orbit die out: 2 <v_k, v_l> x' = -Hessian x with v_k = A_k theta +
    b_k, on the orbit's tangent space."""
    moved = basis @ point + offset
    unit = 1 / np.maximum(_lengths(basis, offset, point), 1e-300)[:, None]
    values, vectors = np.linalg.eigh(2 * (unit * moved) @ (unit * moved).T)
    kept = values > 1e-10 * values.max()  # in units in which every field has the same length
    white = unit * vectors[:, kept] / np.sqrt(values[kept])
    return np.linalg.eigvalsh(white.T @ _hessian(basis, offset, point, noise, temperature, weight_decay) @ white)


def joint_of_fields(
    moving: Sequence[tuple[Array, Array]],
    theta: Array,
    sigma: Array,
    temperature: float,
    weight_decay: float,
    reach: float = 1.0,
) -> JointEquilibrium | None:
    """The joint equilibrium of the symmetric generators (A, b) that noise or weight decay moves; None without such, or
    where they do not close under brackets.

    Without weight decay, what carries no noise rests and is no part of them: translations, and every A with Sigma A =
    0. reach: as for `joint_equilibrium`.
    """
    linear = [(a, b) for a, b in moving if not b.any()]
    for chosen in (moving, linear):
        if chosen and is_closed([bordered(a, b) if any(b.any() for _, b in chosen) else a for a, b in chosen]):
            generators, shifts = zip(*chosen, strict=True)
            return joint_equilibrium(generators, theta, sigma, temperature, weight_decay, shifts=shifts, reach=reach)
    return None


def is_closed(basis: Sequence[Array]) -> bool:
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
