"""A slope judged with an instrument, however weak it is, by Anderson and Rubin's test, with Fieller's interval:
docs/theory.md eq. (11.11)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from sde.verification.verdicts import Claim


@dataclass(frozen=True, kw_only=True)
class SlopeClaim(Claim):
    """The slope b of y on x, by sums `top` of z y and `bottom` of z x in every window, z of windows before.

    Where b is the slope, top - b bottom has mean 0 in every window whatever z is, and no window tells of another's: the
    slopes at which Student's test does not refuse that are the interval. A weak instrument makes it unbounded; the
    estimate itself, a ratio, has no law worth an error then.
    """

    top: np.ndarray
    bottom: np.ndarray

    @classmethod
    def of(cls, top: np.ndarray, bottom: np.ndarray, claim: Claim) -> SlopeClaim:
        """`claim` of these windows, with the slope as its estimate."""
        own = {**vars(claim), "estimate": float(top.sum() / bottom.sum()), "paths": len(top)}
        made = cls(**own, top=top, bottom=bottom)
        spread = made._spread(made.estimate) / abs(float(bottom.mean()))
        return cls(**{**own, "error": spread}, top=top, bottom=bottom)

    def _spread(self, slope: float) -> float:
        """Standard error of the mean of top - slope bottom."""
        return float((self.top - slope * self.bottom).std(ddof=1)) / math.sqrt(len(self.top))

    def statistic(self, slope: float) -> float:
        """Student's, of the hypothesis that this is the slope."""
        mean = abs(float((self.top - slope * self.bottom).mean()))
        spread = self._spread(slope)
        return mean / spread if spread > 0 else math.inf if mean > 0 else 0.0

    @property
    def _edge(self) -> float:
        """The lesser statistic of the margin's ends: all slopes on the side that the estimate is not on have more."""
        return min(map(self.statistic, self.margin))

    def p_values(self) -> tuple[float, float]:
        """(p of "outside the margin", p of "inside the margin"); two-sided, as a weak instrument knows no sides."""
        special: Any = import_module("scipy.special")  # slow to load

        chance = 2 * float(special.stdtr(self.degrees, -self._edge))
        return (chance, 1.0) if self.margin[0] <= self.estimate <= self.margin[1] else (1.0, chance)

    def interval(self, level: float) -> tuple[float, float]:
        """The slopes that are not refused; unbounded where they are no interval that holds the estimate."""
        special: Any = import_module("scipy.special")  # slow to load

        most = float(special.stdtrit(self.degrees, (1 + level) / 2)) ** 2 / len(self.top)
        (yy, xy), (_, xx) = np.cov(self.top, self.bottom)
        y, x = float(self.top.mean()), float(self.bottom.mean())
        square, half, rest = x * x - most * xx, x * y - most * xy, y * y - most * yy
        inside = half * half - square * rest
        if square <= 0 or inside < 0:
            return (-np.inf, np.inf)
        return (half - math.sqrt(inside)) / square, (half + math.sqrt(inside)) / square

    def samples_needed(self, level: float) -> float:
        """How many windows would decide it at level `level`, were the estimate the truth."""
        special: Any = import_module("scipy.special")  # slow to load

        if not self._edge:
            return np.inf
        squared = float(special.ndtri(1 - level / 2)) ** 2
        return self.paths * squared / self._edge**2 + (1 + squared) / 2
