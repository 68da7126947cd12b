"""A problem of the races, described once for all contestants, and how a race is made of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.measure import Contestant, Outcome
from benchmarks.ours import runner

Run = Callable[[int], Outcome]


@dataclass(frozen=True)
class Task:
    """What every contestant computes: mean, std, min, max of states and charge at `saves` equally spaced times
    after the start (only the last for saves = 1), over `paths` paths, in `dtype`.
    """

    paths: int
    saves: int
    dtype: str


class Problem:
    """dX = drift(X) dt + diffusion(X) dW by Euler-Maruyama, from fixed states.

    Formulas are written over arrays of any library: states come as `parts`, a tuple of arrays of the shapes of
    `begin`, or `flat`, all entries in one row after another, with further axes for paths last. `on` gives a library's
    copy. `constants` are attributes by name, converted for the library.

    step: the same step as one would write it by hand for speed, from normals `xi` (draws, paths); paths_last = False
    puts the paths' axis first in its arguments. diagonal: whether the diffusion is, and `jumps` gives its diagonal.
    """

    name: str
    begin: tuple[np.ndarray, ...]
    noises: int
    draws: int
    dt: float
    steps = 1000
    paths = 32_768
    paths_last = True
    diagonal = False
    constants: Mapping[str, np.ndarray] = {}
    xp: Any = np

    def drift(self, flat: Any) -> Any:
        """(D, ...)."""
        raise NotImplementedError

    def diffuse(self, flat: Any, xi: Any) -> Any:
        """The diffusion times xi (noises, ...): (D, ...)."""
        raise NotImplementedError

    def jumps(self, flat: Any) -> Any:
        """The diagonal of a diagonal diffusion, (D, ...)."""
        raise NotImplementedError

    def charge(self, *parts: Any) -> Any:
        """What is watched beside the states: a number per path."""
        raise NotImplementedError

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        """One step of size dt."""
        raise NotImplementedError

    def ours(self) -> dict[str, Any]:
        """Arguments of `simulate`: problem, sgd, start, and `charge`."""
        raise NotImplementedError

    @property
    def time(self) -> float:
        """Length of a run."""
        return self.steps * self.dt

    @property
    def flat(self) -> np.ndarray:
        """The start (D,)."""
        return np.concatenate([np.ravel(a) for a in self.begin])

    def on(self, library: Any, convert: Callable[[np.ndarray], Any]) -> Any:
        """The problem over the arrays of `library`, its constants made by `convert`."""
        made = copy.copy(self)
        made.xp = library
        for name, value in self.constants.items():
            setattr(made, name, convert(value))
        return made

    def split(self, flat: Any) -> tuple[Any, ...]:
        """The parts of (D, ...)."""
        parts, at = [], 0
        for shape in map(np.shape, self.begin):
            size = int(np.prod(shape, dtype=int))
            parts.append(flat[at : at + size].reshape(*shape, *flat.shape[1:]))
            at += size
        return tuple(parts)

    def rows(self, parts: tuple[Any, ...]) -> Any:
        """(D + 1, paths): states and charge."""
        last = parts if self.paths_last else tuple(self.xp.moveaxis(a, 0, -1) for a in parts)
        charge = self.charge(*last)
        return self.xp.concatenate([*(a.reshape(-1, charge.shape[-1]) for a in last), charge[None]])

    def states(self, flat: Any) -> Any:
        """(D + 1, ...): states and charge of (D, ...)."""
        return self.xp.concatenate([flat, self.charge(*self.split(flat))[None]])


@dataclass(frozen=True)
class Rival:
    """label; module in `benchmarks.rivals` and its function(problem, task) -> run; paths (rates are compared, so fewer
    for the slow; enough that what a step costs whatever the paths, as in torchsde, does not decide); asked: the ratio
    that the issue asks for, by dtype; problem: the form of it that this one is given, if another; wide: so many times
    fewer paths in float64.
    """

    label: str
    module: str
    function: str
    paths: int
    asked: Mapping[str, float] = field(default_factory=dict)
    problem: Problem | None = None
    wide: int = 1

    def contestant(self, problem: Problem, task: Task) -> Contestant:
        """It, on a task's saves and dtype."""
        mine = replace(task, paths=self.paths // (self.wide if task.dtype == "float64" else 1))
        given = self.problem or problem

        def build() -> Run:
            return getattr(import_module(f"benchmarks.rivals.{self.module}"), self.function)(given, mine)

        return Contestant(self.label, build, self.asked.get(task.dtype))


@dataclass(frozen=True)
class Race:
    """A problem and its rivals; fast: modules of those that also run for the final mean alone."""

    problem: Problem
    rivals: Sequence[Rival]
    fast: Sequence[str] = ("scan", "arrays")

    def contestants(self, saves: int, dtype: str) -> list[Contestant]:
        """Ours first."""
        task = Task(self.problem.paths, saves, dtype)
        chosen = [r for r in self.rivals if saves > 1 or r.module in self.fast]
        own = Contestant("noetherflow", lambda: ours(self.problem, task))
        return [own, *(r.contestant(self.problem, task) for r in chosen)]


def ours(problem: Problem, task: Task) -> Run:
    """The task through the public interface."""
    return runner(
        **problem.ours(), path_steps=problem.steps, time=problem.time, dt=problem.dt, paths=task.paths,
        save_at=task.saves + 1, dtype=task.dtype,
    )  # fmt: skip
