"""Mergeable statistics: count, mean, sum of squared deviations, minimum, maximum, in float64.

An accumulator has shape (saves, O, 5). Two are merged exactly as one pass over both sets would give (Chan,
Golub, LeVeque, 1979).
"""

from functools import cache
from typing import Any

import numpy as np
from numba import types

from ..options import inlined, inner, kernel
from .lanes import deviations, extremes

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


@inlined
def less(a, b):
    return a if a < b else b


@inlined
def more(a, b):
    return a if a > b else b


@inlined
def merge_sums(a, count, shift, sums, low, high):
    """Merge `count` lanes into cell a. sums: of their deviations from shift, and of the squares of those."""
    deviation = sums[0] / count
    m2 = max(sums[1] - sums[0] * deviation, 0.0)
    merge_cell(a, np.float64(count), shift + deviation, m2, low, high)


@inner
def add_row(a, row, dead, valid, scratch, whole=False):
    """Merge lanes 0..valid-1 of `row` that are alive (dead == -1) and finite into cell a; scratch: a float64 row;
    whole: whether all lanes are known to be alive and to count.

    Deviations are from one lane alive (within sqrt(lanes) standard deviations of the mean, so the squares cancel by
    that at most), summed over every fourth lane side by side: an order that no vector width changes.
    """
    if whole:
        least, most = extremes(row)
        if least - least == 0 and most - most == 0 and least != 0 and most != 0:  # zeros have signs, of some lane
            shift = np.float64(row[0])
            merge_sums(a, np.int64(len(row)), shift, deviations(row, shift), np.float64(least), np.float64(most))
            return
    chosen = 0
    while chosen < valid and (dead[chosen] >= 0 or row[chosen] - row[chosen] != 0):
        chosen += 1
    if chosen == valid:
        return
    shift, count = np.float64(row[chosen]), np.int64(0)
    for i in range(len(row)):
        kept = (dead[i] < 0) & (i < valid) & (row[i] - row[i] == 0)
        scratch[i] = np.float64(row[i]) if kept else shift
        count += np.int64(1) if kept else np.int64(0)
    l0 = l1 = l2 = l3 = h0 = h1 = h2 = h3 = shift
    for i in range(0, len(row), 4):
        v0, v1, v2, v3 = scratch[i], scratch[i + 1], scratch[i + 2], scratch[i + 3]
        l0, l1, l2, l3 = less(l0, v0), less(l1, v1), less(l2, v2), less(l3, v3)
        h0, h1, h2, h3 = more(h0, v0), more(h1, v1), more(h2, v2), more(h3, v3)
    low, high = less(less(l0, l1), less(l2, l3)), more(more(h0, h1), more(h2, h3))
    merge_sums(a, count, shift, deviations(scratch, shift), low, high)


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
