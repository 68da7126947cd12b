"""Rescaling by sdeint: itoEuler, path by path, as the package has it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.measure import Outcome
from benchmarks.rescaling import Run, Task


def rescaling(task: Task) -> Run:
    """float64 whatever the task says: sdeint has no other."""
    sdeint: Any = import_module("sdeint")
    size, root8 = task.eta**0.5, 8**0.5
    times = np.linspace(0.0, task.time, task.steps + 1)

    def drift(y: np.ndarray, t: float) -> np.ndarray:
        return -2 * (y[0] * y[1] - 1) * y[::-1]

    def diffusion(y: np.ndarray, t: float) -> np.ndarray:
        return np.outer(-y[::-1], [size * root8 * (y[0] * y[1] - 1), -size])

    def run(seed: int) -> Outcome:
        begin, rng = np.array([task.u, task.w]), np.random.default_rng(seed)
        paths = [sdeint.itoEuler(drift, diffusion, begin, times, generator=rng) for _ in range(task.paths)]
        y = np.array(paths)[:, :: task.steps // task.saves]
        rows = np.concatenate([y, y[..., :1] ** 2 - y[..., 1:] ** 2], axis=-1)
        mean, std, *_ = rows.mean(0), rows.std(0, ddof=1), rows.min(0), rows.max(0)
        return Outcome(task.paths * task.steps, float(mean[-1, -1]), float(std[-1, -1]) / task.paths**0.5)

    return run
