"""Two-layer linear network 4 x 4 x 4 by Euler-Maruyama: loss |U W x - V x - e|^2, 32 states, 26 noises.

x ~ N(0, I), e ~ N(0, I/4), V = diag(1, 1/2, 1/2, 1/4). One step in matmul form: G = 2 ((U W - V) Q - R) with
Q = dt I + sqrt(eta dt) N (N symmetric: variance 2 on the diagonal, 1 off it) and R = sqrt(eta dt)/2 of 16
normals; U -= G W', W -= U' G. The charge (U'U - W W')_00 is watched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import sympy as sp

from benchmarks.measure import Contestant, Outcome
from benchmarks.ours import runner
from symbolic import SGD, Loss, Normal, parameters

SIZE = 4
PATHS = 4_096


@dataclass(frozen=True)
class Task:
    """What every contestant computes: mean, std, min, max of U, W and the charge at `saves` equally spaced times."""

    paths: int
    saves: int
    dtype: str
    steps: int = 1000
    dt: float = 0.01
    eta: float = 0.01

    @property
    def target(self) -> np.ndarray:
        """V (4, 4)."""
        return np.diag([1.0, 0.5, 0.5, 0.25])

    @property
    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """U and W (4, 4), all paths alike."""
        skew = np.array([[0.05 * (i - j) for j in range(SIZE)] for i in range(SIZE)])
        return 1.1 * np.eye(SIZE) + skew, 0.7 * np.eye(SIZE) + skew


Run = Callable[[int], Outcome]

RIVALS: tuple[tuple[str, str, str, int], ...] = (
    ("jax.lax.scan, matmul", "jax_matrix", "matmul", 256),
    ("jax.lax.scan, paths last, a device per core", "jax_matrix", "paths_last", 2_048),
    ("NumPy over paths, matmul", "numpy_matrix", "matmul", 512),
)
"""Label, module in `benchmarks.rivals`, its function, paths."""


def contestants(saves: int, dtype: str) -> list[Contestant]:
    """Ours first, then the rivals."""
    task = Task(PATHS, saves, dtype)
    return [Contestant("noetherflow", lambda: ours(task))] + [
        Contestant(label, _builder(module, function, replace(task, paths=paths)))
        for label, module, function, paths in RIVALS
    ]


def _builder(module: str, function: str, task: Task) -> Callable[[], Run]:
    return lambda: getattr(import_module(f"benchmarks.rivals.{module}"), function)(task)


def ours(task: Task) -> Run:
    """The task through the public interface."""
    p = parameters(U=(SIZE, SIZE), W=(SIZE, SIZE))
    U, W = p
    x = sp.Matrix(sp.symbols(f"x:{SIZE}", real=True))
    e = sp.Matrix(sp.symbols(f"e:{SIZE}", real=True))
    miss = U * (W * x) - sp.Matrix(SIZE, SIZE, lambda i, j: sp.Rational(task.target[i, j])) * x - e
    law = {s: Normal(0, 1) for s in x} | {s: Normal(0, sp.Rational(1, 2)) for s in e}
    loss = Loss(sp.Add(*(r**2 for r in miss)), parameters={"U": U, "W": W}, data=law, name="factorization")
    charge = (U.T * U - W * W.T)[0, 0]
    start = dict(zip(("U", "W"), task.start, strict=True))
    return runner(
        loss, SGD(learning_rate=task.eta), charge, task.steps, start=start, time=task.steps * task.dt,
        dt=task.dt, paths=task.paths, save_at=task.saves + 1, dtype=task.dtype,
    )  # fmt: skip
