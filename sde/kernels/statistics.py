"""Mergeable statistics: count, mean, sum of squared deviations, minimum, maximum, in float64.

An accumulator has shape (saves, O, 5). Two are merged exactly as one pass over both sets would give (Chan,
Golub, LeVeque, 1979).
"""

from functools import cache
from typing import Any

import numpy as np
from numba import types

from .options import inlined, inner, kernel

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


@inner
def quarters(row, count):
    """Four slices of `count` entries."""
    return row[:count], row[count : 2 * count], row[2 * count : 3 * count], row[3 * count :]


@inner
def add_row(a, row, dead, valid, scratch):
    """Merge lanes 0..valid-1 of `row` that are alive (dead == -1) into cell a; scratch: two float64 rows.

    One pass over deviations from one lane alive (within sqrt(lanes) standard deviations of the mean, so the squares
    cancel by that at most), four quarters of the lanes side by side: an order that no vector width changes.
    """
    chosen = 0
    while chosen < valid and dead[chosen] >= 0:
        chosen += 1
    if chosen == valid:
        return
    lanes, shift = len(row), np.float64(row[chosen])
    value, count = scratch[:lanes], np.int64(0)
    for i in range(lanes):
        kept = (dead[i] < 0) & (i < valid)
        value[i] = np.float64(row[i]) if kept else shift
        count += np.int64(1) if kept else np.int64(0)
    width = lanes // 4
    v0, v1, v2, v3 = quarters(value, width)
    total, squares, low, high = quarters(scratch[lanes:], width)
    for i in range(width):
        low[i] = less(less(v0[i], v1[i]), less(v2[i], v3[i]))
        high[i] = more(more(v0[i], v1[i]), more(v2[i], v3[i]))
    for i in range(width):
        d0, d1, d2, d3 = v0[i] - shift, v1[i] - shift, v2[i] - shift, v3[i] - shift
        total[i] = (d0 + d1) + (d2 + d3)
        squares[i] = (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
    all_total, all_squares, lowest, highest = 0.0, 0.0, shift, shift
    for i in range(width):
        all_total += total[i]
        all_squares += squares[i]
        lowest, highest = less(lowest, low[i]), more(highest, high[i])
    deviation = all_total / count
    m2 = max(all_squares - all_total * deviation, 0.0)
    merge_cell(a, np.float64(count), shift + deviation, m2, lowest, highest)


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
