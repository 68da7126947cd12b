"""Mergeable statistics: count, mean, sum of squared deviations, minimum, maximum, in float64.

An accumulator has shape (saves, O, 5). Two are merged exactly as one pass over both sets would give (Chan,
Golub, LeVeque, 1979).
"""

from functools import cache
from typing import Any

import numpy as np

from ..machine_code import kernel
from ..options import inlined, inner

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
def add_row(a, row, dead, valid, scratch):
    """Merge lanes 0..valid-1 of `row` that are alive (dead == -1) and finite into cell a; scratch: a float64 row.

    Deviations are from one lane alive (within sqrt(lanes) standard deviations of the mean, so the squares cancel by
    that at most), summed over every fourth lane side by side: an order that no vector width changes.
    """
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
    t0 = t1 = t2 = t3 = s0 = s1 = s2 = s3 = 0.0
    l0 = l1 = l2 = l3 = h0 = h1 = h2 = h3 = shift
    for i in range(0, len(row), 4):
        v0, v1, v2, v3 = scratch[i], scratch[i + 1], scratch[i + 2], scratch[i + 3]
        d0, d1, d2, d3 = v0 - shift, v1 - shift, v2 - shift, v3 - shift
        t0, t1, t2, t3 = t0 + d0, t1 + d1, t2 + d2, t3 + d3
        s0, s1, s2, s3 = s0 + d0 * d0, s1 + d1 * d1, s2 + d2 * d2, s3 + d3 * d3
        l0, l1, l2, l3 = less(l0, v0), less(l1, v1), less(l2, v2), less(l3, v3)
        h0, h1, h2, h3 = more(h0, v0), more(h1, v1), more(h2, v2), more(h3, v3)
    all_total, all_squares = (t0 + t1) + (t2 + t3), (s0 + s1) + (s2 + s3)
    low, high = less(less(l0, l1), less(l2, l3)), more(more(h0, h1), more(h2, h3))
    deviation = all_total / count
    m2 = max(all_squares - all_total * deviation, 0.0)
    merge_cell(a, np.float64(count), shift + deviation, m2, low, high)


def _merge(a, b):
    for k in range(a.shape[0]):
        for o in range(a.shape[1]):
            cell = b[k, o]
            merge_cell(a[k, o], cell[COUNT], cell[MEAN], cell[M2], cell[LOW], cell[HIGH])


@cache
def _merger() -> Any:
    cells = np.empty((0, 0, 0))
    return kernel(_merge, cells, cells)


def load() -> None:
    """Compile now, or load from the cache."""
    _merger()


def merge(a: np.ndarray, b: np.ndarray) -> None:
    """a becomes the statistics of both sets; accumulators (saves, O, 5) float64, C order."""
    _merger()(a, b)
