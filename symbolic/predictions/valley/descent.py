"""Gradient flow from a point to the minimum that it leads to: where motion in a valley begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from symbolic.noise.hessian import MeanHessian

Array = np.ndarray
STATIONARY = 1e-5
"""Size of the mean gradient, over |H| |theta|, up to which theta counts as a minimum."""
SETTLED = 1e-13
"""The same, where a minimum needs no more steps of Newton's method."""
SADDLE = 1e-7
"""Negative curvature, over the largest, up to which it is rounding."""
LONGEST = 1e6
"""Time of descent, in units of 1/lambda_max(H), after which it is given up."""
EVALUATIONS = 10_000
"""Gradients, after which it is given up; the longest of the tests' descents take 2,000 and 30 Hessians."""
HESSIANS = 100
"""Hessians that may come on top, each counted as D gradients."""
CLOSE = 0.1
"""Size of the gradient, over |H| |theta|, up to which theta is close to a minimum: far from one, curvature may fall for
long before it settles."""
OUTLASTED = 10.0
"""Product of lambda_max(H) and the time passed, up to which curvature counts as dying out like 1/t: on |theta|^p with
p > 2 it stays at (p - 1)/(p - 2); where curvature is left at the end, it grows like the time."""
SPANS = 2
"""Spans of time running, each four times as long in units of 1/lambda_max(H), that must end so."""

NONE = "gradient flow does not lead to a minimum of L"
FLATTENS = "along gradient flow the curvature of L dies out as fast as time passes, so that no minimum is reached"


def steepness(gradient: Array, curvature: float, theta: Array) -> float:
    """Size of the gradient over |H| |theta|: 0 without a gradient, infinite where it alone is not 0."""
    size, scale = float(np.linalg.norm(gradient)), curvature * float(np.linalg.norm(theta))
    return size / scale if scale else np.inf if size else 0.0


@dataclass(frozen=True)
class Descent:
    """Where gradient flow from a point leads. theta: the minimum of L, (D,), None where none was found, and why; away:
    whether the point was away from it; given_up: whether it was not looked for to the end, so that nothing is known."""

    theta: Array | None
    away: bool
    why: str = ""
    given_up: bool = False


class _Spent(Exception):
    """No evaluations are left."""


def descend(hessian: MeanHessian, theta: Array) -> Descent:
    """The minimum of L that gradient flow leads to.

    Newton's method across the valley takes the last steps. What may be spent is counted in evaluations, so that the
    answer is the same on every machine.
    """
    from scipy.integrate import solve_ivp  # slow to load

    left = EVALUATIONS + HESSIANS * len(theta)

    def spend(gradients: int) -> None:
        nonlocal left
        left -= gradients
        if left < 0:
            raise _Spent

    def gradient(at: Array) -> Array:
        spend(1)
        return hessian.gradient(at)

    def curved(at: Array) -> Array:
        spend(len(at))
        return hessian(at)

    def shape(at: Array) -> tuple[float, float, bool]:
        """Size of the gradient, the largest curvature, and whether none is negative."""
        curvatures = np.linalg.eigvalsh(curved(at))
        top = max(float(np.abs(curvatures).max(initial=0.0)), 1e-300)
        return steepness(gradient(at), top, at), top, bool(curvatures.min(initial=0.0) >= -SADDLE * top)

    def flow(start: Array, time: float) -> Array | None:
        found: Any = solve_ivp(
            lambda _, at: -gradient(at),
            (0.0, time),
            start,
            "LSODA",
            jac=lambda _, at: -curved(at),
            rtol=1e-9,
            atol=1e-12 * float(np.linalg.norm(start)),
        )
        return found.y[:, -1] if found.success and np.isfinite(found.y[:, -1]).all() else None

    slope, curvature, bowl = shape(theta)
    away = slope > STATIONARY
    try:
        spent, span, flat, passed = 0.0, 10.0, 0, 0.0
        while (slope > STATIONARY / 10 or not bowl) and spent < LONGEST:
            if slope == 0:  # gradient flow rests on a saddle
                return Descent(None, away, NONE)
            time = span / curvature
            reached = flow(theta, time)
            if reached is None:
                return Descent(None, away, NONE)
            theta, spent, span, passed = reached, spent + span, span * 4, passed + time
            slope, curvature, bowl = shape(theta)
            flat = flat + 1 if STATIONARY / 10 < slope <= CLOSE and curvature * passed <= OUTLASTED else 0
            if flat == SPANS:
                return Descent(None, away, FLATTENS, given_up=True)
        for _ in range(8):
            if slope <= SETTLED or not bowl:
                break
            nearer = theta - np.linalg.lstsq(curved(theta), gradient(theta), rcond=1e-7)[0]
            least = shape(nearer)[0]
            if least >= slope:
                break
            theta, slope = nearer, least
    except _Spent:
        return Descent(None, away, f"gradient flow reaches no minimum of L within {EVALUATIONS} gradients", True)
    return Descent(theta, away) if slope <= STATIONARY / 10 and bowl else Descent(None, away, NONE)
