"""The noise of SGD's single steps: many from the same state, less their mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sde.verification import rounding

STATES, EACH = 64, 512
"""How many states noise is looked at, and steps from each."""


@dataclass(frozen=True)
class StepNoise:
    """Steps from states (n, D) to (n, each, D)."""

    states: np.ndarray
    after: np.ndarray

    @cached_property
    def noise(self) -> np.ndarray:
        """Of every step, (n, each, D), scaled so that its mean square is the variance."""
        each = self.after.shape[1]
        centred: np.ndarray = self.after - self.after.mean(axis=1, keepdims=True)
        return centred * np.sqrt(each / (each - 1))

    @cached_property
    def rounding(self) -> np.ndarray:
        """What float arithmetic can make of each parameter over a step, (n, D)."""
        step = np.abs(self.after - self.states[:, None]).max(axis=1)
        return rounding.of_states(np.abs(self.states) + step)


def visited(pool: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The starts (k, D), and states of a pool (n, D) at random."""
    chosen = np.random.default_rng(19).permutation(len(pool))[: max(STATES - len(starts), 0)]
    return np.concatenate([starts, pool[chosen]])


def measure(states: np.ndarray, step: Callable[[np.ndarray], np.ndarray | None]) -> StepNoise:
    """From states (n, D), those that explode left out. step: a single one from each of many states."""
    n, d = states.shape
    found = step(np.repeat(states, EACH, axis=0))
    after = np.empty((n, EACH, d)) * np.nan if found is None else found.reshape(n, EACH, d)
    whole = np.asarray(np.isfinite(after).all(axis=(1, 2)))
    return StepNoise(states[whole], after[whole])
