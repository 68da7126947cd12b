"""The levels of a multilevel estimate: what is asked for, the samples on each, and what more of them would cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sde.estimators.level_rates import (
    Bias,
    LevelSample,
    hidden,
    square,
)
from sde.estimators.sample_moments import Memory, Moments, Parts
from symbolic.errors import InputError

BIAS_SHARE = 0.25
"""Of the squared tolerance, what the squared bias may take; the variance has the rest."""
FEWEST = 64
"""Paths that every level has, so that its variance is not a guess from a handful."""
NEARLY = 0.01
"""Relative lack of paths that is let pass: the next round would only chase the noise of the variances."""
APART = 5.0
"""Standard errors by which two levels may differ on the mean of f at one step; beyond, they do not telescope."""
WORTH = 1.1
"""A lowest level is left where it costs this much more than it saves: less is not told from a first look."""
VAGUE = 0.3
"""Relative standard error of the estimate's variance beyond which its error is not to be trusted."""
SEARCH = 1e8
"""Most path-steps for finding out where f varies, and where steps are short enough to be stable."""
DEEPEST = 4
"""The level up to which there are differences before the bias is judged, so that one that rises first, or changes sign,
shows."""
MOST_DEEP = 8
"""The last level that is asked for because steps are long: rates that are met now and then may be of any size."""
MOST_PATHS = 1e18
STRIDE = 4
"""Times by which a level may grow at once while its variance is a guess at what it might hide."""

Sample = Callable[[int, int, int, bool], "tuple[np.ndarray, np.ndarray | None]"]
"""(level, first, count, coarse) -> f on paths first..first + count - 1 at the level's step, and if `coarse` the same at
a step `refine` times longer on the same Brownian paths. Levels share no path, and a path is the same whenever it is
asked for."""


@dataclass(frozen=True)
class Plan:
    """What is asked for. tolerance: root mean square error; steps: of level 0, times refine from level to level; most:
    the last level there may be; first: paths on each of the first three; budget: most path-steps; order: the weak order
    that the scheme states, the most that is believed; batch: most paths at once; rounding: relative error of one
    step; resolved: steps that do not turn about what the equation does, infinite where all do not; longest: step of
    level 0, where its steps are not all equal; drops: whether levels at which paths explode are left out."""

    tolerance: float
    time: float
    steps: int = 1
    refine: int = 2
    most: int = 12
    first: int = 1000
    budget: float = 1e11
    order: float = 1.0
    batch: int = 1 << 17
    rounding: float = 2.0**-53
    resolved: float = math.inf
    longest: float | None = None
    drops: bool = False

    def count(self, level: int) -> int:
        """Steps per path."""
        return self.steps * self.refine**level

    def dt(self, level: int) -> float:
        """The longest step."""
        return self.time / self.count(level) if self.longest is None else self.longest / self.refine**level

    @property
    def deep(self) -> int:
        """The level from which on the bias is judged."""
        level = DEEPEST
        while level < MOST_DEEP and self.dt(level) > self.resolved:
            level += 1
        return min(level, self.most)

    @property
    def variance(self) -> float:
        """What the estimate's may be."""
        return (1 - BIAS_SHARE) * self.tolerance**2


class Exploded(InputError):
    """Paths explode at the steps of a level."""

    def __init__(self, text: str, level: int) -> None:
        super().__init__(text)
        self.level = level


def counted(x: float) -> int:
    """A number of paths, rounded up; of those beyond any budget, as many as can be reckoned with."""
    return math.ceil(min(x, MOST_PATHS))


class LevelSet:
    """The levels, and the path-steps spent on those that were left."""

    def __init__(self, sample: Sample, plan: Plan, memory: Memory | None = None) -> None:
        self.sample, self.plan, self.memory, self.discarded, self.far = sample, plan, memory, 0, 0.0
        self.first = 0
        self.left: list[LevelSample] = []
        self.level_samples: list[LevelSample] = [LevelSample(0, plan.steps, plan.steps, None, rounding=plan.rounding)]

    def add(self) -> None:
        """A level of finer steps."""
        level, plan = self.level_samples[-1].level + 1, self.plan
        cost = plan.count(level) + plan.count(level - 1)
        self.level_samples.append(LevelSample(level, plan.count(level), cost, Moments(), rounding=plan.rounding))

    @property
    def spent(self) -> int:
        """Path-steps so far."""
        return self.discarded + sum(t.paths * t.cost for t in self.level_samples)

    def grow(self, level_sample: LevelSample, paths: int) -> None:
        """Take new paths until the level has so many."""
        while level_sample.paths < paths:
            n = min(self.plan.batch, paths - level_sample.paths)
            fine, coarse, difference = self.measured(
                level_sample.level, level_sample.paths, n, level_sample.coarse is not None
            )
            level_sample.fine = level_sample.fine.merge(fine)
            if level_sample.coarse is None:
                level_sample.difference = level_sample.fine
            else:
                assert coarse is not None
                level_sample.coarse = level_sample.coarse.merge(coarse)
                level_sample.difference = level_sample.difference.merge(difference)

    def measured(self, level: int, first: int, count: int, coarse: bool) -> Parts:
        """Moments of a sample: those that the memory has, or the sample's own, which it then keeps."""
        key = (level, first, count, coarse)
        found = self.memory.recall(key) if self.memory else None
        if found is None:
            fine, longer = self.sample(*key)
            if longer is None:
                found = (Moments.of(fine), None, Moments())
            else:
                found = (Moments.of(fine), Moments.of(longer), Moments.of(np.subtract(fine, longer, dtype=np.float64)))
            if self.memory:
                self.memory.keep(key, found)
        return found

    def leave(self, count: int) -> None:
        """Begin `count` levels higher, with the samples of f that are there already."""
        for _ in range(count):
            old, base = self.level_samples[:2]
            self.discarded += old.paths * old.cost + base.paths * (base.cost - base.steps)
            self.left = [*(self.left or [old]), base]
            base = LevelSample(base.level, base.steps, base.steps, None, base.fine, base.fine, base.rounding)
            self.level_samples[:2] = [base]

    def drop(self, level: int) -> None:
        """Begin at the level after this one, and forget those below: their steps are not stable."""
        while self.level_samples[-1].level < level + 2 and self.level_samples[-1].level < self.plan.most:
            self.add()
        count = sum(t.level <= level for t in self.level_samples)
        base = self.level_samples[count]
        self.discarded += sum(t.paths * t.cost for t in self.level_samples[: count + 1]) - base.paths * base.steps
        base = LevelSample(base.level, base.steps, base.steps, None, base.fine, base.fine, base.rounding)
        self.level_samples[: count + 1], self.left, self.first = [base], [], base.level

    @property
    def deep(self) -> int:
        """The level from which on the bias is judged."""
        return min(max(self.plan.deep, self.first + DEEPEST), self.plan.most)

    @property
    def all(self) -> list[LevelSample]:
        """The levels in use, and those left below them."""
        return self.left + self.level_samples[len(self.left) > 0 :]

    @property
    def seen(self) -> list[LevelSample]:
        """The levels in use, and of those left below them the last ones whose means are not much less known: they tell
        of the bias still."""
        noise = 2 * max((t.sem for t in self.level_samples[1:]), default=float("inf"))
        begin = next((k for k in reversed(range(len(self.left))) if k == 0 or self.left[k].sem > noise), 0)
        return self.all[begin:]

    def cut(self, count: int) -> None:
        """End with the first `count` levels."""
        self.far = self.reach
        self.discarded += sum(t.paths * t.cost for t in self.level_samples[count:])
        del self.level_samples[count:]

    def variances(self, decay: float) -> np.ndarray:
        """Per sample and level, with what its paths might hide; from the third level on at least half of what the level
        before lets expect."""
        for k, t in enumerate(self.left + self.level_samples):
            t.unseen = hidden(t, t.difference, self.reach if k < 2 + len(self.left) else 0.0)
        for k in range(2, len(self.level_samples)):
            t, expected = self.level_samples[k], self.level_samples[k - 1].variance / self.plan.refine**decay
            t.unseen += max(0.0, expected * (0.5 if t.paths else 1.0) - t.variance)
        return np.array([t.variance for t in self.level_samples])

    @property
    def reach(self) -> float:
        """How far apart numbers f lies on any level."""
        return max(self.far, *(m.high - m.low for t in self.level_samples for m in (t.fine, t.coarse) if m and m.count))

    def required(self, v: np.ndarray, begin: int = 0) -> tuple[list[int], float]:
        """Paths for each level from `begin` on that reach the variance at the least cost, and the path-steps that takes
        yet."""
        base, v = self.level_samples[begin], v[begin:].copy()
        cost = np.array([base.steps, *(t.cost for t in self.level_samples[begin + 1 :])], dtype=float)
        v[0] = base.fine.variance + hidden(base, base.fine, self.reach)
        with np.errstate(over="ignore"):
            n = np.sqrt(v / cost) * np.sqrt(v * cost).sum() / self.plan.variance
        paths = [max(FEWEST, counted(x)) for x in n]
        new = [max(0, n - t.paths) for n, t in zip(paths, self.level_samples[begin:], strict=True)]
        return paths, float(np.dot(new, cost))

    def quieter(self, bias: Bias, most: float, decay: float) -> tuple[tuple[LevelSample, int], float] | None:
        """The level, and its paths, by which noise would no longer hide whether the bias is small, and the path-steps
        that takes yet; None where it does not, or where a finer level costs less."""
        noisy = next((t for t in self.level_samples[1:] if t.level == bias.level), None)
        if noisy is None or bias.sem <= most / 2 or bias.size > most + 2 * bias.sem:
            return None
        paths = counted(noisy.paths * square(2 * bias.sem / most))
        if noisy.level < self.plan.most and paths * self.plan.refine ** (1 - decay) < paths - noisy.paths:
            return None
        paths = min(paths, STRIDE * noisy.paths)
        return (noisy, paths), float(paths - noisy.paths) * noisy.cost

    def step(self, required: Sequence[int]) -> list[int]:
        """Of the paths wanted, those to take now: no more than `STRIDE` times those there where the level's variance is
        mostly unseen."""
        guessed = [t.paths >= FEWEST and t.unseen > t.variance / 2 for t in self.level_samples]
        return [
            min(n, STRIDE * t.paths) if guess else n
            for n, t, guess in zip(required, self.level_samples, guessed, strict=True)
        ]

    def surplus(self, v: np.ndarray) -> int:
        """How many of the lowest levels cost more than they save from here on (compare Giles 2015, section 2.6)."""
        left = [self.required(v, k)[1] + self._looks(k) for k in range(max(1, len(self.level_samples) - 1))]
        best = int(np.argmin(left))
        return best if left[0] > WORTH * left[best] else 0

    def _looks(self, begin: int) -> float:
        """Path-steps of what the first three levels from `begin` on lack of a first look."""
        return float(sum(max(0, self.plan.first - t.paths) * t.cost for t in self.level_samples[begin : begin + 3]))
