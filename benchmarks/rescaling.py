"""Rescaling by Euler-Maruyama: loss (u w x - x - e)^2, x ~ N(0, 1), e ~ N(0, 1/2): 2 states, 2 noises.

With a = u w - 1 one step is g = 2 a dt + sqrt(eta dt) (2 sqrt(2) a xi_0 - xi_1), u -= g w, w -= g u.
The charge u^2 - w^2 is watched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module

import sympy as sp

from benchmarks.measure import Contestant, Outcome
from benchmarks.ours import runner
from symbolic import SGD, Loss, Normal

PATHS = 32_768
STEPS = 1000


@dataclass(frozen=True)
class Task:
    """What every contestant computes: mean, std, min, max of u, w and u^2 - w^2 at `saves` equally spaced times
    after the start (only the last for saves = 1).
    """

    paths: int
    saves: int
    dtype: str
    steps: int = STEPS
    dt: float = 0.01
    eta: float = 0.01
    u: float = 1.2
    w: float = 0.6

    @property
    def time(self) -> float:
        """Length of the run in learning-rate time."""
        return self.steps * self.dt


Run = Callable[[int], Outcome]

RIVALS: tuple[tuple[str, str, str, int], ...] = (
    ("jax.lax.scan", "jax_scan", "plain", 32_768),
    ("jax.lax.scan, a device per core", "jax_scan", "sharded", 32_768),
    ("jax.lax.scan, a device per core, 1 normal", "jax_scan", "merged", 32_768),
    ("NumPy over paths", "numpy_paths", "rescaling", 8_192),
    ("diffrax Euler, UnsafeBrownianPath", "diffrax_euler", "rescaling", 2_048),
    ("torchsde euler", "torchsde_euler", "rescaling", 512),
    ("sdeint itoEuler", "sdeint_euler", "rescaling", 4),
)
"""Label, module in `benchmarks.rivals`, its function, paths (rates are compared, so fewer for the slow)."""

SLOWER = {"jax_scan": 4}
"""Modules that run float64 on so many times fewer paths: JAX's 64-bit normals cost six times its 32-bit ones."""


def contestants(saves: int, dtype: str, rivals: tuple[str, ...] | None = None) -> list[Contestant]:
    """Ours first, then the rivals, or only those from the modules named."""
    task = Task(PATHS, saves, dtype)
    chosen = [r for r in RIVALS if rivals is None or r[1] in rivals]
    return [Contestant("noetherflow", lambda: ours(task))] + [
        Contestant(label, _builder(module, function, replace(task, paths=paths // _share(module, dtype))))
        for label, module, function, paths in chosen
    ]


def _share(module: str, dtype: str) -> int:
    return SLOWER.get(module, 1) if dtype == "float64" else 1


def _builder(module: str, function: str, task: Task) -> Callable[[], Run]:
    return lambda: getattr(import_module(f"benchmarks.rivals.{module}"), function)(task)


def problem() -> tuple[Loss, sp.Expr]:
    """The loss and its charge."""
    u, w, x, e = sp.symbols("u w x e", real=True)
    law = {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))}
    return Loss((u * w * x - x - e) ** 2, parameters=[u, w], data=law, name="rescaling"), u**2 - w**2


def ours(task: Task) -> Run:
    """The task through the public interface."""
    loss, charge = problem()
    return runner(
        loss, SGD(learning_rate=task.eta), charge, task.steps, start={"u": task.u, "w": task.w}, time=task.time,
        dt=task.dt, paths=task.paths, save_at=task.saves + 1, dtype=task.dtype,
    )  # fmt: skip
