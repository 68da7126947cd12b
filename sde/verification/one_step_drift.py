"""The mean drift of charges, measured by very many single steps from states that SGD visits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sde.verification import rounding
from sde.verification.sampling_error import MOST_SKEW, skewness_of_sum
from sde.verification.setting import Setting
from sde.verification.theory_numbers import Theory

STATES, BATCH, MOST = 512, 131_072, 2_097_152
"""Mean drift: how many states it is measured at, single steps per run, and how many steps at the most."""
SHARE = 1 / 8
"""Of the margin: up to which errors of a mean drift count as small."""
LEAST = 1e-100
"""Below which changes count as none: their cubes would be."""
FINE = 4
"""The SDE's step is the learning rate over this."""


class Memory(Protocol):
    """What was computed before an interruption."""

    def load(self) -> dict[str, np.ndarray]: ...
    def save(self, state: dict[str, np.ndarray]) -> object: ...


@dataclass(frozen=True)
class Prediction:
    """Of every charge at n states: predicted mean change over a step, its gross size, and what float arithmetic can
    make of it, all (n, charges)."""

    states: np.ndarray
    change: np.ndarray
    size: np.ndarray
    rounding: np.ndarray

    def resolved(self, margin: float) -> np.ndarray:
        """Where rounding is less than `SHARE` of the margin, (n, charges): other states do not count."""
        return self.rounding < SHARE * margin * np.abs(self.change)

    def against(self, j: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
        """(numbers to hold a charge's change against, (n,); which states count, (n,)). Where none is resolved all
        count, each with the least change that would be, so that only far more of it shows."""
        counted = self.resolved(margin)[:, j]
        if counted.any():
            return self.change[:, j], counted
        least = np.maximum(self.rounding[:, j] / (SHARE * margin), LEAST)
        return np.copysign(np.maximum(np.abs(self.change[:, j]), least), self.change[:, j]), ~counted


@dataclass(frozen=True)
class Slope:
    """Of measured on predicted changes: its value, standard error and skewness."""

    value: float
    error: float
    skewness: float


@dataclass(frozen=True)
class Drift:
    """What was predicted, and measured: mean change, and the variance and third central moment of that mean, all
    (n, charges). repeats: steps from each state."""

    predicted: Prediction
    mean: np.ndarray
    variance: np.ndarray
    third: np.ndarray
    repeats: int

    def slope(self, j: int, margin: float) -> Slope:
        """Of a charge, over the states that count; what rounding may make of a mean is part of its error."""
        (x, counted), size = self.predicted.against(j, margin), self.predicted.size[:, j]
        unit = np.maximum(np.maximum(size, np.abs(x)), LEAST)[counted]
        mean, variance, third = (a[counted, j] for a in (self.mean, self.variance, self.third))
        variance = variance / unit**2 + (self.predicted.rounding[counted, j] / unit) ** 2
        return slope_through_origin(x[counted] / unit, mean / unit, variance, third / unit**3)


def slope_through_origin(x: np.ndarray, y: np.ndarray, variance: np.ndarray, third: np.ndarray) -> Slope:
    """Slope of y on x, y of the given variance and third central moment; all (n,)."""
    weight = float((x * x).sum())
    if weight <= 0:
        return Slope(np.nan, np.nan, 0.0)
    value, error = float((x * y).sum() / weight), float(np.sqrt((x * x * variance).sum()) / weight)
    return Slope(value, error, skewness_of_sum(x, variance, third))


def visited(theory: Theory, setting: Setting, pool: np.ndarray) -> np.ndarray:
    """States to measure at, of a pool (n, D): half of them at random, half where the theory predicts most."""
    rng, moving = np.random.default_rng(13), theory.moving
    pool = pool[rng.permutation(len(pool))[: 4 * STATES]]
    change, size = theory.step_change(pool, setting.learning_rate, setting.variance)
    strength = np.abs(change[:, moving] / np.maximum(size[:, moving], 1e-300)).max(axis=1)
    chosen = np.concatenate([np.arange(STATES // 2), STATES // 2 + np.argsort(-strength[STATES // 2 :])[: STATES // 2]])
    return pool[chosen[chosen < len(pool)]]


def predict(theory: Theory, states: np.ndarray, h: float, variance: float) -> Prediction:
    """For a step of length h whose gradient has covariance `variance` times Sigma."""
    change, size = theory.step_change(states, h, variance)
    return Prediction(states, change, size, rounding.of_charge(theory.sizes(states) + size))


def measure(
    theory: Theory,
    predicted: Prediction,
    step: Callable[[np.ndarray, int], np.ndarray | None],
    margin: float,
    memory: Memory | None,
    least: int = 0,
) -> Drift:
    """Mean measured change of every charge at every state. step: a single one from each state, None where there
    are no more. The number of steps follows from the scatter, not from the outcome; at least so many. memory: of the
    sums so far."""
    states, moving = predicted.states, theory.moving
    n, each = len(states), max(1, BATCH // len(states))
    sums, repeats, kept = np.zeros((4, n, len(theory.charges))), 0, memory.load() if memory else {}
    if kept:
        sums, repeats = kept["sums"], int(kept["repeats"])
    while True:
        if not kept:
            after = step(np.repeat(states, each, axis=0), repeats)
            if after is None:
                return _drift(predicted, sums, repeats)
            moved = theory.changes(states[:, None], after.reshape(n, each, -1))
            first = sums[0] if repeats else moved[:, 0]
            powers = [((moved - first[:, None]) ** k).sum(axis=1) for k in (1, 2, 3)]
            sums, repeats = np.array([first, *(sums[1:] + powers)]), repeats + each
            if memory:
                memory.save({"sums": sums, "repeats": np.array(repeats)})
        kept = {}
        found = _drift(predicted, sums, repeats)
        slopes = [found.slope(j, margin) for j in moving if predicted.resolved(margin)[:, j].any()]
        told = repeats * n >= least and all(s.error < SHARE * margin and s.skewness <= MOST_SKEW for s in slopes)
        if told or repeats * n >= MOST:
            return found


def _drift(predicted: Prediction, sums: np.ndarray, repeats: int) -> Drift:
    """From one change at each state, and sums of the first three powers of what others differ from it by: (4, n,
    charges)."""
    mean, square, cube = sums[1:] / max(repeats, 1)
    spread = np.maximum(square - mean**2, 0.0)
    third = cube - 3 * mean * square + 2 * mean**3
    return Drift(predicted, sums[0] + mean, spread / max(repeats - 1, 1), third / max(repeats, 1) ** 2, repeats)
