"""The experiment behind a verification: all that is known of it before any run. Numbers only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sde.verification.forecast import Forecast, forecast
from sde.verification.setting import Margins, Setting
from sde.verification.theory_numbers import Theory
from sde.verification.valley_motion import End
from sde.verification.verdicts import more_time

PAIRS = 40
"""How many pairs of steps are looked at, half of them spaced evenly and half by ratio."""
FEWER = "fewer parameters or rows of data, a shorter time, or a smaller learning rate"
"""What it takes that fluctuations can be followed."""


@dataclass(frozen=True)
class Experiment:
    """A theory, and the runs that it is held against. starts: points (D,); steps: of SGD from each. chooser: the theory
    that chooses the states at which drifts are measured; left out, the same. asked: steps at which runs are recorded
    beside the saves that the theory's own claims look at."""

    theory: Theory
    setting: Setting
    starts: tuple[np.ndarray, ...]
    steps: int
    margins: Margins
    chooser: Theory | None = None
    asked: tuple[int, ...] = ()

    @property
    def names(self) -> list[str]:
        """What the starts are called."""
        count = len(self.starts)
        return ["the start"] if count == 1 else [f"start {i + 1}" for i in range(count)]

    @property
    def every_charge(self) -> range:
        """Their places in the theory."""
        return range(len(self.theory.charges))

    def of_class(self, kind: str) -> list[int]:
        """Places in the theory of the charges of this class."""
        return [j for j in self.every_charge if self.theory.charges[j].kind == kind]

    def step_lengths(self, steps: np.ndarray) -> np.ndarray:
        """The learning rate of each of these steps."""
        return self.setting.learning_rate * self.setting.factor(steps * self.setting.learning_rate)

    @cached_property
    def pairs(self) -> np.ndarray:
        """Steps that are looked at, each together with the one after it."""
        evenly = np.linspace(0, self.steps - 1, PAIRS // 2)
        base = np.concatenate([evenly, np.geomspace(1, max(self.steps - 1, 1), PAIRS // 2)])
        first = np.unique(np.round(base).astype(np.int64))
        return first[first < self.steps]

    @cached_property
    def saves(self) -> np.ndarray:
        """Steps at which runs are saved: both of every pair, the first and the last."""
        return np.unique(np.concatenate([[0], self.pairs, self.pairs + 1, [self.steps]]))

    @cached_property
    def recorded(self) -> np.ndarray:
        """The saves, and the steps that were asked for."""
        return np.union1d(self.saves, np.array(self.asked, dtype=np.int64))

    @cached_property
    def times(self) -> np.ndarray:
        """Of the saves."""
        return self.saves * self.setting.learning_rate

    @cached_property
    def before(self) -> np.ndarray:
        """Which saves are the first of a pair."""
        return np.searchsorted(self.saves, self.pairs)

    @cached_property
    def after(self) -> np.ndarray:
        """Which saves are the second of a pair."""
        return np.searchsorted(self.saves, self.pairs + 1)

    @cached_property
    def forecasts(self) -> tuple[Forecast, ...]:
        """What is predicted from every start, at the saves: for the claims and the curves alike."""
        return tuple(forecast(self.theory, self.setting, theta, self.times) for theta in self.starts)

    @cached_property
    def ends(self) -> tuple[End | None, ...]:
        """Where SGD ends from every start, as seen from the end of the forecast; None where that is not known, or no
        generators but the charges' move theta."""
        return tuple(end for end, _ in self._ends)

    @property
    def unsettled(self) -> dict[int, str]:
        """{start: why it is not known whether SGD turns from there}, where the end was not looked for to the last."""
        return {k: why for k, (_, why) in enumerate(self._ends) if why}

    @cached_property
    def _ends(self) -> tuple[tuple[End | None, str], ...]:
        motion = self.theory.motion
        return tuple((None, "") if motion is None else motion.end(ahead.mean[-1]) for ahead in self.forecasts)

    @property
    def turning(self) -> list[int]:
        """Starts from which SGD is predicted to turn for ever."""
        return [k for k, end in enumerate(self.ends) if end is not None and end.turns]

    def eigenvalues(self, start: int) -> list[np.ndarray]:
        """Of every matrix of expected charges by the forecast from a start, (times, n) each: fast fluctuations of theta
        leave a path's charges alone."""
        values = self.forecasts[start].expected(self.theory.values)
        return [m.eigenvalues(values) for m in self.theory.matrices]

    def lacks(self, start: int) -> tuple[str, str] | None:
        """Why the forecast from this start does not arrive where SGD turns steadily, and what that takes; None where it
        does.

        What is left to go is estimated from its second half, at the slowest rate of the end.
        """
        if self.forecasts[start].covariance is None:
            return "the forecast is of the mean alone, and leaves turning by fluctuations out", FEWER
        end, miss, middle = self.ends[start], 0.0, int(np.argmax(self.times >= self.times[-1] / 2))
        if end is None or not end.rate:
            return None
        for path in self.eigenvalues(start):
            gone = float(np.abs(path[-1] - path[middle]).max() / np.abs(path[-1]).max())
            miss = max(miss, gone / math.expm1(min(end.rate * (self.times[-1] - self.times[middle]), 700.0)))
        if miss <= self.margins.equilibrium / 2:
            return None
        needed = self.times[-1] + math.log(2 * miss / self.margins.equilibrium) / end.rate
        return "by the forecast the run ends before it turns steadily", more_time(needed)
