"""Mergeable statistics: count, mean, sum of squared deviations, minimum, maximum, in float64.

An accumulator has shape (saves, O, 5). Two are merged exactly as one pass over both sets would give (Chan,
Golub, LeVeque, 1979).
"""

from functools import cache
from typing import Any

import numpy as np
from numba import types

from .options import inner, kernel

COUNT, MEAN, M2, LOW, HIGH = range(5)


def empty(saves: int, observables: int) -> np.ndarray:
    """Accumulator of nothing."""
    out = np.zeros((saves, observables, 5))
    out[:, :, LOW], out[:, :, HIGH] = np.inf, -np.inf
    return out


@inner
def merge_cell(a, count, mean, m2, low, high):
    """Merge one set's statistics into cell a (5,)."""
    if count == 0:
        return
    total = a[COUNT] + count
    delta = mean - a[MEAN]
    if a[COUNT] == 0:
        a[MEAN], a[M2] = mean, m2
    else:
        a[M2] += m2 + delta * delta * (a[COUNT] * count / total)
        a[MEAN] += delta * (count / total)
    a[COUNT] = total
    a[LOW] = min(a[LOW], low)
    a[HIGH] = max(a[HIGH], high)


@inner
def add_row(a, row, dead, valid):
    """Merge lanes 0..valid-1 of `row` that are alive (dead == -1) into cell a; two passes, so no
    cancellation.
    """
    count, total = 0, 0.0
    low, high = np.inf, -np.inf
    for i in range(valid):
        if dead[i] < 0:
            value = np.float64(row[i])
            count += 1
            total += value
            low = min(low, value)
            high = max(high, value)
    if count == 0:
        return
    mean = total / count
    m2 = 0.0
    for i in range(valid):
        if dead[i] < 0:
            deviation = np.float64(row[i]) - mean
            m2 += deviation * deviation
    merge_cell(a, np.float64(count), mean, m2, low, high)


def _merge(a, b):
    for k in range(a.shape[0]):
        for o in range(a.shape[1]):
            cell = b[k, o]
            merge_cell(a[k, o], cell[COUNT], cell[MEAN], cell[M2], cell[LOW], cell[HIGH])


@cache
def _merger() -> Any:
    cells = types.Array(types.float64, 3, "C")
    return kernel(_merge, types.void(cells, cells))


def merge(a: np.ndarray, b: np.ndarray) -> None:
    """a becomes the statistics of both sets; accumulators (saves, O, 5) float64, C order."""
    _merger()(a, b)
