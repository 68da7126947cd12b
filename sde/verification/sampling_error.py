"""What samples tell of the error of their mean, and what they do not: the guard of every claim about a mean."""

from __future__ import annotations

import math

import numpy as np

MOST_SKEW = 0.2
"""Skewness of a mean up to which Student's law is believed: n samples of skewness G have one of G/sqrt(n), so this is
n >= 25 G^2 (Cochran 1977, section 2.15)."""

FAR, UNTOLD = 1e6, 2**62
"""Skewness that is beyond all samples, as where squares overflow, and how many are said to be enough then."""


def enough(samples: int, skewness: float) -> int:
    """Samples from which on Student's law is believed. skewness: of the mean of those at hand."""
    return math.ceil(samples * (skewness / MOST_SKEW) ** 2) if abs(skewness) < FAR else UNTOLD


def lacking(samples: int, least: int, rare: int, unit: str = "paths") -> str:
    """What is said of samples that are fewer than `least`, as their values are skew, or than the data's rare values
    ask for; empty where they are enough."""
    if samples < least:
        return f"the values are skew: {samples} {unit} do not tell the error of their mean"
    return f"the data have rare values: {samples} {unit} do not tell of them" if samples < rare else ""


def skewness_of_mean(values: np.ndarray) -> float:
    """Of independent values (n,), as they tell it; 0 where they are alike."""
    with np.errstate(all="ignore"):
        spread = float(np.std(values))
        return float((((values - values.mean()) / spread) ** 3).mean()) / math.sqrt(len(values)) if spread else 0.0


def skewness_of_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Of the means of two independent samples, (n,) and (m,), at most."""
    with np.errstate(all="ignore"):
        parts = [(np.var(x) / len(x), float(((x - x.mean()) ** 3).mean()) / len(x) ** 2) for x in (a, b)]
    variance, third = np.array(parts).T
    return skewness_of_sum(np.ones(2), variance, third)


def skewness_of_sum(weights: np.ndarray, variance: np.ndarray, third: np.ndarray) -> float:
    """Of sum_k w_k X_k, at most, the X_k independent with these second and third central moments; all (n,)."""
    with np.errstate(all="ignore"):
        scale = math.sqrt(float((weights**2 * variance).sum()))
        return float((np.abs(weights / scale) ** 3 * np.abs(third)).sum()) if scale else 0.0
