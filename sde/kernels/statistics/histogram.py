"""Counts between edges that a user chose."""

from functools import cache
from typing import Any

import numpy as np

from ..machine_code import kernel


def _count(rows, valid, observable, edges, table):
    most = len(edges)
    for k in range(rows.shape[0]):
        row = rows[k, observable]
        for i in range(valid):
            x = np.float64(row[i])
            if x - x == 0:
                low, high = 0, most
                while low < high:
                    middle = (low + high) // 2
                    if edges[middle] <= x:
                        low = middle + 1
                    else:
                        high = middle
                table[k, low] += 1


@cache
def _compiled(name: str) -> Any:
    return kernel(_count, np.empty((0, 0, 0), name), 0, 0, np.empty(0), np.empty((0, 0), np.int64))


def load(dtype: Any) -> None:
    """Compile now, or load from the cache."""
    _compiled(np.dtype(dtype).name)


def count(rows: np.ndarray, valid: int, observable: int, edges: np.ndarray, table: np.ndarray) -> None:
    """Count columns 0..valid-1 of rows[:, observable] (saves, n) into table (saves, M + 1) int64: bin j holds edges[j -
    1] <= x < edges[j] for edges (M,) float64, the first and the last bin what lies outside. What is not a finite number
    is not counted. Releases the GIL.
    """
    _compiled(rows.dtype.name)(rows, valid, observable, edges, table)
