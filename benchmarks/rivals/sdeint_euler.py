"""sdeint: itoEuler, path by path, as the package has it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.measure import Outcome
from benchmarks.problem import Problem, Run, Task


def euler(problem: Problem, task: Task) -> Run:
    """float64 whatever the task says: sdeint has no other."""
    sdeint: Any = import_module("sdeint")
    mine = problem.on(np, lambda a: a)
    times = np.linspace(0.0, problem.time, problem.steps + 1)
    each = np.eye(problem.noises)

    def drift(y: np.ndarray, t: float) -> np.ndarray:
        return mine.drift(y)

    def diffusion(y: np.ndarray, t: float) -> np.ndarray:
        return mine.diffuse(y[:, None], each)

    def run(seed: int) -> Outcome:
        rng = np.random.default_rng(seed)
        paths = [sdeint.itoEuler(drift, diffusion, problem.flat, times, generator=rng) for _ in range(task.paths)]
        return summed(problem, mine, np.array(paths)[:, :: problem.steps // task.saves])

    return run


def summed(problem: Problem, mine: Problem, paths: np.ndarray) -> Outcome:
    """Statistics over paths (n, saves, D)."""
    rows, n = mine.states(np.moveaxis(paths, -1, 0)), len(paths)
    spread = rows.std(1, ddof=1) if n > 1 else np.full(rows.shape[::2], np.inf)
    mean, std, *_ = rows.mean(1), spread, rows.min(1), rows.max(1)
    return Outcome(n * problem.steps, float(mean[-1, -1]), float(std[-1, -1]) / n**0.5)
