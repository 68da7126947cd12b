"""How far the distribution of a sample is from another one, and how far sampling may have moved that distance.

Both distances are norms of a difference of distribution functions, so an estimate misses the truth by at most the norm
of the sampling error F_n - F alone, whatever the two distributions are (docs/theory.md eq. (10.1)): `Distance.tail`
bounds the chance of a miss, and equivalence and refutation follow from it alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
PERMUTATIONS = 9999
NODES = 4
"""Gauss-Legendre nodes for each of the n shares of a distribution's mass."""
SEED = 17


@dataclass(frozen=True)
class Law:
    """A distribution by its cumulative function and its quantiles, each on arrays (n,)."""

    cdf: Function
    ppf: Function


Reference = Law | np.ndarray
"""What a sample is held against: a distribution, or a sample of one."""


@dataclass(frozen=True)
class Distance:
    """value: the distance measured. tail(x): a bound on the chance that it misses the true one by x or more; reach(p):
    the x of that chance. same(): the chance of so large a distance where there is none."""

    value: float
    tail: Callable[[float], float]
    reach: Callable[[float], float]
    same: Callable[[], float]


def kolmogorov(sample: np.ndarray, reference: Reference) -> Distance:
    """Largest difference of the distribution functions. Of one sample the error's distribution is exact and the same
    for all continuous laws, smaller for others (Kolmogorov); of two it is bounded (Massart 1990)."""
    stats: Any = import_module("scipy.stats")  # slow to load

    x, n = np.sort(sample), len(sample)
    if isinstance(reference, Law):
        at, before = reference.cdf(x), reference.cdf(np.nextafter(x, -np.inf))
        upto, below = np.searchsorted(x, x, side="right") / n, np.searchsorted(x, x, side="left") / n
        value = float(max(np.abs(upto - at).max(), np.abs(below - before).max()))
        error = stats.kstwo(n)
        return Distance(
            value, lambda d: float(error.sf(d)), lambda p: float(error.isf(p)), lambda: float(error.sf(value))
        )
    y, m = np.sort(reference), len(reference)
    every = np.concatenate([x, y])
    gap = np.searchsorted(x, every, side="right") / n - np.searchsorted(y, every, side="right") / m
    value, scale = float(np.abs(gap).max()), n**-0.5 + m**-0.5
    return Distance(
        value,
        lambda d: min(1.0, 4 * float(np.exp(-2 * (d / scale) ** 2))),
        lambda p: scale * float(np.sqrt(np.log(4 / p) / 2)),
        lambda: float(stats.ks_2samp(x, y).pvalue),
    )


def wasserstein(sample: np.ndarray, reference: Reference) -> Distance:
    """Area between the distribution functions, in the observable's own units. Its error is the norm of a Gaussian
    process in the limit: of mean sqrt(2/pi) integral sqrt(F (1 - F)/n), above which it has a Gaussian tail of variance
    Var X/n, since no function of slope 1 varies more than the identity (Borell 1975; Tsirelson, Ibragimov, Sudakov
    1976)."""
    special: Any = import_module("scipy.special")  # slow to load

    x, n = np.sort(sample), len(sample)
    variance, fewest = float(np.var(x, ddof=1)) / n, n
    if isinstance(reference, Law):
        value, every, noise = _area_to(x, reference), x, _binomial(x, x)
    else:
        y = np.sort(reference)
        every, fewest = np.sort(np.concatenate([x, y])), min(n, len(y))
        shares = [np.searchsorted(s, every[:-1], side="right") / len(s) for s in (x, y)]
        value = float(np.abs(shares[0] - shares[1]) @ np.diff(every))
        variance, noise = variance + float(np.var(y, ddof=1)) / len(y), _binomial(x, every) + _binomial(y, every)
    mean, scale = float(np.sqrt(2 / np.pi) * np.sqrt(noise) @ np.diff(every)), float(np.sqrt(variance))

    def tail(d: float) -> float:
        return float(special.stdtr(fewest - 1, (mean - d) / scale)) if d > mean else 1.0

    def same() -> float:
        if isinstance(reference, Law):
            return 1.0
        return min(1.0, 2 * min(_permuted(x, reference, value), tail(value)))  # one p-value of two, by Bonferroni

    return Distance(value, tail, lambda p: mean + float(special.stdtrit(fewest - 1, 1 - p)) * scale, same)


DISTANCES: dict[str, Callable[[np.ndarray, Reference], Distance]] = {"ks": kolmogorov, "wasserstein": wasserstein}
"""By the name that users give."""


def _binomial(sample: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Variance of a sorted sample's distribution function between neighbours of `every`."""
    share = np.searchsorted(sample, every[:-1], side="right") / len(sample)
    return share * (1 - share) / len(sample)


def _area_to(x: np.ndarray, law: Law) -> float:
    """Of a sorted sample to a distribution: the mean of |x_i - Q(u)| over the i-th n-th of the mass. The first and last
    of them, where Q may grow without bound, by Gauss-Laguerre in the logarithm of the mass left."""
    n = len(x)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    u = (np.arange(n)[:, None] + (1 + nodes) / 2) / n
    areas = np.abs(x[:, None] - law.ppf(u.ravel()).reshape(u.shape)) @ (weights / 2)
    depth, mass = np.polynomial.laguerre.laggauss(16)
    left = np.exp(-depth) / n
    for i, far in ((0, left), (n - 1, 1 - left)):
        ends = np.abs(x[i] - law.ppf(far)) @ mass
        areas[i] = ends if np.isfinite(ends) else areas[i]
    return float(areas.mean())


def _permuted(x: np.ndarray, y: np.ndarray, value: float) -> float:
    """The share of relabellings of both samples that lie as far apart, the one at hand among them."""
    rng, pooled = np.random.default_rng(SEED), np.concatenate([x, y])
    order = np.argsort(pooled, kind="stable")
    gaps, label = np.diff(pooled[order]), np.where(order < len(x), 1 / len(x), -1 / len(y))
    far = sum(
        float(np.abs(np.cumsum(rng.permutation(label))[:-1]) @ gaps) >= value * (1 - 1e-12) for _ in range(PERMUTATIONS)
    )
    return (1 + far) / (1 + PERMUTATIONS)
