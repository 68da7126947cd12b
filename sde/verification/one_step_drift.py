"""The mean drift of charges, measured by very many single steps from states that SGD visits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sde.verification.setting import Setting
from sde.verification.theory_numbers import Theory

STATES, BATCH, MOST = 512, 131_072, 2_097_152
"""Mean drift: how many states it is measured at, single steps per run, and how many steps at the most."""
FINE = 4
"""The SDE's step is the learning rate over this."""


class Memory(Protocol):
    """What was computed before an interruption."""

    def load(self) -> dict[str, np.ndarray]: ...
    def save(self, state: dict[str, np.ndarray]) -> object: ...


@dataclass(frozen=True)
class Prediction:
    """Of every charge at n states: predicted mean change over a step and its gross size, both (n, charges)."""

    states: np.ndarray
    change: np.ndarray
    size: np.ndarray


@dataclass(frozen=True)
class Drift:
    """What was predicted, and measured: mean change and the variance of that mean, both (n, charges). repeats: steps
    from each state."""

    predicted: Prediction
    mean: np.ndarray
    variance: np.ndarray
    repeats: int


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
    return Prediction(states, *theory.step_change(states, h, variance))


def measure(
    theory: Theory,
    predicted: Prediction,
    step: Callable[[np.ndarray, int], np.ndarray | None],
    margin: float,
    memory: Memory | None,
) -> Drift:
    """Mean measured change of every charge at every state. step: a single one from each state, None where there
    are no more. The number of steps follows from the scatter, not from the outcome. memory: of the sums so far."""
    states, moving = predicted.states, theory.moving
    n, each = len(states), max(1, BATCH // len(states))
    before = theory.values(states)
    total, squares, repeats, kept = np.zeros_like(before), np.zeros_like(before), 0, memory.load() if memory else {}
    if kept:
        total, squares, repeats = kept["total"], kept["squares"], int(kept["repeats"])
    mean = spread = np.zeros_like(before)
    while True:
        if not kept:
            after = step(np.repeat(states, each, axis=0), repeats)
            if after is None:
                return Drift(predicted, mean, spread, repeats)
            moved = theory.values(after).reshape(n, each, -1) - before[:, None, :]
            total, squares, repeats = total + moved.sum(axis=1), squares + (moved**2).sum(axis=1), repeats + each
            if memory:
                memory.save({"total": total, "squares": squares, "repeats": np.array(repeats)})
        kept = {}
        mean = total / repeats
        spread = np.maximum(squares / repeats - mean**2, 0.0) / max(repeats - 1, 1)
        unit = np.maximum(predicted.size[:, moving], 1e-150)
        p = predicted.change[:, moving] / unit
        weight = np.maximum((p**2).sum(axis=0), 1e-150)
        error = np.sqrt((p**2 * spread[:, moving] / unit**2).sum(axis=0)) / weight
        if (error < margin / 8).all() or repeats * n >= MOST:
            return Drift(predicted, mean, spread, repeats)
