"""Where gradient noise leads a point along its symmetry orbit, and how fast (docs/theory.md eq. (4.2)).

On the orbit theta_lambda of A the loss is constant and Sigma -> e^{-lambda A} Sigma e^{-lambda A}; C drifts by
F(lambda) = -2 lambda_wd v.theta + T Tr[Sigma A], decreasing in lambda: its zero is the noise equilibrium. Several
charges together: `symbolic.predictions.joint_equilibrium`. Where SGD ends, turning included:
`symbolic.predictions.valley`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from symbolic.algebra.affine import AffineField
from symbolic.noise import drift as laws
from symbolic.noise.covariance import Noise
from symbolic.noise.sign_class import classify
from symbolic.predictions.charge import Charge
from symbolic.predictions.joint_equilibrium import JointEquilibrium, joint_of_fields
from symbolic.predictions.valley import RelativeEquilibrium, Valley
from symbolic.problem.optimizer import SGD

Array = np.ndarray
SHOWN = 64
"""D up to which the motion in the valley is worked out unasked, for display."""
HUGE = 1e6
"""Entries of a generator beyond which they are counted in a unit of their own."""
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
class Equilibrium:
    """Equilibria of all charges from one point, one by one and jointly, and where SGD ends.

    `joint` is where the charges' drifts vanish if the point stays where it is; noise may also turn it, for ever, so
    that SGD ends at `relative` instead (docs/theory.md eq. (5.7)).

    Attributes
    ----------
    theta
        The point, (D,).
    charges
        A `ChargeEquilibrium` each; indexing gives the same.
    joint
        A `JointEquilibrium`; None where neither noise nor weight decay moves a charge, or where the
        generators do not close.
    valley
        What `relative` is worked out from, when first asked for.
    """

    theta: Array
    charges: tuple[ChargeEquilibrium, ...]
    joint: JointEquilibrium | None
    valley: Valley | None = field(default=None, repr=False, compare=False)

    @cached_property
    def relative(self) -> RelativeEquilibrium | None:
        """Where SGD ends in the limit of small steps, turning included; None without symmetries."""
        return None if self.valley is None else self.valley.end()

    @cached_property
    def finite_step(self) -> RelativeEquilibrium | None:
        """`relative` at the learning rate itself, its fluctuations to first order in eta/S (docs/theory.md eq. (5.8));
        None without symmetries or with momentum."""
        return None if self.valley is None or not self.valley.finite_step else self.valley.end(self.valley.finite_step)

    @property
    def shown(self) -> RelativeEquilibrium | None:
        """`relative` where rotations may make it another point than `joint` and D is at most 64, for display."""
        if self.valley is None or not self.valley.rotates or len(self.theta) > SHOWN:
            return None
        return self.relative

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
        if self.shown is not None:
            lines.append(str(self.shown))
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

    unit = unit_of(orbit.values)
    far = FAR * unit / float(np.abs(orbit.values).max()) if a.any() else 1e9
    star = _root(lambda x: force(x / unit), far)
    star = None if star is None else star / unit
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


def unit_of(values: Array) -> float:
    """A power of 2 in which the entries of a generator are counted, 1 unless they are huge: coefficients of decimals
    with many digits are whole numbers of as many."""
    largest = float(np.abs(values).max(initial=0.0))
    return 2.0 ** round(np.log2(largest)) if largest > HUGE else 1.0


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


def equilibrium(
    charges: Sequence[Charge], noise: Noise, theta: Array, sgd: SGD, fields: Sequence[AffineField] = ()
) -> Equilibrium:
    """Equilibria of every charge from theta, one by one and together, and the end of the motion that all generators
    make, where `fields` holds a basis of them."""
    sigma = noise.sigma(theta)
    rates = noise.rates(sgd, numeric=True)
    single = tuple(charge_equilibrium(c, theta, sigma, rates) for c in charges)
    pairs = [(c.A / unit, c.b / unit) for c in charges for unit in [unit_of(np.append(c.A, c.b))]]
    joint = joint_of_fields(pairs, theta, sigma, rates.speed * rates.temperature, rates.weight_decay)
    if joint is not None:
        joint = replace(joint, rates=rates.speed * joint.rates)
    return Equilibrium(theta, single, joint, Valley(noise, fields, theta, rates) if fields else None)
