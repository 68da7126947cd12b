"""Which patterns of sides of kinks random points would hardly ever show."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
USUAL = 0.03
"""Share of random points above which two sides together count as seen by chance."""
PAIRED = 64
"""Kinks up to which two sides together count, and not each by itself alone."""
MOST = 96
"""Patterns that are picked."""


def rare(usual: Array, found: Array) -> list[int]:
    """Columns of `found` (kinks, m) that show sides, or two sides together, which columns of `usual` (kinks, n) show
    seldom or never; of those that were found last first."""
    paired = len(found) <= PAIRED
    at_chance, sides = _both(usual).astype(float), _both(found)
    share = at_chance @ at_chance.T if paired else (at_chance**2).sum(axis=1)
    seen = share >= USUAL * usual.shape[1]
    chosen: list[int] = []
    for j in range(found.shape[1] - 1, -1, -1):
        shown = np.flatnonzero(sides[:, j])
        here = np.ix_(shown, shown) if paired else shown
        if not seen[here].all() and len(chosen) < MOST:
            seen[here] = True
            chosen.append(j)
    return chosen


def _both(sides: Array) -> Array:
    return np.concatenate([sides == 1, sides == 0])
