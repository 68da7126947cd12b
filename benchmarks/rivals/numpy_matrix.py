"""Matrix factorisation in NumPy: batched `@` over all paths."""

from __future__ import annotations

import numpy as np

from benchmarks.matrix_factorization import SIZE, Run, Task
from benchmarks.measure import Outcome
from benchmarks.rivals.symmetric import symmetric_basis


def matmul(task: Task) -> Run:
    """One thread; see `benchmarks.matrix_factorization` for the step."""
    dtype = np.dtype(task.dtype).type
    size = dtype((task.eta * task.dt) ** 0.5)
    basis = symmetric_basis(SIZE)
    symmetric, wide = len(basis), SIZE * SIZE
    mix = (size * basis.reshape(symmetric, wide)).astype(dtype)
    target, drift = task.target.astype(dtype), (task.dt * np.eye(SIZE)).astype(dtype)
    every = task.steps // task.saves

    def run(seed: int) -> Outcome:
        rng, n = np.random.default_rng(seed), task.paths
        U, W = (np.repeat(a[None].astype(dtype), n, axis=0) for a in task.start)
        charge, saved = np.zeros(n), []
        for step in range(1, task.steps + 1):
            xi = rng.standard_normal((n, symmetric + wide), dtype)
            Q = (xi[:, :symmetric] @ mix).reshape(n, SIZE, SIZE) + drift
            G = dtype(2) * ((U @ W - target) @ Q) - size * xi[:, symmetric:].reshape(n, SIZE, SIZE)
            U, W = U - G @ W.swapaxes(1, 2), W - U.swapaxes(1, 2) @ G
            if step % every == 0:
                charge = (U[:, :, 0] ** 2).sum(1) - (W[:, 0] ** 2).sum(1)
                rows = np.concatenate([U.reshape(n, wide), W.reshape(n, wide), charge[:, None]], axis=1)
                saved.append((rows.mean(0), rows.std(0), rows.min(0), rows.max(0)))
        sem = float(charge.std(dtype=float)) / n**0.5
        return Outcome(n * task.steps, float(charge.mean(dtype=float)), sem)

    return run
