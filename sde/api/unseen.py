"""What changes in time within the steps of a run, by closer looks at where the run begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sde.engine import step_check
from sde.engine.time_grid import Grid

LOOKS = 1 << 16
"""Times at which formulas are looked at beside the steps' own."""
ADDS, REACHES = "adds up to", "reaches"

Formulas = Callable[[np.ndarray], np.ndarray]
"""Values (K, n) at times (n,)."""
Names = Callable[[int], str]
"""What a row is called."""


@dataclass(frozen=True)
class Unseen:
    """What changes within a step; what it does over the run, by the steps and by closer looks."""

    what: str
    does: str
    by_steps: float
    by_looks: float


def spread_times(time: float, began: float, number: int) -> np.ndarray:
    """So many times within a run, one in each of its equal parts."""
    rng = np.random.Generator(np.random.Philox(21))
    return (np.arange(number) + rng.random(number)) * (time / number) + began


@dataclass(frozen=True)
class Looks:
    """The times of a run's steps, and many more, those at which stretches of steps end (as at jumps) among them."""

    at: np.ndarray
    many: np.ndarray

    @staticmethod
    def of(grid: Grid, time: float, began: float, most: int) -> Looks:
        """most: how many more times."""
        many = np.sort(np.concatenate([spread_times(time, began, most), grid.ends + began]))
        return Looks(grid.at(np.arange(grid.steps + 1)), many)

    def sums(self, names: Names, values: Formulas) -> Unseen | None:
        """Of what adds up over time, one of which the two differ by more than 5 % of its size."""
        by_steps, by_looks = values(self.at), values(self.many)
        with np.errstate(all="ignore"):
            seen, right, size = (
                np.trapezoid(values, at, axis=1)
                for values, at in ((by_steps, self.at), (by_looks, self.many), (np.abs(by_looks), self.many))
            )
            return _worst(names, ADDS, seen, right, size)

    def largest(self, names: Names, values: Formulas, spread: np.ndarray) -> Unseen | None:
        """The same of largest values. spread: by how much paths move them, (K,)."""
        by_steps, by_looks = values(self.at), values(self.many)
        with np.errstate(all="ignore"):
            seen, right = by_steps.max(axis=1), by_looks.max(axis=1)
            size = np.abs(by_looks).max(axis=1) + np.nan_to_num(spread)
            return _worst(names, REACHES, seen, np.maximum(seen, right), size)


def _worst(names: Names, does: str, seen: Any, right: Any, size: Any) -> Unseen | None:
    off = (np.abs(seen - right) > step_check.TOLERATED * size) & np.isfinite(seen) & np.isfinite(right)
    worst = np.flatnonzero(off)
    return Unseen(names(int(worst[0])), does, float(seen[worst[0]]), float(right[worst[0]])) if len(worst) else None
