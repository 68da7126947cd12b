"""Multilevel Monte Carlo: how many levels, how many paths on each, and when to stop. Numbers only; what they are samples of is the caller's.

Source: Giles, Oper. Res. 56 (2008) 607 and Acta Numerica 24 (2015) 259, algorithm 1 and section 3.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sde.levels import Estimate, Level
from sde.moments import Moments
from sde.rates import Tally, mismatch, plain, remaining_bias, variance_order, weak_order

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

Sample = Callable[[int, int, int, bool], "tuple[np.ndarray, np.ndarray | None]"]
"""(level, first, count, coarse) -> f on paths first..first + count - 1 at the level's step, and if `coarse` the same at a step
`refine` times longer on the same Brownian paths. Levels share no path, and a path is the same whenever it is asked for."""


class VarianceWarning(UserWarning):
    """The estimate's error rests on few extreme paths."""


@dataclass(frozen=True)
class Plan:
    """What is asked for. tolerance: root mean square error; steps: of level 0, times refine from level to level; most: the last level there may be;
    first: paths on each of the first three; budget: most path-steps; order: the weak order that the scheme states, the most that is believed; batch:
    most paths at once; rounding: relative error of one step."""

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

    def count(self, level: int) -> int:
        """Steps per path."""
        return self.steps * self.refine**level

    @property
    def variance(self) -> float:
        """What the estimate's may be."""
        return (1 - BIAS_SHARE) * self.tolerance**2


Parts = tuple[Moments, "Moments | None", Moments]
"""Moments of f at a level's step, at the longer step, and of the difference."""


class Memory(Protocol):
    """What samples gave before an interruption, by their (level, first, count, coarse)."""

    def recall(self, key: tuple[int, int, int, bool]) -> Parts | None: ...
    def keep(self, key: tuple[int, int, int, bool], parts: Parts) -> None: ...


class Ladder:
    """The levels, and the path-steps spent on those that were left."""

    def __init__(self, sample: Sample, plan: Plan, memory: Memory | None = None) -> None:
        self.sample, self.plan, self.memory, self.discarded = sample, plan, memory, 0
        self.tallies: list[Tally] = [Tally(0, plan.steps, plan.steps, None)]

    def add(self) -> None:
        """A level of finer steps."""
        level, plan = self.tallies[-1].level + 1, self.plan
        self.tallies.append(Tally(level, plan.count(level), plan.count(level) + plan.count(level - 1), Moments()))

    def grow(self, tally: Tally, paths: int) -> None:
        """Take new paths until the level has so many."""
        while tally.paths < paths:
            n = min(self.plan.batch, paths - tally.paths)
            fine, coarse, difference = self.measured(tally.level, tally.paths, n, tally.coarse is not None)
            tally.fine = tally.fine.merge(fine)
            if tally.coarse is None:
                tally.difference = tally.fine
            else:
                assert coarse is not None
                tally.coarse = tally.coarse.merge(coarse)
                tally.difference = tally.difference.merge(difference)

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
            old, base = self.tallies[:2]
            self.discarded += old.paths * old.cost + base.paths * (base.cost - base.steps)
            self.tallies[:2] = [Tally(base.level, base.steps, base.steps, None, base.fine, base.fine)]

    def variances(self, decay: float) -> np.ndarray:
        """Per sample and level; from the third level on at least half of what the level before lets expect."""
        v = [t.difference.variance if t.paths > 1 else 0.0 for t in self.tallies]
        for k in range(2, len(v)):
            v[k] = max(v[k], v[k - 1] / self.plan.refine**decay * (0.5 if self.tallies[k].paths else 1.0))
        return np.array(v)

    def wanted(self, v: np.ndarray, begin: int = 0) -> tuple[list[int], float]:
        """Paths for each level from `begin` on that reach the variance at the least cost, and the path-steps that takes yet."""
        base, v = self.tallies[begin], v[begin:].copy()
        cost = np.array([base.steps, *(t.cost for t in self.tallies[begin + 1 :])], dtype=float)
        v[0] = base.fine.variance
        n = np.sqrt(v / cost) * np.sqrt(v * cost).sum() / self.plan.variance
        paths = [max(FEWEST, math.ceil(x)) for x in n]
        new = [max(0, n - t.paths) for n, t in zip(paths, self.tallies[begin:], strict=True)]
        return paths, float(np.dot(new, cost))

    def surplus(self, v: np.ndarray) -> int:
        """How many of the lowest levels cost more than they save from here on, a first look at new levels included (compare Giles 2015, section 2.6)."""
        left = [self.wanted(v, k)[1] + self._looks(k) for k in range(max(1, len(self.tallies) - 1))]
        best = int(np.argmin(left))
        return best if left[0] > WORTH * left[best] else 0

    def _looks(self, begin: int) -> float:
        """Path-steps of what the first three levels from `begin` on lack of a first look."""
        plan, last = self.plan, self.tallies[-1]
        seen = sum(max(0, plan.first - t.paths) * t.cost for t in self.tallies[begin : begin + 3])
        new = range(last.level + 1, min(self.tallies[begin].level + 2, plan.most) + 1)
        return seen + sum(plan.first * (plan.count(k) + plan.count(k - 1)) for k in new)


def estimate(sample: Sample, plan: Plan, memory: Memory | None = None) -> Estimate:
    """E f with root mean square error `plan.tolerance`. memory: of samples taken before an interruption.

    The first three levels get plan.first paths each; a lowest level that does not pay is left for the next. Then, in rounds: paths where the
    allocation asks for more, and a finer level while the bias, by the observed weak order, exceeds its share. Raises ValueError when the
    last level is reached without that, when the path-steps would exceed the budget, when f shows one value only, when rounding would drown the
    tolerance, or when levels contradict each other; warns (VarianceWarning) where the error rests on few extreme paths.
    """
    ladder = Ladder(sample, plan, memory)
    most = math.sqrt(BIAS_SHARE) * plan.tolerance
    while True:
        _look(ladder)
        tallies = ladder.tallies
        order, decay = weak_order(tallies, plan.refine, plan.order), variance_order(tallies, plan.refine)
        variances = ladder.variances(decay)
        if surplus := ladder.surplus(variances):
            ladder.leave(surplus)
            continue
        wanted, cost = ladder.wanted(variances)
        if any(n > (1 + NEARLY) * t.paths for n, t in zip(wanted, tallies, strict=True)):
            _affordable(ladder, cost)
            for n, t in zip(wanted, tallies, strict=True):
                ladder.grow(t, n)
            continue
        _consistent(tallies)
        bias, noise = remaining_bias(tallies, order, plan.refine)
        if bias <= most:
            return _conclude(ladder, variances, bias, noise, order, decay)
        if tallies[-1].level >= plan.most:
            raise ValueError(
                f"expectation.levels: the bias must fall below {most:.2g} by level {plan.most} ({plan.count(plan.most)} steps); "
                f"got {bias:.2g} (float). Allow more levels, start with more steps, or ask for less."
            )
        ladder.add()


def _look(ladder: Ladder) -> None:
    """Three levels with a first look at each."""
    plan = ladder.plan
    while len(ladder.tallies) < 3 and ladder.tallies[-1].level < plan.most:
        ladder.add()
    for tally in ladder.tallies[:3]:
        ladder.grow(tally, plan.first)
    if all(t.fine.low == t.fine.high for t in ladder.tallies[:3]):
        raise ValueError(
            f"expectation: f must vary for its mean to have an error; got {ladder.tallies[0].fine.mean:.6g} (float) on each of {plan.first} paths. "
            "Raise first_paths if f is rarely anything else; for a problem without chance, use simulate."
        )


def _affordable(ladder: Ladder, more: float) -> None:
    """Raise before the budget is passed."""
    _resolved(ladder)
    plan = ladder.plan
    cost = ladder.discarded + sum(t.paths * t.cost for t in ladder.tallies) + more
    if cost > plan.budget:
        reach = plan.tolerance * math.sqrt(cost / plan.budget)
        raise ValueError(
            f"expectation.tolerance: {plan.budget:.3g} path-steps are the budget; got {plan.tolerance!r} (float), which takes {cost:.3g} or more. "
            f"Ask for about {reach:.2g}, or give a larger budget."
        )


def _resolved(ladder: Ladder) -> None:
    """Raise where the rounding of the steps is of the tolerance's size."""
    plan, top = ladder.plan, ladder.tallies[-1]
    size = max(abs(t.fine.mean) + math.sqrt(t.fine.variance) for t in ladder.tallies if t.paths > 1)
    noise = plan.rounding * math.sqrt(top.steps) * size
    if noise > plan.tolerance / 10:
        raise ValueError(
            f"expectation.tolerance: must be well above the rounding of the steps, about {noise:.1g} here; got {plan.tolerance!r} (float). "
            "Use dtype='float64', or ask for less."
        )


def gaps(tallies: Sequence[Tally]) -> list[float]:
    """Of every level but the last, how far the next one's coarse mean is from its own (`mismatch`)."""
    return [mismatch(low.fine, high.coarse) for low, high in zip(tallies[:-1], tallies[1:], strict=True) if high.coarse]


def _consistent(tallies: Sequence[Tally]) -> None:
    """Raise where the sum over levels does not telescope."""
    apart = gaps(tallies)
    k = int(np.argmax(apart))
    low, high = tallies[k], tallies[k + 1].coarse
    if apart[k] > APART and high:
        raise ValueError(
            f"expectation: levels must agree on E f at {low.steps} steps; got {low.fine.mean:.6g} from level {low.level} and {high.mean:.6g} "
            f"from level {low.level + 1} (float), {apart[k]:.1f} standard errors apart. If f has very heavy tails, raise first_paths; else report this."
        )


def _conclude(
    ladder: Ladder, variances: np.ndarray, bias: float, bias_sem: float, order: float, decay: float
) -> Estimate:
    _resolved(ladder)
    plan, tallies = ladder.plan, ladder.tallies
    parts = variances / np.array([t.paths for t in tallies])
    sem = math.sqrt(parts.sum())
    doubt = float(np.linalg.norm(parts * [t.difference.doubt for t in tallies]) / parts.sum())
    if doubt > VAGUE:
        worst = int(np.argmax(parts * [t.difference.doubt for t in tallies]))
        warnings.warn(
            f"expectation: the standard error {sem:.2g} is itself uncertain by {doubt:.0%}, as few paths make it (kurtosis "
            f"{tallies[worst].difference.kurtosis:.3g} on level {tallies[worst].level}). Raise first_paths, or smooth f.",
            VarianceWarning,
            stacklevel=4,
        )
    steps, cost = plain(tallies, order, math.hypot(sem, bias))
    levels = tuple(
        Level(
            t.steps,
            plan.time / t.steps,
            t.paths,
            t.difference.mean,
            t.difference.variance,
            t.difference.kurtosis,
            t.cost,
            t.paths * t.cost,
            t.fine.variance,
            gap,
        )
        for t, gap in zip(tallies, [*gaps(tallies), float("nan")], strict=True)
    )
    value = math.fsum(t.difference.mean for t in tallies)
    return Estimate(value, sem, bias, bias_sem, order, decay, levels, ladder.discarded, steps, cost)
