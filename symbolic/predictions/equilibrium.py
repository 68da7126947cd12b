"""Where gradient noise leads a point along its symmetry orbit, and how fast (docs/theory.md eq. (4.2)).

On the orbit theta_lambda of A the loss is constant and Sigma -> e^{-lambda A} Sigma e^{-lambda A}; C drifts by
F(lambda) = -2 lambda_wd v.theta + T Tr[Sigma A], decreasing in lambda: its zero is the noise equilibrium. Several
charges together: `symbolic.predictions.joint_equilibrium`. Where SGD ends, turning included:
`symbolic.predictions.valley`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from symbolic.algebra.affine import AffineField
from symbolic.noise import drift as laws
from symbolic.noise.covariance import Noise
from symbolic.noise.sign_class import ENDLESS, classify
from symbolic.predictions.charge import Charge
from symbolic.predictions.joint_equilibrium import JointEquilibrium, joint_of_fields
from symbolic.predictions.orbit import Force, Orbit
from symbolic.predictions.valley import RelativeEquilibrium, Valley
from symbolic.problem.optimizer import SGD

Array = np.ndarray
SHOWN = 64
"""D up to which the motion in the valley is worked out unasked, for display."""


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
        C there, or its limit: what is 0 stays 0 on the orbit, so that C may settle where lambda does not.
    rate
        Rate of relaxation per unit of t at it; 0 when frozen or infinite.
    classification, reason
        The charge's class at this theta, and why.
    drift
        dC/dt at theta, per unit of t: 0 where it is no more than rounding.
    """

    charge: Charge
    lambda_star: float
    theta: Array | None
    value: float
    rate: float
    classification: str
    reason: str
    drift: float

    @property
    def reach(self) -> float:
        """Norm of the group element that leads there; 1 where it is infinitely far."""
        far = abs(self.lambda_star) * self.charge.spaces.fastest
        return float(np.exp(min(far, 700.0))) if np.isfinite(far) else 1.0


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
            f"{e.charge.name}: {e.classification}, lambda* = {e.lambda_star:.6g}, C -> {e.value:.6g}, rate"
            f" {e.rate:.6g} per unit time"
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


def charge_equilibrium(charge: Charge, theta: Array, push: Array, rates: laws.Rates) -> ChargeEquilibrium:
    """lambda*, theta, C, rate and class of one charge, from theta (D,) with the noise on A's eigenvectors there."""
    kind, reason = classify(charge.spaces, push)
    orbit = Orbit(charge.spaces, theta)
    force = Force(orbit, push, rates)
    star, drift = force.zero(), rates.speed * force.start
    if star is None:
        return ChargeEquilibrium(charge, 0.0, theta, orbit.value(0.0), 0.0, kind, reason, drift)
    if np.isinf(star):
        limit = orbit.value(star)
        told = reason if np.isinf(limit) else reason.replace(ENDLESS, f"towards {limit:.6g}")
        return ChargeEquilibrium(charge, star, None, limit, 0.0, kind, told, drift)
    return ChargeEquilibrium(charge, star, orbit.at(star), orbit.value(star), force.rate(star), kind, reason, drift)


def equilibrium(
    charges: Sequence[Charge], noise: Noise, at: Any, sgd: SGD, fields: Sequence[AffineField] = ()
) -> Equilibrium:
    """Equilibria of every charge from a point, one by one and together, and the end of the motion that all generators
    make, where `fields` holds a basis of them."""
    theta, _, root, rounding = noise.at_point(at, "equilibrium")
    rates = noise.rates(sgd, numeric=True)
    pushes = [c.spaces.push(root, rounding) for c in charges]
    single = tuple(charge_equilibrium(c, theta, s, rates) for c, s in zip(charges, pushes, strict=True))
    moving = [c for c, s in zip(charges, pushes, strict=True) if s.any() or rates.weight_decay]
    joint = joint_of_fields(
        [(c.A, c.b) for c in moving],
        theta,
        root @ root.T,
        rates.speed * rates.temperature,
        rates.weight_decay,
        max((e.reach for e in single), default=1.0),
    )
    if joint is not None:
        joint = replace(joint, rates=rates.speed * joint.rates)
    return Equilibrium(theta, single, joint, Valley(noise, fields, theta, rates) if fields else None)
