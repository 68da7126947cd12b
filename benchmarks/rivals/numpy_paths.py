"""Rescaling in NumPy: one array operation over all paths at a time, few enough of them to stay in the cache."""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Outcome
from benchmarks.rescaling import Run, Task


def rescaling(task: Task) -> Run:
    """PCG64 and the ziggurat, one thread."""
    dtype = np.dtype(task.dtype).type
    dt2, size = dtype(2 * task.dt), dtype((task.eta * task.dt) ** 0.5)
    size8 = dtype(8**0.5) * size
    every = task.steps // task.saves

    def run(seed: int) -> Outcome:
        rng = np.random.default_rng(seed)
        u, w = np.full(task.paths, task.u, dtype), np.full(task.paths, task.w, dtype)
        charge, saved = u, []
        for step in range(1, task.steps + 1):
            xi = rng.standard_normal((2, task.paths), dtype)
            g = (u * w - dtype(1)) * (dt2 + size8 * xi[0]) - size * xi[1]
            u, w = u - g * w, w - g * u
            if step % every == 0:
                charge = u * u - w * w
                rows = np.stack([u, w, charge])
                saved.append((rows.mean(1), rows.std(1), rows.min(1), rows.max(1)))
        sem = float(charge.std(dtype=float)) / task.paths**0.5
        return Outcome(task.paths * task.steps, float(charge.mean(dtype=float)), sem)

    return run
