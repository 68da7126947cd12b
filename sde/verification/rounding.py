"""What float arithmetic can make of states, charges and observables: below that nothing is measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

UNIT = float(np.finfo(np.float64).eps)
"""Twice what rounding a number to the nearest changes it by, over its size."""
OPERATIONS = 4
"""Roundings of its size that a step leaves in a charge, at the most."""
TIMES = 64
"""Roundings that may add up in a state over a step, or in an observable, at the most: of sums within gradients too."""
PROBES, NUDGE = 8, 1e-6
"""Directions in which an observable's slope is looked at, and how far, over the parameters."""


def of_charge(size: np.ndarray) -> np.ndarray:
    """Of a charge's change over a step; size: the magnitude of what enters it."""
    return OPERATIONS * UNIT * size


def of_states(size: np.ndarray, steps: int = 1) -> np.ndarray:
    """Of parameters of such sizes over so many steps."""
    return TIMES * UNIT * max(steps, 1) * size


def of_observable(value: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, steps: int) -> float:
    """Of value(theta), theta (D,), after so many steps: by its slopes along random signs of the parameters."""
    signs = np.random.default_rng(7).choice([-1.0, 1.0], (PROBES, len(theta)))
    with np.errstate(all="ignore"):
        found = value(np.concatenate([theta[None], theta * (1 + NUDGE * signs)]))
        slope = float(np.abs(found[1:] - found[0]).max(initial=0.0)) / NUDGE
    slope = slope if np.isfinite(slope) else 0.0
    return float(of_states(np.array(slope + abs(float(found[0]))), steps))
