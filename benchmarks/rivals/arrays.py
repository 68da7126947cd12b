"""NumPy over paths: one array operation over all of them at a time, few enough of them to stay in the cache."""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Outcome
from benchmarks.problem import Problem, Run, Task


def euler(problem: Problem, task: Task) -> Run:
    """PCG64 and the ziggurat, one thread."""
    dtype = np.dtype(task.dtype).type
    mine = problem.on(np, lambda a: a.astype(dtype))
    every, last, n = problem.steps // task.saves, problem.paths_last, task.paths
    normals = (problem.draws, n) if last else (n, problem.draws)

    def run(seed: int) -> Outcome:
        rng = np.random.default_rng(seed)
        parts = tuple(np.repeat(np.expand_dims(a.astype(dtype), -1 if last else 0), n, -1 if last else 0)
                      for a in problem.begin)  # fmt: skip
        saved = []
        for k in range(1, problem.steps + 1):
            parts = mine.step(parts, rng.standard_normal(normals, dtype))
            if k % every == 0:
                rows = mine.rows(parts)
                saved.append((rows.mean(1), rows.std(1), rows.min(1), rows.max(1)))
        charge = mine.rows(parts)[-1]
        return Outcome(n * problem.steps, float(charge.mean(dtype=float)), float(charge.std(dtype=float)) / n**0.5)

    return run
