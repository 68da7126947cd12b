"""Multilevel Monte Carlo: how many levels, how many paths on each, and when to stop. Numbers only; what they are
samples of is the caller's.

Source: Giles, Oper. Res. 56 (2008) 607 and Acta Numerica 24 (2015) 259, algorithm 1 and section 3.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sde.estimators.estimate import Estimate, Level
from sde.estimators.level_rates import (
    Bias,
    LevelSample,
    fit,
    hidden,
    mismatch,
    plain,
    remaining_bias,
    sure_order,
    variance_order,
    variance_slope,
    weak_order,
    weak_slope,
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
STRIDE = 4
"""Times by which a level may grow at once while its variance is a guess at what it might hide."""

Sample = Callable[[int, int, int, bool], "tuple[np.ndarray, np.ndarray | None]"]
"""(level, first, count, coarse) -> f on paths first..first + count - 1 at the level's step, and if `coarse` the same at
a step `refine` times longer on the same Brownian paths. Levels share no path, and a path is the same whenever it is
asked for."""


class VarianceWarning(UserWarning):
    """The estimate's error rests on few extreme paths."""


@dataclass(frozen=True)
class Plan:
    """What is asked for. tolerance: root mean square error; steps: of level 0, times refine from level to level; most:
    the last level there may be; first: paths on each of the first three; budget: most path-steps; order: the weak order
    that the scheme states, the most that is believed; batch: most paths at once; rounding: relative error of one
    step."""

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


class LevelSet:
    """The levels, and the path-steps spent on those that were left."""

    def __init__(self, sample: Sample, plan: Plan, memory: Memory | None = None) -> None:
        self.sample, self.plan, self.memory, self.discarded, self.far = sample, plan, memory, 0, 0.0
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
        n = np.sqrt(v / cost) * np.sqrt(v * cost).sum() / self.plan.variance
        paths = [max(FEWEST, math.ceil(x)) for x in n]
        new = [max(0, n - t.paths) for n, t in zip(paths, self.level_samples[begin:], strict=True)]
        return paths, float(np.dot(new, cost))

    def quieter(self, bias: Bias, most: float, decay: float) -> tuple[tuple[LevelSample, int], float] | None:
        """The level, and its paths, by which noise would no longer hide whether the bias is small, and the path-steps
        that takes yet; None where it does not, or where a finer level costs less."""
        noisy = next((t for t in self.level_samples[1:] if t.level == bias.level), None)
        if noisy is None or bias.sem <= most / 2 or bias.size > most + 2 * bias.sem:
            return None
        paths = math.ceil(noisy.paths * (2 * bias.sem / most) ** 2)
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


def estimate(sample: Sample, plan: Plan, memory: Memory | None = None) -> Estimate:
    """E f with root mean square error `plan.tolerance`. memory: of samples taken before an interruption.

    The first three levels get plan.first paths each, others where f does not vary on these; a lowest level that does
    not pay is left for the next. Then, in rounds: paths where the allocation asks for more, and a finer level while the
    bias, by the observed weak order, may exceed its share; where only noise hides whether it does, more paths on that
    level. Raises ValueError when the last level is reached without that, when the path-steps would exceed the budget,
    when f shows one value only, when rounding would drown the tolerance, or when levels contradict each other; warns
    (VarianceWarning) where the error rests on few extreme paths.
    """
    level_set = LevelSet(sample, plan, memory)
    most = math.sqrt(BIAS_SHARE) * plan.tolerance
    while True:
        _sample_first_levels(level_set)
        level_samples = level_set.level_samples
        decay = variance_order(level_set.all, plan.refine)
        variances = level_set.variances(decay)
        if surplus := level_set.surplus(variances):
            level_set.leave(surplus)
            continue
        required, cost = level_set.required(variances)
        if any(n > (1 + NEARLY) * t.paths for n, t in zip(required, level_samples, strict=True)):
            if _unstable(level_set, cost):
                level_set.add()
                level_set.grow(level_samples[-1], plan.first)
                continue
            _affordable(level_set, cost)
            for n, t in zip(level_set.step(required), level_samples, strict=True):
                level_set.grow(t, n)
            continue
        _consistent(level_samples)
        seen = level_set.seen
        order = weak_order(seen, plan.refine, plan.order)
        bias = remaining_bias(seen, order, plan.refine, sure_order(seen, order))
        if level_samples[-1].level >= min(DEEPEST, plan.most) and bias.size <= most and bias.sem <= most / 2:
            return _conclude(level_set, variances, bias, order)
        if paths := level_set.quieter(bias, most, decay):
            _affordable(level_set, paths[1])
            level_set.grow(*paths[0])
            continue
        if level_samples[-1].level >= plan.most:
            raise InputError(
                f"expectation.levels: the bias must fall below {most:.2g} by level {plan.most} ({plan.count(plan.most)}"
                f" steps); got {bias.size:.2g} (float). Allow more levels, start with more steps, or ask for less."
            )
        level_set.add()


def _sample_first_levels(level_set: LevelSet) -> None:
    """Levels 0 to 2, and a first look at the first three in use. While f varies on none, there are finer levels, which
    noise may reach first, and more paths on these three, of which few may differ."""
    plan, level_samples = level_set.plan, level_set.level_samples
    while len(level_samples) < 2 or level_samples[-1].level < min(2, plan.most):
        level_set.add()
    paths = plan.first
    for level_sample in level_samples[:3]:
        level_set.grow(level_sample, paths)
    while not (level_set.far or any(t.varies(t.fine) for t in level_samples)):
        paths *= 2
        more = sum(max(0, paths - t.paths) * t.cost for t in level_samples[:3])
        if level_samples[-1].level >= plan.most or level_set.spent + more > min(SEARCH, plan.budget):
            break
        level_set.add()
        level_set.grow(level_samples[-1], plan.first)
        for level_sample in level_samples[:3]:
            level_set.grow(level_sample, paths)
    if not level_set.reach:
        raise InputError(
            f"expectation: f must vary for its mean to have an error; got {level_samples[0].fine.mean:.6g} (float) on"
            f" each of {level_samples[0].paths} paths of {level_samples[0].steps} steps, and of"
            f" {level_samples[-1].paths} of {level_samples[-1].steps}. Raise first_paths if f is rarely anything else;"
            " for a problem without chance, use simulate."
        )
    if paths > plan.first:
        often = next((k for k, t in enumerate(level_samples) if t.varies(t.fine) and t.fine.variance_error < VAGUE), 0)
        level_set.cut(max(3, often + 1))
        if often > 2:
            level_set.leave(often)
            _sample_first_levels(level_set)


def _unstable(level_set: LevelSet, more: float) -> bool:
    """Whether the budget does not reach, but might with shorter steps, on which f varies less."""
    plan, top = level_set.plan, level_set.level_samples[-1]
    first_cost = 3 * plan.first * top.steps * plan.refine
    return (
        level_set.spent + more > plan.budget
        and top.level < plan.most
        and level_set.spent + first_cost < min(SEARCH, plan.budget)
    )


def _affordable(level_set: LevelSet, more: float) -> None:
    """Raise before the budget is passed."""
    _resolved(level_set)
    plan = level_set.plan
    cost = level_set.spent + more
    if cost > plan.budget:
        reach = plan.tolerance * math.sqrt(cost / plan.budget)
        raise InputError(
            f"expectation.tolerance: {plan.budget:.3g} path-steps are the budget; got {plan.tolerance!r} (float), which"
            f" takes {cost:.3g} or more. Ask for about {reach:.2g}, or give a larger budget."
        )


def _resolved(level_set: LevelSet) -> None:
    """Raise where the rounding of the steps is of the tolerance's size."""
    plan, top = level_set.plan, level_set.level_samples[-1]
    size = max(abs(t.fine.mean) + math.sqrt(t.fine.variance) for t in level_set.level_samples if t.paths > 1)
    noise = plan.rounding * math.sqrt(top.steps) * size
    if noise > plan.tolerance / 10:
        raise InputError(
            f"expectation.tolerance: must be well above the rounding of the steps, about {noise:.1g} here; got"
            f" {plan.tolerance!r} (float). Use dtype='float64', or ask for less."
        )


def gaps(level_samples: Sequence[LevelSample]) -> list[float]:
    """Of every level but the last, how far the next one's coarse mean is from its own (`mismatch`)."""
    pairs = zip(level_samples[:-1], level_samples[1:], strict=True)
    return [mismatch(low.fine, high.coarse, low.grain) for low, high in pairs if high.coarse]


def _consistent(level_samples: Sequence[LevelSample]) -> None:
    """Raise where the sum over levels does not telescope."""
    apart = gaps(level_samples)
    k = int(np.argmax(apart))
    low, high = level_samples[k], level_samples[k + 1].coarse
    if apart[k] > APART and high:
        raise InputError(
            f"expectation: levels must agree on E f at {low.steps} steps; got {low.fine.mean:.6g} from level"
            f" {low.level} and {high.mean:.6g} from level {low.level + 1} (float), {apart[k]:.1f} standard errors"
            " apart. If f has very heavy tails, raise first_paths; else report this."
        )


def _conclude(level_set: LevelSet, variances: np.ndarray, bias: Bias, order: float) -> Estimate:
    _resolved(level_set)
    plan, level_samples = level_set.plan, level_set.level_samples
    parts = variances / np.array([t.paths for t in level_samples])
    sem = math.sqrt(parts.sum())
    doubts = np.array(
        [(t.difference.variance_error * (t.variance - t.unseen) + t.unseen) / t.paths for t in level_samples]
    )
    variance_error = float(np.linalg.norm(doubts) / parts.sum())
    if variance_error > VAGUE:
        worst = int(np.argmax(doubts))
        warnings.warn(
            f"expectation: the standard error {sem:.2g} is itself uncertain by {variance_error:.0%}, as few paths make"
            f" it (kurtosis {level_samples[worst].difference.kurtosis:.3g} on level {level_samples[worst].level})."
            " Raise first_paths, or smooth f.",
            VarianceWarning,
            stacklevel=4,
        )
    steady = fit(level_set.seen, order).steady
    steps, cost = plain(level_samples, order, math.hypot(sem, bias.size), level_set.all) or (None, None)
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
        for t, gap in zip(level_samples, [*gaps(level_samples), float("nan")], strict=True)
    )
    value = math.fsum(t.difference.mean for t in level_samples)
    return Estimate(
        value=value,
        sem=sem,
        bias=bias.size,
        bias_sem=bias.sem,
        order=order,
        order_seen=_known(weak_slope(level_set.seen, plan.refine)) if steady else None,
        decay=variance_order(level_set.all, plan.refine),
        decay_seen=_known(variance_slope(level_set.all, plan.refine)),
        steady=steady,
        levels=levels,
        discarded=level_set.discarded,
        plain_steps=steps,
        plain_path_steps=cost,
    )


def _known(found: tuple[float, float]) -> tuple[float, float] | None:
    return found if math.isfinite(found[0]) else None
