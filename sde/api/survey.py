"""What is known of an SDE before its run: rates and size along a pilot, singular ends of its coefficients, input
narrower than a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import sympy as sp

from sde.api import starts
from sde.api.per_path import NONE, Own
from sde.api.step_inputs import ArrayCoefficients, Coefficients, along_paths
from sde.api.timed import NOTHING, Timed
from sde.api.unseen import LOOKS, Looks, Unseen, spread_times
from sde.engine import time_grid
from sde.engine.initial_states import over_again
from sde.engine.pilot import PATHS, Field, Pilot
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


@dataclass(frozen=True)
class Survey:
    """What is known of an SDE before its run. parameters: numbers, (P,), NaN for those that
    each path has for itself (own); began: when the run begins; beside: what else it looks at in time."""

    sde: SDE
    parameters: np.ndarray
    start: Any
    paths: int
    seed: int
    time: float
    began: float = 0.0
    own: Own = NONE
    beside: Timed = NOTHING

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

    def begin(self, paths: int) -> np.ndarray:
        """The states at which so many paths begin, (D, paths), those of the first over again where there are fewer."""
        start = starts.reader(parameters_of(self.sde), self.start, self.paths, self.seed, self.sde.dimension)
        return start.several(paths)[:, : self.sde.dimension].T

    def _begin(self) -> np.ndarray:
        """The state at which the first path begins, (D,)."""
        return starts.reader(parameters_of(self.sde), self.start, self.paths, self.seed, self.sde.dimension)(0, 1)[0]

    def step(self, ends: Sequence[float] = ()) -> float:
        """The step of a run that was given none: a thousandth of its time, or as short as its rates and its input ask
        for. ends: times at which steps end anyhow. Raises ValueError where that takes too many steps."""
        step = min(self.time / FEWEST_DEFAULT, self.pilot.step)
        if self.time / step > MOST_DEFAULT:
            raise InputError(
                f"dt: the equation changes at a rate of {max(self.pilot.rate, self.pilot.noise):.3g} per unit time,"
                f" which takes {self.time / step:.2g} steps to resolve; got none (NoneType). Give a dt, shorten the"
                " run, or take out what is fast (scheme='implicit-euler' stays stable at long steps)."
            )
        while self.time / step < LOOKS and self.unseen(
            time_grid.continuous(self.time, step, 2, ends, begin=self.began)
        ):
            step /= 2
        return step

    def numbers(self) -> dict[sp.Symbol, float]:
        """Of the parameters that all paths share."""
        known = zip(self.sde.parameters, map(float, self.parameters), strict=True)
        return {p: x for p, x in known if not np.isnan(x)}

    def unseen(self, grid: Grid) -> Unseen | None:
        """What changes within the steps: a coefficient, a rate or an integrand that adds up to something else by many
        more looks, or a level or extreme that reaches another value, at the start or one deviation of noise from it."""
        summed, reaching = self.beside.summed(), self.beside.reaching()
        if not (self.moves_with_time or summed or reaching) or self.coefficients is None or grid.steps > 2 * LOOKS:
            return None
        most = LOOKS if not self.sde.arrays else max(grid.steps, LOOKS // self.sde.dimension)
        looks, begin, found = Looks.of(grid, self.time, self.began, most), self._begin(), None
        if self.moves_with_time:
            found = looks.sums(lambda row: "a coefficient", partial(self._values, begin))
        if found is None and (summed or reaching):
            found = self._unseen_beside(looks, begin, summed, reaching)
        return found

    def _unseen_beside(
        self, looks: Looks, begin: np.ndarray, summed: Mapping[str, Any], reaching: Mapping[str, Any]
    ) -> Unseen | None:
        assert self.coefficients is not None
        try:
            (add, names), (reach, levels) = (self.coefficients.formulas(of) for of in (summed, reaching))
        except ValueError:
            return None
        first, found = np.full(1, self.began), None
        noise = self.coefficients.diffusion(begin[:, None], first).reshape(len(begin), -1)
        away = begin + np.sqrt(np.square(noise).sum(axis=1) * self.time)
        for x in (begin, away) if summed else ():
            found = found or looks.sums(names.__getitem__, partial(_held, add, x))
        if reaching:
            spread = np.abs(_held(reach, away, first) - _held(reach, begin, first))[:, 0]
            found = found or looks.largest(levels.__getitem__, partial(_held, reach, begin), spread)
        return found

    def missed(self, grids: Sequence[Grid]) -> np.ndarray:
        """(grids, E) by how much of its size a coefficient, and its absolute value, adds up to more by the steps of a
        grid than by many looks, at the start and at a state beside it; 0 where that is no number."""
        if not self.moves_with_time or self.coefficients is None:
            return np.zeros((len(grids), 1))
        begin, out = self._begin(), list[np.ndarray]()
        for x in (begin, begin + self.pilot.size * np.cos(1.0 + np.arange(len(begin)))):
            looks = self._values(x, spread_times(self.time, self.began, LOOKS))
            with np.errstate(all="ignore"):
                requested, size = looks.mean(axis=1) * self.time, np.abs(looks).mean(axis=1) * self.time
                for grid in grids:
                    at = grid.at(np.arange(grid.steps + 1))
                    values = self._values(x, at)
                    more = np.trapezoid(values, at, axis=1) - requested, np.trapezoid(np.abs(values), at, axis=1) - size
                    part = np.concatenate(more) / np.tile(size, 2)
                    out.append(np.where(np.isfinite(part), part, 0.0))
        return np.concatenate(np.split(np.array(out), 2), axis=1)

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


def _held(formulas: Field, x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values at one state, (D,), and given times."""
    return formulas(np.repeat(x[:, None], len(at), axis=1), at)
