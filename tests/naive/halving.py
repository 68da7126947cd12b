"""Milstein's scheme in steps that are halved until they agree, one path at a time: by recursion on the tree of halves,
with the engine's normals."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from sde.kernels.random.draws import normals, step_normals
from sde.kernels.random.philox import STREAM_TREE

Step = Callable[[np.ndarray, float, float, np.ndarray], np.ndarray]
"""(x, t, h, dW) -> the state after."""
DEEPEST = 19


class Path:
    """A path of `step` to `tolerance`, relative to sqrt(unit^2 + |x|^2); accepted, rejected: counts of its steps."""

    def __init__(self, step: Step, noises: int, tolerance: float, unit: float, seed: int, number: int) -> None:
        self.step, self.noises, self.tolerance, self.unit = step, noises, tolerance, unit
        self.seed, self.number, self.accepted, self.rejected = seed, number, 0, 0

    def run(self, start: list[float], grid: np.ndarray) -> np.ndarray:
        """States at the times of the grid (K, D)."""
        states = [np.array(start, dtype=float)]
        for k in range(len(grid) - 1):
            h = grid[k + 1] - grid[k]
            whole = sqrt(h) * step_normals(self.noises, 4, self.seed, self.number, k)[:, 0]
            bridge = normals(self.noises, 4, self.seed, self.number, k, STREAM_TREE, 0)[:, 0]
            first = whole / 2 + sqrt(h) / 2 * bridge
            states.append(self.over(k, 1, states[-1], grid[k], h, (first, whole - first)))
        return np.array(states)

    def over(self, k: int, node: int, x: np.ndarray, t: float, h: float, halves: tuple[np.ndarray, ...]) -> np.ndarray:
        """The state after the interval `node` of step k, of length h, whose halves have these increments."""
        blocks = -(-2 * self.noises // 2)
        bridges = normals(2 * self.noises, 4, self.seed, self.number, k, STREAM_TREE, node * blocks)[:, 0]
        firsts = [w / 2 + sqrt(h / 2) / 2 * b for w, b in zip(halves, np.split(bridges, 2), strict=True)]
        quarters = [q for w, first in zip(halves, firsts, strict=True) for q in (first, w - first)]
        ends = []
        for parts in ([halves[0] + halves[1]], halves, quarters):
            y = x
            for s, w in enumerate(parts):
                y = self.step(y, t + s * h / len(parts), h / len(parts), w)
            ends.append(y)
        allowed = self.tolerance * sqrt(self.unit**2 + (x**2).sum())
        if all(sqrt(((b - a) ** 2).sum()) <= allowed for a, b in zip(ends[:-1], ends[1:], strict=True)):
            self.accepted += 1
            return ends[-1]
        self.rejected += 1
        assert node < 2**DEEPEST
        middle = self.over(k, 2 * node, x, t, h / 2, (quarters[0], quarters[1]))
        return self.over(k, 2 * node + 1, middle, t + h / 2, h / 2, (quarters[2], quarters[3]))
