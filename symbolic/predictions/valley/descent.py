"""Gradient flow from a point to the minimum that it leads to: where motion in a valley begins."""

from __future__ import annotations

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


def steepness(gradient: Array, curvature: float, theta: Array) -> float:
    """Size of the gradient over |H| |theta|: 0 without a gradient, infinite where it alone is not 0."""
    size, scale = float(np.linalg.norm(gradient)), curvature * float(np.linalg.norm(theta))
    return size / scale if scale else np.inf if size else 0.0


def descend(hessian: MeanHessian, theta: Array) -> tuple[Array | None, bool]:
    """(the minimum of L that gradient flow leads to, None where it leads to none; whether theta was away from it).

    Newton's method across the valley takes the last steps.
    """
    from scipy.integrate import solve_ivp  # slow to load

    gradient = hessian.gradient

    def shape(at: Array) -> tuple[float, float, bool]:
        """Size of the gradient, the largest curvature, and whether none is negative."""
        curvatures = np.linalg.eigvalsh(hessian(at))
        top = max(float(np.abs(curvatures).max(initial=0.0)), 1e-300)
        return steepness(gradient(at), top, at), top, bool(curvatures.min(initial=0.0) >= -SADDLE * top)

    slope, curvature, bowl = shape(theta)
    away, spent, span = slope > STATIONARY, 0.0, 10.0
    while (slope > STATIONARY / 10 or not bowl) and spent < LONGEST:
        if slope == 0:  # gradient flow rests on a saddle
            return None, away
        flow: Any = solve_ivp(
            lambda _, at: -gradient(at),
            (0.0, span / curvature),
            theta,
            "LSODA",
            jac=lambda _, at: -hessian(at),
            rtol=1e-9,
            atol=1e-12 * float(np.linalg.norm(theta)),
        )
        if not flow.success or not np.isfinite(flow.y[:, -1]).all():
            return None, away
        theta, spent, span = flow.y[:, -1], spent + span, span * 4
        slope, curvature, bowl = shape(theta)
    for _ in range(8):
        if slope <= SETTLED or not bowl:
            break
        nearer = theta - np.linalg.lstsq(hessian(theta), gradient(theta), rcond=1e-7)[0]
        least = shape(nearer)[0]
        if least >= slope:
            break
        theta, slope = nearer, least
    return (theta if slope <= STATIONARY / 10 and bowl else None), away
