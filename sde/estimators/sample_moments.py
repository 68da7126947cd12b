"""Moments of a sample that merge: those of two parts give those of the whole, without the numbers themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Moments:
    """count, mean, sums of squares, cubes and fourth powers about the mean, least and greatest number.

    Source: Pebay, Terriberry, Kolla, Bennett, Comput. Stat. 31 (2016) 1305, eqs 2.1 to 2.6.
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Of a vector of numbers, in double precision, about their own mean."""
        x = np.asarray(values, dtype=np.float64)
        if not x.size:
            return cls()
        mean = float(x.mean())
        with np.errstate(over="ignore", invalid="ignore"):
            d = x - mean
            square = d * d
            sums = (float(square.sum()), float((square * d).sum()), float((square * square).sum()))
        return cls(x.size, mean, *sums, float(x.min()), float(x.max()))

    def merge(self, other: Moments) -> Moments:
        """Of both samples together."""
        if not self.count or not other.count:
            return self if self.count else other
        m, n = self.count, other.count
        total, d = m + n, other.mean - self.mean
        a, b = m / total, n / total
        m2 = self.m2 + other.m2 + d * d * m * b
        cube = d * d * d  # a product of floats is infinite where a power is an error
        m3 = self.m3 + other.m3 + cube * m * b * (a - b) + 3 * d * (a * other.m2 - b * self.m2)
        m4 = (
            self.m4
            + other.m4
            + cube * d * m * b * (a * a - a * b + b * b)
            + 6 * d * d * (a * a * other.m2 + b * b * self.m2)
            + 4 * d * (a * other.m3 - b * self.m3)
        )
        return Moments(total, self.mean + d * b, m2, m3, m4, min(self.low, other.low), max(self.high, other.high))

    @property
    def variance(self) -> float:
        """Unbiased; NaN for fewer than two numbers."""
        return self.m2 / (self.count - 1) if self.count > 1 else float("nan")

    @property
    def sem(self) -> float:
        """Standard error of the mean."""
        return (self.variance / self.count) ** 0.5 if self.count else float("nan")

    @property
    def kurtosis(self) -> float:
        """Fourth moment over the variance's square, 3 for a normal law; NaN where the variance is 0."""
        return self.count * (self.m4 / self.m2) / self.m2 if self.m2 > 0 and np.isfinite(self.m4) else float("nan")

    @property
    def variance_error(self) -> float:
        """Relative standard error of the variance, sqrt((kurtosis - 1) / count); 0 where the variance is 0."""
        return max(self.kurtosis - 1, 0.0) ** 0.5 / self.count**0.5 if self.kurtosis == self.kurtosis else 0.0


Parts = tuple[Moments, Moments | None, Moments]
"""Moments of f at a level's step, at the longer step, and of the difference."""


class Memory(Protocol):
    """What samples gave before an interruption, by their (level, first, count, coarse)."""

    def recall(self, key: tuple[int, int, int, bool]) -> Parts | None: ...
    def keep(self, key: tuple[int, int, int, bool], parts: Parts) -> None: ...
