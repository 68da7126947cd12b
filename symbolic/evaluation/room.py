"""Where the inputs of a loss may be: any real numbers, but for labels, bounds and signs."""

from __future__ import annotations

import numpy as np

from symbolic.evaluation.random_points import Probe
from symbolic.problem.assumptions import sign_of

Array = np.ndarray


class Room:
    """Least (low) and largest value (high) of every input of a probe, and which may be moved by themselves (free): not
    labels and bits, nor data whose law ties them to each other."""

    def __init__(self, probe: Probe) -> None:
        loss, n = probe.loss, len(probe.inputs)
        self.size = loss.dimension
        self.low, self.high = np.full(n, -np.inf), np.full(n, np.inf)
        self.free, at = np.arange(n) < self.size, self.size
        _, drawn = probe.points(64 + 2 * len(loss.z), np.random.default_rng(32))
        for block in loss.blocks:
            here = slice(at, at + len(block.symbols))
            for i, s in enumerate(block.symbols, start=at):
                self.low[i], self.high[i] = {1: (0.0, np.inf), -1: (-np.inf, 0.0)}.get(sign_of(s), (-np.inf, np.inf))
                bounds = block.bounds(i - at) if block.table is None else None
                if bounds is not None:
                    self.low[i], self.high[i] = float(bounds[0]), float(bounds[1])
            values = drawn[here.start - self.size : here.stop - self.size]
            loose = ~np.isin(values, (0.0, 1.0)).all(axis=1)
            if loose.any():
                rank = np.linalg.matrix_rank(np.atleast_2d(np.cov(values[loose])))
                self.free[here] = loose & bool(rank == loose.sum())
            at = here.stop

    @property
    def narrow(self) -> Array:
        """Which inputs have an end."""
        return np.isfinite(self.low) | np.isfinite(self.high)

    def held(self, points: Array, moved: Array) -> Array:
        """What has moved where it may and stays within its room, else the points as they were."""
        fits = self.free[:, None] & (moved > self.low[:, None]) & (moved < self.high[:, None])
        return np.where(fits, moved, points)

    def scaled(self, points: Array, rng: np.random.Generator, decades: tuple[float, float]) -> Array:
        """The points with all parameters and all data times powers of 10 between these."""
        scale = np.ones_like(points)
        scale[: self.size] = 10 ** rng.uniform(*decades, points.shape[1])
        scale[self.size :] = 10 ** rng.uniform(*decades, points.shape[1])
        return self.held(points, points * scale)
