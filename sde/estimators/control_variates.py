"""Means of observables with what has mean 0 taken off: regression on control variates, its coefficients from other
paths than those it is used on (docs/theory.md eq. (6.5))."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sde.estimators.weak_error import Sample

PATHS_PER_CONTROL, MORE_PATHS = 5, 20
"""Paths that a fold must have for each control variate, and beside."""


@dataclass(frozen=True)
class Moments:
    """count: paths seen; mean: of P numbers, (P,); cross: sums of products about the mean, (P, P)."""

    count: int
    mean: np.ndarray
    cross: np.ndarray

    @classmethod
    def none(cls, size: int) -> Moments:
        return cls(0, np.zeros(size), np.zeros((size, size)))

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """values: (P, n)."""
        if not values.shape[1]:
            return cls.none(len(values))
        mean = values.mean(axis=1)
        apart = values - mean[:, None]
        return cls(values.shape[1], mean, apart @ apart.T)

    def merge(self, other: Moments) -> Moments:
        """Of both together."""
        if not self.count or not other.count:
            return self if self.count else other
        total = self.count + other.count
        gap, share = other.mean - self.mean, other.count / total
        cross = self.cross + other.cross + np.outer(gap, gap) * (self.count * share)
        return Moments(total, self.mean + gap * share, cross)

    def seen(self, by: np.ndarray) -> Moments:
        """Of by @ numbers."""
        return Moments(self.count, by @ self.mean, by @ self.cross @ by.T)


@dataclass(frozen=True)
class Controlled:
    """Two folds of paths: each path's `size` observables, and in each of `windows` of time its control variates, whose
    means are 0, the first `common` of them many and of less worth each."""

    size: int
    common: int
    windows: int
    folds: tuple[Moments, Moments]

    @classmethod
    def none(cls, size: int) -> Controlled:
        empty = Moments.none(size)
        return cls(size, 0, 0, (empty, empty))

    @classmethod
    def of(cls, values: np.ndarray, controls: np.ndarray, common: int, first: int = 0) -> Controlled:
        """values: (F, n); controls: (windows, Q, n); first: number of the first path, whose parity is its fold."""
        rows = np.concatenate([values, controls.reshape(-1, values.shape[1])])
        return cls(
            len(values),
            common,
            len(controls),
            (Moments.of(rows[:, first % 2 :: 2]), Moments.of(rows[:, 1 - first % 2 :: 2])),
        )

    def merge(self, other: Controlled) -> Controlled:
        """Of both together."""
        one, two = (a.merge(b) for a, b in zip(self.folds, other.folds, strict=True))
        return Controlled(self.size, max(self.common, other.common), max(self.windows, other.windows), (one, two))

    @property
    def plain(self) -> Sample:
        """The observables as they are."""
        both = self.folds[0].merge(self.folds[1])
        return Sample(both.count, both.mean[: self.size], np.diag(both.cross)[: self.size])

    @cached_property
    def sample(self) -> Sample:
        """The observables less their regression on as many controls as the paths allow; a fold's coefficients come from
        the other, so that the mean has no bias. m2 is that of as many independent numbers with this standard error."""
        chosen = self._affordable()
        if not len(chosen):
            return self.plain
        keep = np.eye(self.size, len(self.folds[0].mean))
        one, two = (f.seen(np.concatenate([keep, chosen])) for f in self.folds)
        total = one.count + two.count
        mean, variance = np.zeros(self.size), np.zeros(self.size)
        for own, other in ((one, two), (two, one)):
            taken = np.concatenate([np.eye(self.size), -_coefficients(other, self.size)]).T
            found, share = own.seen(taken), own.count / total
            mean += share * found.mean
            variance += share**2 * np.diag(found.cross) / (own.count - 1) / own.count
        return Sample(total, mean, np.maximum(variance, 0) * (total - 1) * total)

    def _affordable(self) -> np.ndarray:
        """The controls that coefficients are found for, (Q, P): those of all windows, of windows together, or at last
        without those in common."""
        if not self.windows:
            return np.zeros((0, 0))
        each = (len(self.folds[0].mean) - self.size) // self.windows
        fewest = min(f.count for f in self.folds)
        spans = [w for w in range(self.windows, 0, -1) if self.windows % w == 0]
        for windows, first in [*((w, 0) for w in spans), (1, self.common)]:
            count = windows * (each - first)
            if fewest >= PATHS_PER_CONTROL * count + MORE_PATHS:
                joined = np.kron(np.eye(windows), np.ones((1, self.windows // windows)))
                chosen = np.kron(joined, np.eye(each)[first:])
                return np.concatenate([np.zeros((count, self.size)), chosen], axis=1)
        return np.zeros((0, 0))


def _coefficients(moments: Moments, size: int) -> np.ndarray:
    """Of the regression of the first `size` numbers on the others, (P - size, size)."""
    scale = np.sqrt(np.diag(moments.cross)[size:])
    scale = np.where(scale > 0, scale, 1.0)
    correlation = moments.cross[size:, size:] / np.outer(scale, scale)
    found: np.ndarray = np.linalg.pinv(correlation, rcond=1e-9, hermitian=True)
    return found @ (moments.cross[size:, :size] / scale[:, None]) / scale[:, None]
