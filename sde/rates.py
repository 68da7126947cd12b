"""What samples on several levels tell: orders of decay, the bias that is left, whether levels agree, and what plain Monte Carlo would cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sde.moments import Moments

LOWEST, HIGHEST_DECAY = 0.5, 4.0
"""Orders that are believed: weak at least the first, of the variance at most the second (Giles 2015, section 3.1)."""
VISIBLE = 2.0
"""A level's mean counts for the weak order where it is this many standard errors away from 0."""
RECENT = 4
"""Orders come from the last so many levels that can tell them: those before follow other laws."""
STEADY = 10.0
"""Most standard errors that it counts for, so that the first levels, known best, do not decide alone."""


@dataclass
class Tally:
    """What is known of a level: f at its step (fine), at the step of the level below on the same paths (coarse), and the difference of the two; the
    lowest one has no coarse, and its difference is f itself. steps: per path; cost: path-steps of a sample."""

    level: int
    steps: int
    cost: int
    coarse: Moments | None
    difference: Moments = field(default_factory=Moments)
    fine: Moments = field(default_factory=Moments)

    @property
    def paths(self) -> int:
        return self.difference.count


def slope(
    levels: Sequence[float], values: Sequence[float], weights: Sequence[float], refine: int
) -> tuple[float, float]:
    """Order at which values fall from level to level, by weighted least squares on logarithms, and its standard error, weights being the inverse squares of
    the values' relative errors; NaN from fewer than two."""
    if len(levels) < 2:
        return float("nan"), float("nan")
    x, w = np.array(levels, dtype=float), np.array(weights, dtype=float)
    y = np.log(values) / math.log(refine)
    x = x - np.average(x, weights=w)
    spread = float((w * x * x).sum())
    return -float((w * x * y).sum()) / spread, 1 / (math.sqrt(spread) * math.log(refine))


def weak_order(tallies: Sequence[Tally], refine: int, stated: float) -> float:
    """The stated order, unless the end of the first run of levels whose means show speaks against it (two standard errors): then theirs, 1/2 at least."""
    ratio = [abs(t.difference.mean) / t.difference.sem if t.difference.sem > 0 else 0.0 for t in tallies[1:]]
    begin = next((k for k, z in enumerate(ratio) if z > VISIBLE), len(ratio))
    end = next((k for k in range(begin, len(ratio)) if not ratio[k] > VISIBLE), len(ratio))
    begin = max(begin, end - RECENT)
    seen = tallies[1 + begin : 1 + end]
    weights = [min(z, STEADY) ** 2 for z in ratio[begin:end]]
    found, error = slope([t.level for t in seen], [abs(t.difference.mean) for t in seen], weights, refine)
    return max(found, LOWEST) if found + 2 * error < stated else stated


def variance_order(tallies: Sequence[Tally], refine: int) -> float:
    """From the last levels, each weighted by how well its variance is known; 1 where that cannot be told."""
    seen = [t for t in tallies[1:] if t.paths > 1 and t.difference.variance > 0][-RECENT:]
    weights = [1 / max(t.difference.doubt, 0.01) ** 2 for t in seen]
    found, _ = slope([t.level for t in seen], [t.difference.variance for t in seen], weights, refine)
    return min(max(found, LOWEST), HIGHEST_DECAY) if np.isfinite(found) else 1.0


def remaining_bias(tallies: Sequence[Tally], order: float, refine: int) -> tuple[float, float]:
    """|E f at the finest step - the limit| and its standard error: the largest of what the last three differences, each brought to that step, leave
    over. The noise expected of a difference is taken out of its square."""
    last, sizes, errors = tallies[-1].level, [], []
    for t in tallies[1:][-3:]:
        scale = refine ** (order * (last - t.level)) * (refine**order - 1)
        sizes.append(math.sqrt(max(t.difference.mean**2 - t.difference.sem**2, 0.0)) / scale)
        errors.append(t.difference.sem / scale)
    return max(sizes), errors[int(np.argmax(sizes))] if max(sizes) > 0 else errors[-1]


def mismatch(low: Moments, high: Moments) -> float:
    """Standard errors between two samples' means, of numbers that ought to have one law. Variances are pooled, and Bernstein's inequality with
    the largest deviation seen allows for laws whose mean rests on rare large values: P(mismatch > z) <= 2 exp(-z**2 / 2) about."""
    gap = abs(low.mean - high.mean)
    if not gap > 0:
        return 0.0
    whole = low.merge(high)
    pooled = (low.m2 + high.m2) / max(whole.count - 2, 1)
    far = max(whole.high - whole.mean, whole.mean - whole.low)
    return gap / math.sqrt(pooled * (1 / low.count + 1 / high.count) + far * gap / (3 * min(low.count, high.count)))


def plain(tallies: Sequence[Tally], order: float, error: float) -> tuple[int, float]:
    """Steps per path and path-steps of the cheapest plain Monte Carlo run of this root mean square error.

    Bias c n**-order at n steps, c fitted to the last three differences, or 0 where they do not show it; the variance of f at the finest step, summed up over levels.
    """
    v = tallies[0].fine.variance
    for t in tallies[1:]:
        assert t.coarse is not None
        v += t.fine.variance - t.coarse.variance
    v = v if v > 0 else tallies[-1].fine.variance
    x = np.array(
        [high.steps**-order - low.steps**-order for low, high in zip(tallies[:-1], tallies[1:], strict=True)][-3:]
    )
    y = np.array([t.difference.mean for t in tallies[1:]][-3:])
    w = 1 / np.array([max(t.difference.sem**2, 1e-300) for t in tallies[1:]][-3:])
    c, noise = float((w * x * y).sum() / (w * x * x).sum()), 1 / float((w * x * x).sum())
    c = abs(c) if c * c > VISIBLE**2 * noise else 0.0
    best = (c * math.sqrt(1 + 2 * order) / error) ** (1 / order)
    options = [
        n for n in {max(1, math.floor(best)), math.ceil(best) + 1, max(1, math.ceil(best))} if c * n**-order < error
    ]
    cost = {n: n * v / (error**2 - (c * n**-order) ** 2) for n in options}
    steps = min(cost, key=lambda n: cost[n])
    return steps, cost[steps]
