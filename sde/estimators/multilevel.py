"""Multilevel Monte Carlo: how many levels, how many paths on each, and when to stop. Numbers only; what they are
samples of is the caller's.

Source: Giles, Oper. Res. 56 (2008) 607 and Acta Numerica 24 (2015) 259, algorithm 1 and section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sde.estimators.estimate import Estimate, Level
from sde.estimators.level_rates import (
    Bias,
    LevelSample,
    fit,
    mismatch,
    plain,
    remaining_bias,
    sure_order,
    variance_order,
    variance_slope,
    weak_order,
    weak_slope,
)
from sde.estimators.level_set import APART, BIAS_SHARE, NEARLY, SEARCH, VAGUE, Exploded, LevelSet, Plan, Sample
from sde.estimators.sample_moments import Memory
from symbolic.errors import InputError, warn

WILDER = 4.0
"""Times f's variance that a difference has at most where that of longer steps is no larger."""


class VarianceWarning(UserWarning):
    """The estimate's error rests on few extreme paths."""


def estimate(sample: Sample, plan: Plan, memory: Memory | None = None) -> Estimate:
    """E f with root mean square error `plan.tolerance`. memory: of samples taken before an interruption.

    The first three levels get plan.first paths each, others where f does not vary on these; a lowest level that does
    not pay is left for the next. Then, in rounds: paths where the allocation asks for more, and a finer level while the
    bias, by the observed weak order, may exceed its share; where only noise hides whether it does, more paths on that
    level. Raises ValueError when the last level is reached without that, when the path-steps would exceed the budget,
    when f shows one value only, when rounding would drown the tolerance, or when levels contradict each other; warns
    (VarianceWarning) where the error rests on few extreme paths. Levels at which paths explode are left out where
    the plan says so.
    """
    level_set = LevelSet(sample, plan, memory)
    while True:
        try:
            return _estimate(level_set)
        except Exploded as error:
            next_cost = plan.first * plan.count(error.level + 1)
            if not plan.drops or error.level + 2 > plan.most or level_set.spent + next_cost > SEARCH:
                raise
            level_set.drop(error.level)


def _estimate(level_set: LevelSet) -> Estimate:
    plan = level_set.plan
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
        if level_samples[-1].level >= level_set.deep and bias.size <= most and bias.sem <= most / 2:
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
    """Whether the budget does not reach, or longer steps do not follow the last ones at all, but might with shorter
    steps, on which f varies less."""
    plan, top = level_set.plan, level_set.level_samples[-1]
    first_cost = 3 * plan.first * top.steps * plan.refine
    apart = first_cost < more and top.varies(top.fine) and top.difference.variance > WILDER * top.fine.variance
    return (
        (level_set.spent + more > plan.budget or apart)
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
        warn(
            f"expectation: the standard error {sem:.2g} is itself uncertain by {variance_error:.0%}, as few paths make"
            f" it (kurtosis {level_samples[worst].difference.kurtosis:.3g} on level {level_samples[worst].level})."
            " Raise first_paths, or smooth f.",
            VarianceWarning,
        )
    steady = fit(level_set.seen, order).steady
    steps, cost = plain(level_samples, order, math.hypot(sem, bias.size), level_set.all) or (None, None)
    levels = tuple(
        Level(
            t.steps,
            plan.dt(t.level),
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
