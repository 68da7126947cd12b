"""dX = dt + dW until it leaves (-1, 1): paths stop at times of their own, most of them long before the run's end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import sympy as sp

from benchmarks.measure import Contestant
from benchmarks.ours import runner
from benchmarks.problem import Problem, Run, Task
from symbolic import SDE


class Exit(Problem):
    """Where paths end is watched: +1 or -1, and where they are if they have not left by then. bridge: crossings between
    steps are seen too."""

    begin = (np.array(0.0),)
    noises = draws = 1
    diagonal = True
    dt = 0.01
    steps = 1000
    paths = 100_000

    def __init__(self, bridge: bool) -> None:
        self.bridge = bridge
        self.name = "exit, by bridges" if bridge else "exit, after steps"

    def drift(self, flat: Any) -> Any:
        return self.xp.ones_like(flat)

    def jumps(self, flat: Any) -> Any:
        return self.xp.ones_like(flat)

    def diffuse(self, flat: Any, xi: Any) -> Any:
        return xi

    def charge(self, x: Any) -> Any:
        return x

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        (x,) = parts
        return (x + (self.dt + self.dt**0.5 * xi.reshape(x.shape)),)

    def sides(self, before: Any, after: Any, uniforms: Any) -> Any:
        """+1 or -1 where a path has left in a step, 0 where it has not. uniforms (2, paths), where bridges are."""
        up, down = after >= 1, after <= -1
        if self.bridge:
            over, under = (self.xp.exp(-2 / self.dt * (1 - s * before) * (1 - s * after)) for s in (1, -1))
            up, down = up | (uniforms[0] < over), down | (uniforms[1] < under)
        return self.xp.where(up, 1, self.xp.where(down, -1, 0))

    def ours(self) -> dict[str, Any]:
        x = sp.Symbol("x", real=True)
        sde = SDE([x], [1], [[1]], name=self.name)
        return {"problem": sde, "sgd": None, "start": {x: 0.0}, "charge": sp.Max(-1, sp.Min(1, x))}


def ours(problem: Exit, task: Task) -> Run:
    """Through the public interface."""
    given = problem.ours()
    (x,) = given["start"]
    return runner(
        **given, path_steps=problem.steps, time=problem.time, dt=problem.dt, paths=task.paths, save_at=2,
        dtype=task.dtype, events={"up": x - 1, "down": -1 - x}, stop="first", check=False,
        crossings="bridge" if problem.bridge else "steps",
    )  # fmt: skip


@dataclass(frozen=True)
class Exits:
    """A race for the final mean alone, to the time at which the last path is to have left. rivals: functions of
    `benchmarks.rivals.exits` by label, and how many paths they get."""

    problem: Exit
    rivals: Mapping[str, tuple[str, int]]

    def contestants(self, saves: int, dtype: str) -> list[Contestant]:
        """Ours first; none for runs with saves in between."""
        if saves > 1:
            return []

        def rival(label: str, name: str, paths: int) -> Contestant:
            task, module = Task(paths, saves, dtype), "benchmarks.rivals.exits"
            return Contestant(label, lambda: getattr(import_module(module), name)(self.problem, task))

        own = Contestant("noetherflow", lambda: ours(self.problem, Task(self.problem.paths, saves, dtype)))
        return [own, *(rival(label, *how) for label, how in self.rivals.items())]


ARRAYS = {
    "NumPy, without those that left": ("compacting", 100_000),
    "jax.lax.while_loop": ("masked", 100_000),
    "jax.lax.while_loop, a device per core": ("sharded", 100_000),
}
RACES = (
    Exits(Exit(True), ARRAYS),
    Exits(Exit(False), {**ARRAYS, "diffrax Euler, Event": ("diffrax_event", 16_384)}),
)
