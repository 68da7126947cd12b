"""One path of a scalar SDE between walls under Euler-Maruyama, step by step: the twin of `symbolic.schemes.walls`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sde.kernels.random.draws import step_normals

Coefficient = Callable[[float, float], float]


def reflected(x: float, low: float, high: float) -> float:
    """Bounced off one wall after the other until it lies between."""
    while not low <= x <= high:
        x = 2 * low - x if x < low else 2 * high - x
    return x


def turned(x: float, low: float, high: float) -> float:
    """Moved by whole periods."""
    while x < low:
        x += high - low
    while x >= high:
        x -= high - low
    return x


def ended(before: float, after: float, wall: float, sign: float, variance: float, share: float) -> bool:
    """Whether a bridge of this variance has met the wall, below it for sign 1: with probability exp(-2 a b/variance) of
    its distances, by a uniform `share`."""
    a, b = sign * (before - wall), sign * (after - wall)
    return a <= 0 or b <= 0 or (variance > 0 and share < math.exp(-2 * a * b / variance))


def follow(
    path: int,
    seed: int,
    x: float,
    times: Sequence[float],
    coefficients: tuple[Coefficient, Coefficient],
    wall: tuple[str, float, float],
) -> list[float]:
    """The state at all times. wall: its kind and its ends."""
    (drift, sigma), (kind, low, high), states = coefficients, wall, [x]
    for k, (t, later) in enumerate(zip(times, times[1:], strict=False)):
        h, normals = later - t, step_normals(2 if kind == "absorb" else 1, 4, seed, path, k)[:, 0]
        y = x + drift(x, t) * h + sigma(x, t) * math.sqrt(h) * normals[0]
        if kind == "absorb":
            share, variance = math.erf(normals[1] / math.sqrt(2)) / 2, sigma(x, t) ** 2 * h
            if math.isfinite(low) and ended(x, y, low, 1.0, variance, 0.5 + share):
                y = low
            elif math.isfinite(high) and ended(x, y, high, -1.0, variance, 0.5 - share):
                y = high
        else:
            y = reflected(y, low, high) if kind == "reflect" else turned(y, low, high)
        x = y
        states.append(x)
    return states
