"""Weak errors along a ladder of learning rates: differences of means of independent samples, and how they fall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from sde.estimators.convergence_order import QUANTILE, UNSEEN, VISIBLE, Slope

LEAST_RUNGS = 3
UNSEEN_SHARE = 0.1
"""Of the scatter of one path's observable: a difference of means below it is seen by nobody who runs SGD once."""


@dataclass(frozen=True)
class Sample:
    """count: numbers seen; mean, m2: of each of F observables, and sums of squares about the mean, (F,)."""

    count: int
    mean: np.ndarray
    m2: np.ndarray

    @classmethod
    def none(cls, size: int) -> Sample:
        return cls(0, np.zeros(size), np.zeros(size))

    @classmethod
    def of(cls, values: np.ndarray) -> Sample:
        """values: (F, n)."""
        mean = values.mean(axis=1)
        return cls(values.shape[1], mean, ((values - mean[:, None]) ** 2).sum(axis=1))

    def merge(self, other: Sample) -> Sample:
        """Of both together."""
        total = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        gap = other.mean - self.mean
        share = other.count / total
        return Sample(total, self.mean + gap * share, self.m2 + other.m2 + gap**2 * self.count * share)

    def plus(self, other: Sample) -> Sample:
        """Of the sum of two independent means, as if of the fewer numbers."""
        count = min(self.count, other.count)
        return Sample(count, self.mean + other.mean, (self.sem**2 + other.sem**2) * count * (count - 1))

    @property
    def sem(self) -> np.ndarray:
        """Standard errors of the means, (F,)."""
        return np.sqrt(self.m2 / max(self.count - 1, 1) / max(self.count, 1))


def gap(one: Sample, other: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Difference of means of independent samples, and its standard error, (F,). What both have exactly, but for
    rounding, has no difference."""
    difference = one.mean - other.mean
    rounding = 64 * np.finfo(float).eps * np.maximum(np.abs(one.mean), np.abs(other.mean))
    noise = np.hypot(one.sem, other.sem)
    same = (np.abs(difference) <= rounding) & (noise <= rounding)
    return np.where(same, 0.0, difference), np.where(same, 0.0, noise)


@dataclass(frozen=True)
class Rung:
    """One learning rate: paths of SGD, and samples by the name of what was run, "sgd" among them. scatter: standard
    deviation over paths of SGD, (F,)."""

    rate: float
    paths: int
    samples: Mapping[str, Sample]
    scatter: np.ndarray | None = None


@dataclass(frozen=True)
class Fit:
    """slope; used: rungs that it rests on, (K,) of bool; noise: the part of its half-width that more paths lower."""

    slope: Slope
    used: np.ndarray
    noise: float


Shape = Callable[[np.ndarray], np.ndarray]
SHAPES: tuple[Shape, Shape] = (np.log1p, lambda x: 2 * np.log1p(x / 2))
"""Two ways to go on from 1 + x: the error's next term alone, and with one of its size squared over 4 after it."""
STEEPEST, NEXT_TERM = -0.9, 1.0
"""Of the next term over the first, at the largest rate that a fit uses: the least, and the standard deviation that is
taken for granted. Where it is larger the error is no power of the rate yet, and without this any curve is one."""


def fit(rate: np.ndarray, error: np.ndarray, sem: np.ndarray) -> Fit:
    """p in error_k = a rate_k^p (1 + c rate_k + ...), by weighted least squares.

    rate, error, sem: (K,), falling rates, errors with independent noise. At least LEAST_RUNGS must be clear of their
    noise, all of one sign; what is not clear counts with its noise, so that none is chosen by its luck. The largest
    rates are left out where the curve does not fit them, or the interval is narrower without. The interval is
    two-sided, 95 %: noise by propagation, and beside it how far the two SHAPES of what follows the first term lie
    apart, taken as one standard deviation of what neither holds; the value is their mean.
    """
    clear = np.abs(error) > VISIBLE * sem
    signs = np.sign(error) * clear
    best = Fit(UNSEEN, np.zeros(len(rate), dtype=bool), float("inf"))
    for begin in range(len(rate) - LEAST_RUNGS + 1):
        some = signs[begin:]
        if not some[0] or np.abs(some).sum() < LEAST_RUNGS or (some == -some[0]).any():
            continue
        found = _window(rate[begin:], error[begin:] * some[0], sem[begin:])
        if found is not None and (np.isnan(best.slope.value) or _width(found[0]) < _width(best.slope)):
            best = Fit(found[0], np.arange(len(rate)) >= begin, found[1])
    return best


def _width(slope: Slope) -> float:
    return slope.interval[1] - slope.interval[0]


def _window(rate: np.ndarray, error: np.ndarray, sem: np.ndarray) -> tuple[Slope, float] | None:
    """The slope on these rungs, the first error positive, and its interval's half-width by noise alone; None where the
    curves do not fit."""
    special: Any = import_module("scipy.special")  # slow to load
    noise = np.maximum(sem, 1e-9 * np.abs(error))
    fits = [_curve(shape, rate / rate[0], error, noise) for shape in SHAPES]
    spare = len(rate) - LEAST_RUNGS
    if spare and min(misfit for _, _, misfit in fits) > special.chdtri(spare, 0.01):
        return None
    value, statistical = (fits[0][0] + fits[1][0]) / 2, QUANTILE * max(fits[0][1], fits[1][1])
    half = float(np.hypot(statistical, QUANTILE * (fits[0][0] - fits[1][0])))
    return Slope(value, (value - half, value + half)), statistical


def _curve(shape: Shape, h: np.ndarray, error: np.ndarray, noise: np.ndarray) -> tuple[float, float, float]:
    """p of a h^p exp shape(c h), a > 0, its standard error, and chi squared of what is left."""
    optimize: Any = import_module("scipy.optimize")  # slow to load

    def misfit(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            gaps = (np.exp(np.minimum(x[0] + x[1] * np.log(h) + shape(x[2] * h), 300.0)) - error) / noise
        return np.append(gaps, x[2] / NEXT_TERM)

    start = [np.log(error[0]), np.log(error[1] / error[0]) / np.log(h[1]) if error[1] > 0 else 1.0, 0.0]
    bounds = ([-np.inf, -np.inf, STEEPEST], [np.inf, np.inf, np.inf])
    found: Any = optimize.least_squares(misfit, start, bounds=bounds, x_scale="jac")
    jacobian: Any = found.jac
    inverse: Any = np.linalg.pinv
    covariance = inverse(jacobian.T @ jacobian)
    return float(found.x[1]), float(covariance[1, 1]) ** 0.5, float(2 * found.cost)


def paths_needed(paths: int, fitted: Fit, error: np.ndarray, sem: np.ndarray, width: float) -> float:
    """About how many paths (of `paths` now) would give the slope a half-width of `width`, or, where errors hardly show,
    the least that may; inf where no number would, as the curve itself is not known so well."""
    if np.isfinite(fitted.noise):
        rest = (_width(fitted.slope) / 2) ** 2 - fitted.noise**2
        return max(paths * fitted.noise**2 / (width**2 - rest), paths) if width**2 > rest else float("inf")
    if len(error) < LEAST_RUNGS or not error.any():
        return float("inf")
    seen = np.maximum(np.abs(error), sem)
    lacking = np.sort(2 * VISIBLE * sem[seen > 0] / seen[seen > 0])[:LEAST_RUNGS][-1]
    return float(paths * max(lacking, 1.0) ** 2)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Weak errors of M models along K falling rates, of F observables, and of SVAG along L factors.

    own: the place of the user's rate; difference, error, used: (F, M, K), means less SGD's; mean: (F, K) of SGD; slope:
    (F, M, 3), value and interval; decided, needed: (F, M), whether the slope is as narrow as asked (or there is no
    difference at all), and the paths at the user's rate that would make it so. factor_difference, factor_error: (F, L),
    SVAG less the order-1 SDE at the user's rate; factor_slope: (F, 3) in 1/factor.
    """

    rates: np.ndarray
    paths: np.ndarray
    own: int
    models: tuple[str, ...]
    orders: tuple[int, ...]
    mean: np.ndarray
    difference: np.ndarray
    error: np.ndarray
    used: np.ndarray
    slope: np.ndarray
    scatter: np.ndarray
    told: np.ndarray
    decided: np.ndarray
    needed: np.ndarray
    factors: tuple[int, ...]
    factor_difference: np.ndarray
    factor_error: np.ndarray
    factor_slope: np.ndarray


def weak_errors(
    rungs: Sequence[Rung], own: int, orders: Mapping[str, int], factors: Mapping[int, str], width: float, paths: int
) -> Study:
    """From samples at falling rates. own: the rung of the user's rate; orders: of the models, by name; factors: SVAG's,
    with the names of their samples; width: of a slope's half-interval, over its order; paths: at the user's rate."""
    rates = np.array([r.rate for r in rungs])
    gaps = np.array([[gap(r.samples[m], r.samples["sgd"]) for r in rungs] for m in orders])
    difference, error = np.moveaxis(gaps, (2, 3), (0, 1))[0], np.moveaxis(gaps, (2, 3), (0, 1))[1]
    size, used = len(difference), np.zeros(difference.shape, dtype=bool)
    slope, decided = np.full((*difference.shape[:2], 3), np.nan), np.zeros(difference.shape[:2], dtype=bool)
    needed = np.full(decided.shape, np.nan)
    for f in range(size):
        for m, order in enumerate(orders.values()):
            found = fit(rates, difference[f, m], error[f, m])
            used[f, m], slope[f, m] = found.used, (found.slope.value, *found.slope.interval)
            same = not difference[f, m].any()
            decided[f, m] = same or _width(found.slope) <= 2 * width * order
            if not decided[f, m]:
                needed[f, m] = paths_needed(paths, found, difference[f, m], error[f, m], width * order)
    samples, scatter = rungs[own].samples, rungs[own].scatter
    scatter = np.zeros(size) if scatter is None else scatter
    half = QUANTILE * error[..., own]
    told = (np.abs(difference[..., own]) > half) | (half <= UNSEEN_SHARE * scatter[:, None])
    pairs = np.array([gap(samples[name], samples["order-1"]) for name in factors.values()]).reshape(
        len(factors), 2, size
    )
    factor_slope = np.full((size, 3), np.nan)
    for f in range(size if factors else 0):
        found = fit(1 / np.array(list(factors), dtype=float), pairs[:, 0, f], pairs[:, 1, f])
        factor_slope[f] = (found.slope.value, *found.slope.interval)
    return Study(
        rates=rates,
        paths=np.array([r.paths for r in rungs]),
        own=own,
        models=tuple(orders),
        orders=tuple(orders.values()),
        mean=np.array([r.samples["sgd"].mean for r in rungs]).T,
        difference=difference,
        error=error,
        used=used,
        slope=slope,
        scatter=scatter,
        told=told | (half == 0),
        decided=decided,
        needed=needed,
        factors=tuple(factors),
        factor_difference=pairs[:, 0].T,
        factor_error=pairs[:, 1].T,
        factor_slope=factor_slope,
    )
