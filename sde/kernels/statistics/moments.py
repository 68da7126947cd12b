"""Mergeable statistics: count, mean, sum of squared deviations, minimum, maximum, in float64.

An accumulator has shape (saves, O, 5). Two are merged exactly as one pass over both sets would give (Chan,
Golub, LeVeque, 1979).
"""

from functools import cache
from typing import Any

import numpy as np

from ..machine_code import kernel
from ..options import inlined, inner
from .lanes import summary

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
def merge_summary(a, count, shift, found):
    """Merge `count` lanes into cell a; found: see `summary`."""
    deviation = found[0] / count
    m2 = max(found[1] - found[0] * deviation, 0.0)
    merge_cell(a, np.float64(count), shift + deviation, m2, found[2], found[3])


@inlined
def add_row(a, row, dead, valid, scratch, whole, target):
    """Merge lanes 0..valid-1 of `row` that are alive (dead == -1) and finite into cell a; scratch: a float64 row;
    whole: whether all lanes are known to be alive and to count, and then row goes into target, which may be row.

    Deviations are from one lane alive (within sqrt(lanes) standard deviations of the mean, so the squares cancel by
    that at most).
    """
    if whole:
        shift = np.float64(row[0])
        found = summary(row, shift, target)
        if found[1] - found[1] == 0:
            merge_summary(a, np.int64(len(row)), shift, found)
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
    merge_summary(a, count, shift, summary(scratch, shift, scratch))


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
