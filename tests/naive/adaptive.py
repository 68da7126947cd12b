"""Adaptive Euler, one path at a time: written from the rule, with the engine's normals."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, sqrt

import numpy as np

from sde.kernels.random.draws import normals
from sde.kernels.random.philox import STREAM_NOISE

Field = Callable[[np.ndarray, float], np.ndarray]


def path(
    drift: Field,
    diffusion: Field,
    slope: Callable[[np.ndarray], np.ndarray],
    start: list[float],
    grid: np.ndarray,
    seed: int,
    number: int,
    unit: float,
    additive: bool = False,
) -> tuple[np.ndarray, list[float]]:
    """States at the times of the grid (K, D), and the times of all steps. slope: x -> the drift's Jacobian (D, D);
    unit: the states' size."""
    x, states, times = np.array(start, dtype=float), [np.array(start, dtype=float)], [0.0]
    noises = diffusion(x, 0.0).shape[1]
    for k in range(len(grid) - 1):
        length = grid[k + 1] - grid[k]
        rest, turn = length, 0
        while rest > 0:
            t = grid[k] + (length - rest)
            f, b, size = drift(x, t), diffusion(x, t), unit**2 + (x**2).sum()
            a, c = sqrt((f**2).sum() / size), 0.0 if additive else (b**2).sum() / size
            r, g = sqrt((slope(x) ** 2).sum()), max(0.0, -(x * f).sum() / size)
            parts = ceil(rest / max(length / (1 + a + r + c + length * a * a / (1 + 2 * g)), length * 2.0**-100))
            h = rest / parts if parts > 1 else rest
            drawn = normals(2 * noises, 4, seed, number, k, STREAM_NOISE, turn // 2 * noises)[:, 0]
            x = x + f * h + b @ (sqrt(h) * drawn[turn % 2 :: 2])
            rest, turn = rest - h, turn + 1
            times.append(grid[k] + (length - rest))
        states.append(x)
    return np.array(states), times
