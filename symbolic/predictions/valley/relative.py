"""Where SGD ends in a valley of minima: at rest, or turning steadily (docs/theory.md eq. (5.6) to (5.8)).

A zero of the valley's flow up to a rotation Omega of the algebra is a relative equilibrium: theta(t) = e^{t Omega}
theta*. The eigenvalues of matrix charges are constant on it, their axes turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from symbolic.algebra.affine import AffineField
from symbolic.noise.covariance import Noise
from symbolic.noise.hessian import MeanHessian
from symbolic.predictions.valley.descent import Descent, descend
from symbolic.predictions.valley.flow import ZERO, Coordinates, Place, ValleyFlow
from symbolic.problem.optimizer import Rates

Array = np.ndarray
STEPS = 300
"""Steps at the most."""
REACH = 0.5
"""Longest step, as the norm of a generator."""
NEAR = 1e-4
"""Longest step of Newton's method, as the norm of a generator, from a point that counts as the equilibrium."""
EXACT = 1e-11
"""Size of the reduced flow, over that of the noise's push, up to which it counts as 0."""
FAR = 1e6
"""Norm of the group element, or of its inverse, beyond which the flow has no end within reach."""
SINGULAR = 1e-6
"""Smallest curvature across the valley, over the largest, below which it ends in a singular set."""
ROUNDED = 1e-13
"""Size of a gradient, over that of Hess L theta, up to which it is rounding."""
TURNING = 1e-7
"""Size of the velocity at the end, over that of the noise's push, up to which SGD rests."""


@dataclass(frozen=True, eq=False)
class RelativeEquilibrium:
    """Where SGD ends in its valley of minima, up to a rotation that may go on for ever.

    Attributes
    ----------
    theta
        A point of it, (D,): what the flow from the given point leads to, but for a rotation of the algebra.
    rotation
        Omega, (D, D), antisymmetric, per unit of t = eta*k: theta(t) = e^{t Omega} theta, about the rotation's own
        centre where that is not the origin. 0 where SGD rests.
    turns
        Whether it turns.
    rates
        Real parts of the relaxation rates towards it, per unit of t, ascending, rotations divided out; 0 for what is
        conserved, empty when not converged.
    converged
        Whether the flow ends there.
    descended
        Whether the given point was away from the minima, so that gradient flow led to the valley first.
    reason
        Why it is not known, or not reached; empty when converged.
    given_up
        Whether the valley was not looked for to the end, as gradient flow comes near none in bounded work.
    """

    theta: Array
    rotation: Array
    turns: bool
    rates: Array
    converged: bool
    descended: bool
    reason: str = ""
    given_up: bool = False

    @cached_property
    def speed(self) -> float:
        """The largest angular velocity, in radians per unit of t."""
        return float(np.abs(np.linalg.eigvals(self.rotation).imag).max(initial=0.0)) if self.turns else 0.0

    @property
    def period(self) -> float:
        """Time of one turn; infinite where SGD rests."""
        return 2 * np.pi / self.speed if self.turns else np.inf

    def __str__(self) -> str:
        if not self.converged:
            return f"the motion in the valley of minima: not known ({self.reason})"
        first = "gradient flow leads to the valley of minima first; " if self.descended else ""
        if self.turns:
            return f"{first}SGD does not rest here: it turns, once in {self.period:.6g} time units"
        slowest = next((r for r in self.rates if r > 0), None)
        return f"{first}SGD rests here" + ("" if slowest is None else f", slowest rate {slowest:.6g} per unit time")


@dataclass(frozen=True)
class Valley:
    """What the motion from theta (D,) takes: the loss's noise, a basis of all generators, the optimiser's rates."""

    noise: Noise = field(repr=False)
    fields: Sequence[AffineField] = field(repr=False)
    theta: Array
    rates: Rates

    @property
    def rotates(self) -> bool:
        """Whether rotations are among the symmetries' flows, so that there may be turning."""
        return bool(len(self._flow(0.0).isometries)) if self.fields else False

    def _flow(self, step: float) -> ValleyFlow:
        rates = self.rates
        heat, decay = rates.speed**2 * rates.temperature, rates.speed * rates.weight_decay
        return ValleyFlow(self.fields, float(heat), float(decay), step)

    @cached_property
    def _bottom(self) -> tuple[Place | None, Descent]:
        """The minimum where the motion begins, None where gradient flow leads to none; how it was come to."""
        hessian = MeanHessian(self.noise)
        descent = descend(hessian, self.theta)
        if (theta := descent.theta) is None:
            return None, descent
        return Place(theta, hessian(theta), self.noise.sigma(theta)), descent

    @property
    def finite_step(self) -> float:
        """eta of SGD, whose finite-step form is known without momentum; else 0."""
        return float(self.rates.learning_rate) if self.rates.inertia == 1 else 0.0

    def end(self, step: float = 0.0) -> RelativeEquilibrium | None:
        """Where the motion ends, in the limit of small steps or at a learning rate; None without symmetries."""
        if not self.fields:
            return None
        place, descent = self._bottom
        if place is None:
            return replace(_unknown(self.theta, descent.away, descent.why), given_up=descent.given_up)
        flow = self._flow(step)
        if why := _obstacle(flow, place):
            return _unknown(place.theta, descent.away, why)
        return relative_equilibrium(flow, place, descent.away)


def _unknown(theta: Array, descended: bool, why: str) -> RelativeEquilibrium:
    d = len(theta)
    return RelativeEquilibrium(theta, np.zeros((d, d)), False, np.zeros(0), False, descended, why)


def _obstacle(flow: ValleyFlow, at: Place) -> str:
    """Why the symmetries do not tell the motion at a point; empty where they do."""
    spectrum = np.linalg.eigvalsh(at.hessian)
    if spectrum[-1] <= 0:
        return "L is flat there in every direction"
    if unstable := _unstable(flow, at):
        return unstable
    flat = int((spectrum <= ZERO * spectrum[-1]).sum()) - flow.dimension(at.theta)
    if flat > 0:
        more = "one more direction" if flat == 1 else f"{flat} more directions"
        return f"the minima are flat in {more} than the symmetries move theta in, so they do not tell where it goes"
    if flat < 0:
        return "theta lies in no smooth valley: curvature along its own orbit"
    return ""


def _unstable(flow: ValleyFlow, at: Place) -> str:
    """That steps of this length are not stable at a point; empty where they are."""
    if not flow.step or flow.step * (top := float(np.linalg.eigvalsh(at.hessian)[-1])) < 2:
        return ""
    return f"steps of {flow.step:g} are not stable on the way: the learning rate must be below {2 / top:.6g}"


def relative_equilibrium(flow: ValleyFlow, start: Place, descended: bool = False) -> RelativeEquilibrium:
    """The zero of the reduced flow that it leads to from a place, by implicit steps whose length grows as the flow dies
    out (pseudo-transient continuation, Kelley and Keyes 1998): an integration first, Newton's method in the end."""
    at, transform, pace, before = start, np.eye(len(start.theta)), 0.0, np.inf
    across, least = len(flow.frame(at.theta).across), min(SINGULAR, 1e-3 * _steepness(flow, start))
    if not across or (_push(flow, at) == 0.0 and not flow.decay):
        return _settled(flow, at, flow.frame(at.theta), descended)
    for _ in range(STEPS):
        frame = flow.frame(at.theta)
        here, slope = flow.reduced(at, frame), flow.jacobian(at, frame)
        size, stiff = float(np.linalg.norm(here)), max(float(np.linalg.norm(slope, 2)), 1e-300)
        if pace == 0.0:
            pace = 0.5 / stiff
        else:
            pace = min(pace * (min(max(before / size, 0.5), 8.0) if size > 0 else 8.0), 1e9 / stiff)
        before, rising = size, float(np.linalg.eigvals(slope).real.max())
        if rising * pace > 0.5:
            pace = 0.5 / rising
        step, length = np.zeros(len(flow.linear)), np.inf
        while length > REACH:
            step = np.linalg.solve(np.eye(len(here)) / pace - slope, here) @ frame.across
            length = float(np.linalg.norm(np.tensordot(step, flow.linear, 1), 2))
            pace = pace / 2 if length > REACH else pace
        scale = _push(flow, at) + flow.decay * float(np.linalg.norm(at.theta))
        if size <= EXACT * scale and length <= NEAR and pace * stiff >= 1e3:
            return _settled(flow, at, frame, descended)
        at, map_ = flow.moved(at, step)
        transform = map_ @ transform
        far = not np.isfinite(at.theta).all() or max(np.linalg.norm(transform, 2), _inverse_norm(transform)) > FAR
        why = "the flow runs off to infinity" if far else _unstable(flow, at)
        if not why and (len(flow.frame(at.theta).across) < across or _steepness(flow, at) < least):
            why = "the flow runs into a singular set of the minima, where its law ends"
        if why:
            return _unknown(at.theta, descended, why)
    return _unknown(at.theta, descended, f"no end found in {STEPS} steps")


def _settled(flow: ValleyFlow, at: Place, frame: Coordinates, descended: bool) -> RelativeEquilibrium:
    """The equilibrium at a zero of the reduced flow."""
    rates = np.sort(-np.linalg.eigvals(flow.jacobian(at, frame)).real) if len(frame.across) else np.zeros(0)
    rates = np.where(np.abs(rates) > 1e-7 * np.abs(rates).max(initial=0.0), rates, 0.0)
    push, rotation = _push(flow, at), flow.turning(at)
    rates = rates if push > 0 or flow.decay else 0 * rates
    turns = push > 0 and bool(np.linalg.norm(flow.velocity(at)) > TURNING * push)
    return RelativeEquilibrium(at.theta, rotation if turns else 0 * rotation, turns, rates, True, descended)


def _push(flow: ValleyFlow, at: Place) -> float:
    """The size of a velocity that the noise gives; 0 where it is what rounding makes of none, at minima that all
    samples share."""
    size, noise = float(np.linalg.norm(at.theta)), float(np.trace(at.sigma))
    rounding = ROUNDED * float(np.linalg.norm(at.hessian, 2)) * size
    return flow.heat * noise / max(size, 1e-300) if noise > rounding**2 else 0.0


def _steepness(flow: ValleyFlow, at: Place) -> float:
    """The smallest curvature across the valley over the largest one."""
    spectrum = np.linalg.eigvalsh(at.hessian)
    across = spectrum[flow.dimension(at.theta) :]
    return float(across[0] / spectrum[-1]) if len(across) else 1.0


def _inverse_norm(matrix: Array) -> float:
    return 1 / max(float(np.linalg.svd(matrix, compute_uv=False)[-1]), 1e-300)
