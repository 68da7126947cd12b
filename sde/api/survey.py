"""What is known of an SDE before its run: rates and size along a pilot, singular ends of its coefficients, input
narrower than a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from sde.api import starts
from sde.api.per_path import NONE, Own
from sde.api.step_inputs import ArrayCoefficients, Coefficients, along_paths
from sde.engine import step_check, time_grid
from sde.engine.initial_states import over_again
from sde.engine.pilot import PATHS, Pilot
from sde.engine.time_grid import Grid
from symbolic.codegen.prepare import parameters_of
from symbolic.dynamics import discontinuities
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.errors import InputError
from symbolic.schemes import step_map

MOST_DEFAULT = 10_000_000
"""Most steps that a run takes which was not told how many."""
FEWEST_DEFAULT = 1000
"""Steps of a run in which nothing is fast."""
LOOKS = 1 << 16
"""Times at which coefficients are looked at beside the steps' own."""


@dataclass(frozen=True)
class Survey:
    """What is known of an SDE before its run. parameters: numbers, (P,), NaN for those that
    each path has for itself (own); began: when the run begins."""

    sde: SDE
    parameters: np.ndarray
    start: Any
    paths: int
    seed: int
    time: float
    began: float = 0.0
    own: Own = NONE

    @cached_property
    def coefficients(self) -> Coefficients | ArrayCoefficients | None:
        """None where a function has no form in NumPy: what compiles the run says so."""
        return self._coefficients(1)

    def _coefficients(self, paths: int) -> Coefficients | ArrayCoefficients | None:
        """At the parameters of the first paths."""
        if isinstance(self.sde, ArraySDE):
            return ArrayCoefficients(self.sde, self.parameters)
        own = {s.name: over_again(block, paths)[:, 0] for s, block in self.own.blocks.items()}
        numbers = [own.get(p.name, x) for p, x in zip(self.sde.parameters, self.parameters, strict=True)]
        try:
            return Coefficients(self.sde, numbers)
        except ValueError:
            return None

    @cached_property
    def pilot(self) -> Pilot:
        """Rates and size along a few paths."""
        begin = starts.reader(parameters_of(self.sde), self.start, self.paths, self.seed, self.sde.dimension)
        coefficients = self._coefficients(PATHS)
        if not coefficients:
            return Pilot(0.0, 0.0, 1.0)
        return along_paths(coefficients, begin, self.time, self.sde.dimension, self.began)

    @property
    def moves_with_time(self) -> bool:
        """Whether time is in the coefficients."""
        return time_symbol in self.sde.scalars

    def pull(self) -> np.ndarray:
        """What the drift at the first start would move each state by over the whole run, (D,)."""
        x = self._begin()
        return (
            np.abs(self._values(x, np.full(1, self.began))[: len(x), 0]) * self.time
            if self.coefficients
            else np.zeros(0)
        )

    def jacobian(self) -> np.ndarray | None:
        """Of the drift at the first start, (D, D), by central differences."""
        if not self.coefficients:
            return None
        x = self._begin()
        gap = 1e-6 * np.maximum(np.abs(x), 1.0)
        ends = np.concatenate([x[:, None] + np.diag(gap), x[:, None] - np.diag(gap)], axis=1)
        with np.errstate(all="ignore"):
            values = self.coefficients.drift(ends, np.zeros(2 * len(x)))
        return (values[:, : len(x)] - values[:, len(x) :]) / (2 * gap)

    def _begin(self) -> np.ndarray:
        """The state at which the first path begins, (D,)."""
        return starts.reader(parameters_of(self.sde), self.start, self.paths, self.seed, self.sde.dimension)(0, 1)[0]

    def step(self) -> float:
        """The step of a run that was given none: a thousandth of its time, or as short as its rates and its input ask
        for. Raises ValueError where that takes too many steps."""
        step = min(self.time / FEWEST_DEFAULT, self.pilot.step)
        if self.time / step > MOST_DEFAULT:
            raise InputError(
                f"dt: the equation changes at a rate of {max(self.pilot.rate, self.pilot.noise):.3g} per unit time,"
                f" which takes {self.time / step:.2g} steps to resolve; got none (NoneType). Give a dt, shorten the"
                " run, or take out what is fast (scheme='implicit-euler' stays stable at long steps)."
            )
        while (
            self.moves_with_time
            and self.time / step < LOOKS
            and self.unseen(time_grid.continuous(self.time, step, 2, begin=self.began))
        ):
            step /= 2
        return step

    def numbers(self) -> dict[sp.Symbol, float]:
        """Of the parameters that all paths share."""
        known = zip(self.sde.parameters, map(float, self.parameters), strict=True)
        return {p: x for p, x in known if not np.isnan(x)}

    def unseen(self, grid: Grid) -> tuple[float, float] | None:
        """What a coefficient at the start adds up to over the run by the steps, and by many more looks, where the two
        differ by more than 5 % of its size."""
        if not self.moves_with_time or self.coefficients is None or grid.steps > 2 * LOOKS:
            return None
        begin = self._begin()
        looks = LOOKS if not self.sde.arrays else max(grid.steps, LOOKS // self.sde.dimension)
        at = grid.at(np.arange(grid.steps + 1))
        by_steps = self._values(begin, at)
        by_looks = self._values(begin, self._times(looks))
        with np.errstate(all="ignore"):
            sums, requested = np.trapezoid(by_steps, at, axis=1), by_looks.mean(axis=1) * self.time
            size = np.abs(by_looks).mean(axis=1) * self.time
            off = np.abs(sums - requested) > step_check.TOLERATED * size
        worst = np.flatnonzero(off & np.isfinite(sums) & np.isfinite(requested))
        return (float(sums[worst[0]]), float(requested[worst[0]])) if len(worst) else None

    def missed(self, grids: Sequence[Grid]) -> np.ndarray:
        """(grids, E) by how much of its size a coefficient, and its absolute value, adds up to more by the steps of a
        grid than by many looks, at the start and at a state beside it; 0 where that is no number."""
        if not self.moves_with_time or self.coefficients is None:
            return np.zeros((len(grids), 1))
        begin, out = self._begin(), list[np.ndarray]()
        for x in (begin, begin + self.pilot.size * np.cos(1.0 + np.arange(len(begin)))):
            looks = self._values(x, self._times(LOOKS))
            with np.errstate(all="ignore"):
                requested, size = looks.mean(axis=1) * self.time, np.abs(looks).mean(axis=1) * self.time
                for grid in grids:
                    at = grid.at(np.arange(grid.steps + 1))
                    values = self._values(x, at)
                    more = np.trapezoid(values, at, axis=1) - requested, np.trapezoid(np.abs(values), at, axis=1) - size
                    part = np.concatenate(more) / np.tile(size, 2)
                    out.append(np.where(np.isfinite(part), part, 0.0))
        return np.concatenate(np.split(np.array(out), 2), axis=1)

    def _times(self, looks: int) -> np.ndarray:
        """So many times within the run, one in each of its equal parts."""
        rng = np.random.Generator(np.random.Philox(21))
        return (np.arange(looks) + rng.random(looks)) * (self.time / looks) + self.began

    def _values(self, begin: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Entries of the drift, and squares of the noises', at the start's state and given times."""
        assert self.coefficients is not None
        x = np.repeat(begin[:, None], len(at), axis=1)
        noise = self.coefficients.diffusion(x, at).reshape(-1, len(at))
        return np.concatenate([self.coefficients.drift(x, at), noise**2])

    def singular_end(self, scheme: str, last: float) -> bool:
        """Whether the scheme, its last step being so long, looks where the coefficients have no value, at the end."""
        if not self.moves_with_time or self.sde.arrays:
            return False
        ends, values = self.began + self.time, self.numbers()
        return discontinuities.singular_at_end(step_map(self.sde, scheme), ends, last, values) is not None

    def refuse_singular_end(self, scheme: str, grid: Grid) -> None:
        """Raise ValueError where the scheme looks at the end of the run and the coefficients have no value there."""
        if self.singular_end(scheme, float(grid.lengths(grid.steps - 1, grid.steps)[0])):
            raise InputError(
                f"simulate.scheme: {scheme} looks at the coefficients at the end of each step, and they have no value"
                f" at the last one, time {self.began + self.time:g}; got {scheme!r} (str). Use a scheme that looks at a"
                " step's beginning only (euler-maruyama, milstein), or end the run earlier."
            )
