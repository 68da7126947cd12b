"""What samples on several levels tell: orders of decay, the bias that is left, whether levels agree, and what plain
Monte Carlo would cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from sde.estimators.sample_moments import Moments

LOWEST, HIGHEST_DECAY = 0.5, 4.0
"""Orders that are believed: weak at least the first, of the variance at most the second (Giles 2015, section 3.1)."""
VISIBLE = 2.0
"""A level's mean counts for the weak order where it is this many standard errors away from 0."""
RECENT = 4
"""Orders come from the last so many levels that can tell them: those before follow other laws."""
STEADY = 10.0
"""Most standard errors that it counts for, so that the first levels, known best, do not decide alone."""
SLACK = 0.3
"""Part of a level's mean by which it may miss a power of the step and still be taken to follow one."""
UNLIKELY = (0.0, 6.63, 9.21, 11.34, 13.28)
"""What chi-square exceeds once in 100 times, by degrees of freedom."""
SURE = 0.7
"""Part of the weak order that levels must show for plain Monte Carlo's steps to be told by it."""
KNOWN = 3.0
"""Standard errors at which the bias is known well enough to say what steps plain Monte Carlo would take."""
FAINT = 1e-300
"""Squares below are lost in underflow, and tell nothing."""
FEW = 0.3
"""Relative standard error of a variance beyond which a handful of paths make it, and one more would change it."""


@dataclass
class LevelSample:
    """What is known of a level: f at its step (fine), at the step of the level below on the same paths (coarse), and
    the difference of the two; the lowest one has no coarse, and its difference is f itself. steps: per path; cost:
    path-steps of a sample; rounding: relative error of one step; unseen: variance of the difference that its paths do
    not show but might hide."""

    level: int
    steps: int
    cost: int
    coarse: Moments | None
    difference: Moments = field(default_factory=Moments)
    fine: Moments = field(default_factory=Moments)
    rounding: float = 2.0**-53
    unseen: float = 0.0

    @property
    def paths(self) -> int:
        return self.difference.count

    @property
    def variance(self) -> float:
        """Of the difference, what is unseen included; 0 before the second path."""
        return self.difference.variance + self.unseen if self.paths > 1 else self.unseen

    @property
    def sem(self) -> float:
        """Standard error of the difference's mean."""
        return math.sqrt(self.variance / self.paths)

    @property
    def grain(self) -> float:
        """What the rounding of the steps makes of f."""
        return (
            self.rounding * math.sqrt(self.steps) * max(abs(self.fine.low), abs(self.fine.high)) if self.paths else 0.0
        )

    def varies(self, moments: Moments) -> bool:
        """Whether numbers of this level differ by more than rounding."""
        return moments.count > 1 and moments.variance > square(2 * self.grain)


def square(x: float) -> float:
    """Infinite where it is too large, where a power is an error."""
    return x * x


def hidden(level_sample: LevelSample, moments: Moments, reach: float) -> float:
    """Variance that numbers of a level might have beyond what is seen. Where none differs from the others, or a handful
    makes the variance, one more path could be as far away as f reaches: the square of that, once in as many paths as
    there are."""
    if moments.count < 2:
        return 0.0
    if not level_sample.varies(moments):
        return square(reach) / moments.count
    return square(moments.high - moments.low) / moments.count if moments.variance_error > FEW else 0.0


def slope(
    levels: Sequence[float], values: Sequence[float], weights: Sequence[float], refine: int
) -> tuple[float, float]:
    """Order at which values fall from level to level, by weighted least squares on logarithms, and its standard error,
    weights being the inverse squares of the values' relative errors; NaN from fewer than two."""
    if len(levels) < 2:
        return float("nan"), float("nan")
    x, w = np.array(levels, dtype=float), np.array(weights, dtype=float)
    y = np.log(values) / math.log(refine)
    x = x - np.average(x, weights=w)
    spread = float((w * x * x).sum())
    return -float((w * x * y).sum()) / spread, 1 / (math.sqrt(spread) * math.log(refine))


def weak_slope(level_samples: Sequence[LevelSample], refine: int) -> tuple[float, float]:
    """Order at which the means fall at the end of the last run of levels whose means show, and its standard error; NaN
    where fewer than two show, or fewer than three whose signs differ."""
    shown = [abs(t.difference.mean) > VISIBLE * t.sem > 0 for t in level_samples[1:]]
    end = next((k for k in range(len(shown), 0, -1) if shown[k - 1]), 0)
    begin = next((k for k in range(end, 0, -1) if not shown[k - 1]), 0)
    seen = level_samples[1 + max(begin, end - RECENT) : 1 + end]
    if len({t.difference.mean > 0 for t in seen}) > 1 and len(seen) < 3:
        return float("nan"), float("nan")
    weights = [min(abs(t.difference.mean) / t.sem, STEADY) ** 2 for t in seen]
    return slope([t.level for t in seen], [abs(t.difference.mean) for t in seen], weights, refine)


def weak_order(level_samples: Sequence[LevelSample], refine: int, stated: float) -> float:
    """The stated order, unless the levels' means speak against it (two standard errors): then theirs, 1/2 at least."""
    found, error = weak_slope(level_samples, refine)
    return max(found, LOWEST) if found + 2 * error < stated else stated


def variance_slope(level_samples: Sequence[LevelSample], refine: int) -> tuple[float, float]:
    """Order at which the variances fall over the last levels that have one, each weighted by how well it is known, and
    its standard error."""
    seen = [t for t in level_samples[1:] if t.varies(t.difference)][-RECENT:]
    weights = [1 / max(t.difference.variance_error, 0.01) ** 2 for t in seen]
    return slope([t.level for t in seen], [t.difference.variance for t in seen], weights, refine)


def variance_order(level_samples: Sequence[LevelSample], refine: int) -> float:
    """That order within what is believed; 1 where it cannot be told."""
    found, _ = variance_slope(level_samples, refine)
    return min(max(found, LOWEST), HIGHEST_DECAY) if np.isfinite(found) else 1.0


class Bias(NamedTuple):
    """|E f at the finest step - the limit|: what it may be, the noise in that, and the level whose difference is
    noisiest."""

    size: float
    sem: float
    level: int


class Fit(NamedTuple):
    """E f at n steps less the limit as c n**-order: c, its standard error, and whether the levels follow that."""

    c: float
    sem: float
    steady: bool


def fit(level_samples: Sequence[LevelSample], order: float) -> Fit:
    """From the last three differences, each of which may miss the power by `SLACK`; one does not tell whether it does,
    and means that fall faster than a tenth above the order (two standard errors) follow another law yet."""
    found, error = weak_slope(level_samples, level_samples[1].steps // level_samples[0].steps)
    last = _power(level_samples, order, 3)
    return last._replace(steady=last.steady and not found - 2 * error > 1.1 * order)


def sure_order(level_samples: Sequence[LevelSample], order: float) -> float:
    """The order by which the bias falls at least, for all that the levels show: a standard error below that of their
    means, at most `order`; the lowest believed where they show none."""
    found, error = weak_slope(level_samples, level_samples[1].steps // level_samples[0].steps)
    return min(max(found - error, LOWEST) if found == found else LOWEST, order)


def _power(level_samples: Sequence[LevelSample], order: float, last: int) -> Fit:
    pairs = list(zip(level_samples[:-1], level_samples[1:], strict=True))[-last:]
    x = np.array([high.steps**-order - low.steps**-order for low, high in pairs])
    y = np.array([t.difference.mean for _, t in pairs])
    noise, c, error = np.array([max(square(t.sem), 1e-300) for _, t in pairs]), 0.0, 0.0
    for _ in range(3):
        w = 1 / (noise + (SLACK * c * x) ** 2)
        c, error = float((w * x * y).sum() / (w * x * x).sum()), 1 / float((w * x * x).sum())
    off = (y - c * x) ** 2 / (noise + SLACK**2 * np.maximum(y**2, (c * x) ** 2))
    return Fit(c, math.sqrt(error), len(x) > 1 and float(off.sum()) < UNLIKELY[len(x) - 1])


def _long(level_samples: Sequence[LevelSample], order: float) -> Fit:
    """From the longest run of last differences that follow one power."""
    fits = [_power(level_samples, order, last) for last in range(3, min(len(level_samples), len(UNLIKELY) + 1))]
    steady = list(takewhile(lambda f: f.steady, fits))
    return steady[-1] if steady else fit(level_samples, order)


def remaining_bias(level_samples: Sequence[LevelSample], order: float, refine: int, sure: float | None = None) -> Bias:
    """The largest of what the last three differences, each brought to the finest step, leave over; sure: the order by
    which one that shows falls from there on. The noise expected of a difference is taken out of its square where it
    shows, and added where it does not."""
    found: list[Bias] = []
    last = level_samples[-1].level
    tail, longer = (1 / (refine**by - 1) for by in (order, sure or order))
    for t in level_samples[1:][-3:]:
        mean, sem, fall = t.difference.mean, t.sem, refine ** (order * (t.level - last))
        shows = abs(mean) > VISIBLE * sem
        size = math.sqrt(square(mean) - square(sem)) * longer if shows else math.hypot(mean, sem) * tail
        found.append(Bias(fall * size, fall * tail * sem, t.level))
    return max(found, key=lambda b: b.sem)._replace(size=max(b.size for b in found))


def mismatch(low: Moments, high: Moments, grain: float = 0.0) -> float:
    """Standard errors between two samples' means, of numbers that ought to have one law. Variances are pooled, and
    Bernstein's inequality with the largest deviation seen allows for laws whose mean rests on rare large values:
    P(mismatch > z) <= 2 exp(-z**2 / 2) about. grain: error of each number by rounding; the means' own is added."""
    gap = abs(low.mean - high.mean)
    if not gap > 0:
        return 0.0
    whole = low.merge(high)
    pooled = (low.m2 + high.m2) / max(whole.count - 2, 1)
    far = max(whole.high - whole.mean, whole.mean - whole.low)
    rounding = grain + 2.0**-50 * max(abs(whole.low), abs(whole.high))
    noise = (
        pooled * (1 / low.count + 1 / high.count) + far * gap / (3 * min(low.count, high.count)) + rounding * rounding
    )
    return gap / math.sqrt(noise) if noise > FAINT else 0.0


def plain(
    level_samples: Sequence[LevelSample], order: float, error: float, seen: Sequence[LevelSample] | None = None
) -> tuple[int, float] | None:
    """Steps per path and path-steps of the cheapest plain Monte Carlo run of this root mean square error; None where
    the bias is not known well enough to say which steps keep it within that.

    Bias c n**-order at n steps, as `fit` has it from these levels or those `seen`; the variance of f at the finest
    step, summed up over levels.
    """
    v = level_samples[0].fine.variance
    for t in level_samples[1:]:
        assert t.coarse is not None
        v += t.fine.variance - t.coarse.variance
    v = v if v > 0 else level_samples[-1].fine.variance
    seen = seen or level_samples
    last, whole = fit(seen, order), _long(seen, order)
    c, most = abs(whole.c), max(abs(f.c) + VISIBLE * f.sem for f in (last, whole))
    sure = sure_order(seen, order) > SURE * order and c > KNOWN * whole.sem
    apart = abs(last.c - whole.c) > VISIBLE * last.sem
    if apart or not last.steady or not (sure or most < error / 2):
        return None
    best = (c * math.sqrt(1 + 2 * order) / error) ** (1 / order)
    least = math.floor((most / error) ** (1 / order)) + 1
    if least > max(2 * best, 1):
        return None
    cost = {
        n: n * v / (error**2 - (c * n**-order) ** 2)
        for n in (max(least, math.floor(best)), max(least, math.ceil(best)))
    }
    steps = min(cost, key=lambda n: cost[n])
    return steps, cost[steps]
