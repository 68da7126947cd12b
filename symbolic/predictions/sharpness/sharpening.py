"""What gradient noise does to the sharpness S = Tr Hess L by way of the charges: it sharpens, flattens or neither
(docs/theory.md eq. (5.1)).

L is constant along theta_lambda = e^{lambda A} theta, a linear map; hence H(theta_lambda) = e^{-lambda A} H e^{-lambda
A} at every theta, minimum or not, and S(lambda) = Tr[H e^{-2 lambda A}]. Noise moves the charge by T Tr[Sigma A] = 2
lambda' |v|^2, v = A theta + b: one charge alone changes S at the rate -T Tr[HA] Tr[Sigma A]/|v|^2. All generators
together: `symbolic.predictions.sharpness.valley`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError, nearest
from symbolic.language.names import latex
from symbolic.noise.hessian import MeanHessian, trace_expression
from symbolic.predictions.charge import Charge
from symbolic.predictions.derivation import Derivation
from symbolic.predictions.equilibrium import Equilibrium
from symbolic.predictions.orbit import total
from symbolic.predictions.sharpness.stability import Stability, stability
from symbolic.predictions.sharpness.valley import RELATIVE, motion, on_orbit
from symbolic.problem.optimizer import SGD, require_sgd

Array = np.ndarray
FAR = 1e6
"""Factor from which a sharpness at an equilibrium at infinity is called 0 or infinite."""
DISTANT = 1e5
"""Norm of the group element, over that of what brings one charge to rest, beyond which a joint equilibrium is one at
infinity."""
SHOWN = 12
"""Charges listed before the rest is counted."""
SHORT = 250
"""Operations up to which the sharpness is shown as a formula."""


@dataclass(frozen=True)
class ChargeSharpness:
    """One charge's hold on the sharpness. slope: dS/dlambda = -2 Tr[HA]; rate: dS/dt by noise if this charge alone
    moved.

    verdict: "sharpens", "flattens" or "neutral". lambda_star, value_star: the charge's own equilibrium on its orbit and
    S there (inf, or the limit, where it is at infinity).
    """

    charge: Charge
    slope: float
    rate: float
    verdict: str
    lambda_star: float
    value_star: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Sharpness:
    """S = Tr Hess L at theta, where noise takes it, and at which rate; str() in plain words.

    At a minimum (`at_minimum`) the rate is the small-step limit of SGD; elsewhere the gradient moves theta off the
    orbit as well, and rate is the part of the symmetric generators along it.

    Attributes
    ----------
    theory
        The theory it belongs to.
    sgd
        The optimiser.
    theta
        The point, (D,).
    hessian
        Hess L there, (D, D).
    value
        S.
    rate
        dS/dt by noise, all generators together, per unit of t = eta*k.
    decay_rate
        dS/dt by weight decay along the orbit.
    verdict
        Of rate: "sharpens", "flattens" or "neutral".
    charges
        Each charge's hold on S: slope, rate, verdict, its own equilibrium.
    at_minimum
        Whether theta is a minimum of L.
    flat
        Directions in which a minimum is flat beside the orbit: S may drift along them too.
    theta_star, value_star
        The joint equilibrium of noise and weight decay and S there; None and the limit of S, nan where unknown, where
        it is at infinity.
    rate_star
        dS/dt there, from a minimum without weight decay (else nan): not 0 where rotations keep theta moving, see
        `path`.
    equilibrium
        As of `Theory.equilibrium`.
    source
        "samples" when L is an average over draws.
    """

    theory: Derivation = field(repr=False)
    sgd: SGD
    theta: Array
    hessian: Array
    value: float
    rate: float
    decay_rate: float
    verdict: str
    charges: tuple[ChargeSharpness, ...]
    at_minimum: bool
    flat: int
    theta_star: Array | None
    value_star: float
    rate_star: float
    equilibrium: Equilibrium
    source: str

    @cached_property
    def largest(self) -> float:
        """lambda_max(H) at theta."""
        return float(np.linalg.eigvalsh(self.hessian)[-1])

    @cached_property
    def largest_star(self) -> float:
        """lambda_max(H) at the equilibrium; nan where there is none."""
        if self.theta_star is None:
            return np.nan
        return float(np.linalg.eigvalsh(MeanHessian(self.theory.noise)(self.theta_star))[-1])

    @cached_property
    def expression(self) -> sp.Expr | None:
        """S in theta and the laws' symbols; None where it is no polynomial average or too long."""
        return trace_expression(self.theory.noise)

    def along(self, charge: int | str, lambdas: Any) -> Array:
        """S(theta_lambda) on the orbit of one charge: exact, minimum or not.

        Parameters
        ----------
        charge
            Its index or name.
        lambdas
            Orbit parameters, any shape.

        Returns
        -------
        ndarray
            In the shape of lambdas.
        """
        names = [c.charge.name for c in self.charges]
        index = names.index(charge) if charge in names else charge
        if not isinstance(index, (int, np.integer)) or not -len(names) <= index < len(names):
            rule = "charge must be an index or a name"
            raise InputError.of("Sharpness.along", rule, charge, nearest(charge, names))
        values, vectors = np.linalg.eigh(self.charges[index].charge.A)
        weights = np.einsum("ji,jk,ki->i", vectors, self.hessian, vectors)
        return np.exp(-2 * np.multiply.outer(np.asarray(lambdas, dtype=float), values)) @ weights

    def path(self, times: Any) -> tuple[Array, Array]:
        """The mean motion in the valley of minima, the small-step limit of SGD's mean; also where it ends when
        rotations keep on.

        Parameters
        ----------
        times
            t = eta*k, rising from 0 on, (K,).

        Returns
        -------
        tuple of ndarray
            theta (K, D), S (K,).

        Raises
        ------
        InputError
            Away from a minimum.
        """
        from scipy.integrate import solve_ivp  # slow to load

        if not self.at_minimum:
            raise InputError(
                f"Sharpness.path: theta must be a minimum of L; got {self.theta.tolist()}, where the gradient is not 0."
                " Descend first."
            )
        times, theory = np.atleast_1d(np.asarray(times, dtype=float)), self.theory
        rates, hessian_of = theory.noise.rates(self.sgd, numeric=True), MeanHessian(theory.noise)
        heat, decay = rates.speed**2 * rates.temperature, rates.speed * rates.weight_decay

        def velocity(_: float, theta: Array) -> Array:
            mean, root = theory.noise.factor(theta)
            found = motion(theory.algebra.fields, (), theta, hessian_of(theta), mean, root, True)
            return heat * found.noise + decay * found.decay

        solved: Any = solve_ivp(
            velocity, (0.0, max(float(times[-1]), 1e-300)), self.theta, t_eval=times, rtol=1e-9, atol=1e-11
        )
        if not solved.success:
            raise InputError(
                f"Sharpness.path: the motion must exist up to t = {times[-1]}; got a stop: {solved.message}"
            )
        thetas = solved.y.T
        return thetas, np.array([np.trace(hessian_of(theta)) for theta in thetas])

    def stable(self, sgd: SGD | None = None) -> Stability:
        """Whether the learning rate is below the stability limit here and at the noise equilibrium.

        Parameters
        ----------
        sgd
            Another setting, schedules too.

        Returns
        -------
        Stability
        """
        return stability(self.sgd if sgd is None else sgd, self.largest, self.largest_star)

    def summary(self) -> str:
        """One sentence."""
        words = {
            "sharpens": "noise sharpens",
            "flattens": "noise flattens",
            "neutral": "noise does not change the sharpness",
        }
        there = "unknown at the noise equilibrium" if np.isnan(self.value_star) else f"to {self.value_star:.6g}"
        if self.theta_star is None and not np.isnan(self.value_star):
            there += " (an equilibrium at infinity)"
        if self.rate * (self.value_star - self.value) < 0:
            there += ", the other way in the end"
        return (
            f"by way of the charges, {words[self.verdict]}: S = Tr Hess L from {self.value:.6g} {there}, dS/dt ="
            f" {self.rate:.6g}"
        )

    def __str__(self) -> str:
        lines = [self.summary()]
        if self.decay_rate:
            lines.append(f"weight decay along the orbit: dS/dt = {self.decay_rate:.6g}")
        if not self.at_minimum:
            lines.append("theta is not a minimum: the gradient changes S too")
        elif self.flat:
            lines.append(
                f"the minimum is flat in {self.flat} more directions than the symmetries explain: S may drift along"
                " them"
            )
        if abs(self.rate_star) > 0:
            lines.append(f"rotations keep theta moving at the noise equilibrium: dS/dt = {self.rate_star:.6g} there")
        if self.source == "samples":
            lines.append("L is an average over draws: an estimate")
        lines += [
            f"  {c.charge.name}: {c.verdict}, dS/dt alone {c.rate:.6g}, S -> {c.value_star:.6g} at its own lambda* ="
            f" {c.lambda_star:.6g}"
            for c in self.charges[:SHOWN]
        ]
        if len(self.charges) > SHOWN:
            lines.append(f"  ... and {len(self.charges) - SHOWN} more")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        written = self.expression
        shown = latex(written) if written is not None and written.count_ops() <= SHORT else f"{self.value:.6g}"
        return (
            rf"$\displaystyle S = \mathrm{{Tr}}\,\nabla^2 L = {shown}, \quad \dot S|_{{\mathrm{{noise}}}} ="
            rf" {self.rate:.6g}$"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(c.charge.name)}</td><td>{c.verdict}</td><td>{c.rate:.6g}</td><td>{c.value_star:.6g}</td></tr>"
            for c in self.charges
        )
        head = "<tr><th>charge</th><th>verdict</th><th>dS/dt alone</th><th>S at its &lambda;*</th></tr>"
        return f"<p>{html.escape(self.summary())}</p>\n<table>{head}{rows}</table>\n{self._repr_latex_()}"


def sharpness(theory: Derivation, at: Any, sgd: SGD) -> Sharpness:
    """S = Tr Hess L at a point and what noise does to it. at: {symbol or name: number or array}, or numbers (D,).

    Raises ValueError for a schedule, for laws with symbols or bare moments, and where the loss has no finite second
    derivatives.
    """
    schedule = require_sgd("sharpness", sgd).schedule
    if schedule is not None and not schedule.is_number:
        raise InputError(
            f"sharpness: a schedule makes the rates depend on time; got {sgd.schedule}. Leave it out; Sharpness.stable"
            " takes one."
        )
    noise = theory.noise
    rates = noise.rates(sgd, numeric=True)
    hessian_of = MeanHessian(noise)
    theta, mean, root, rounding = noise.at_point(theory.loss.point(at, "at"), "sharpness")
    h = hessian_of(theta)
    found = theory.equilibrium(theta, sgd)
    temperature = rates.speed**2 * rates.temperature
    charges = []
    for charge, own in zip(theory.charges, found.charges, strict=True):
        spaces, v = charge.spaces, charge.A @ theta + charge.b
        bend = total(spaces.values * spaces.forms(h), RELATIVE)
        push = total(spaces.values * spaces.push(root, rounding), RELATIVE)
        rate = -temperature * bend * push / float(v @ v) if bend and push and v.any() else 0.0
        star = on_orbit(spaces, h, own.lambda_star)
        charges.append(ChargeSharpness(charge, -2 * bend, rate, _verdict(rate), own.lambda_star, star))
    moved = motion(theory.algebra.fields, [c.field for c in theory.charges], theta, h, mean, root)
    rate, decay = temperature * moved.rate, rates.speed * rates.weight_decay * moved.decay_rate
    theta_star, value_star = _star(theory, found, h, hessian_of, charges)
    rate_star = np.nan
    if theta_star is not None and moved.at_minimum and not rates.weight_decay:
        mean, root = noise.factor(theta_star)
        rate_star = (
            temperature * motion(theory.algebra.fields, (), theta_star, hessian_of(theta_star), mean, root, True).rate
        )
    return Sharpness(
        theory=theory,
        sgd=sgd,
        theta=theta,
        hessian=h,
        value=float(np.trace(h)),
        rate=rate,
        decay_rate=decay,
        verdict=_verdict(rate),
        charges=tuple(charges),
        at_minimum=moved.at_minimum,
        flat=moved.flat,
        theta_star=theta_star,
        value_star=value_star,
        rate_star=rate_star,
        equilibrium=found,
        source=noise.source,
    )


def _verdict(rate: float) -> str:
    return "sharpens" if rate > 0 else "flattens" if rate < 0 else "neutral"


def _star(
    theory: Derivation, found: Equilibrium, h: Array, hessian_of: MeanHessian, charges: Sequence[ChargeSharpness]
) -> tuple[Array | None, float]:
    """(theta, S) at the joint equilibrium, (None, limit of S) where it is at infinity."""
    if all(e.classification == "frozen" and e.lambda_star == 0.0 for e in found.charges):
        return found.theta, float(np.trace(h))
    if len(charges) == 1:
        return found[0].theta, charges[0].value_star
    if found.joint is None:
        return None, np.nan
    back = np.linalg.inv(found.joint.transform)
    reach = max(np.linalg.norm(found.joint.transform, 2), np.linalg.norm(back, 2))
    if found.joint.converged and reach < DISTANT * max(e.reach for e in found.charges):
        return found.joint.theta, float(np.trace(hessian_of(found.joint.theta)))
    far, now = float(np.sum((h @ back) * back)), float(np.trace(h))
    if abs(far) * FAR < abs(now):
        return None, 0.0
    return None, far if abs(far) < FAR * abs(now) else float(np.sign(far) * np.inf)
