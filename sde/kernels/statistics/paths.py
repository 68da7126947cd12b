"""Moments of saved rows, where the loop has not made them."""

from functools import cache
from typing import Any

import numpy as np

from ..machine_code import kernel
from .moments import add_row


def _summarise(rows, count, lanes, dead, saves, cells, flags, scratch):
    for first in range(0, count, lanes):
        valid = min(lanes, count - first)
        for k in range(len(saves)):
            for i in range(lanes):
                flags[i] = np.int64(-1)
                if i < valid and dead[first + i] >= 0 and dead[first + i] <= saves[k]:
                    flags[i] = np.int64(0)
            for o in range(rows.shape[1]):
                row = rows[k, o, first : first + lanes]
                add_row(cells[k, o], row, flags, valid, scratch, False, row)


@cache
def _compiled(name: str) -> Any:
    i, f = np.empty(0, np.int64), np.empty(0)
    return kernel(_summarise, np.empty((0, 0, 0), name), 0, 0, i, i, np.empty((0, 0, 0)), i, f)


def load(dtype: Any) -> None:
    """Compile now, or load from the cache."""
    _compiled(np.dtype(dtype).name)


def summarise(rows: np.ndarray, count: int, lanes: int, dead: np.ndarray, saves: np.ndarray, cells: np.ndarray) -> None:
    """Merge columns 0..count-1 of rows (saves, O, n), n whole blocks of `lanes`, into cells (saves, O, 5), a block at a
    time; dead (count,): the state number from which on a path does not count, -1 for never. Releases the GIL."""
    if rows.shape[2] < -(-count // lanes) * lanes:
        raise ValueError(f"kernels.statistics: rows must hold whole blocks of {lanes}; got {rows.shape[2]} (int).")
    flags, scratch = np.empty(lanes, np.int64), np.empty(lanes)
    _compiled(rows.dtype.name)(rows, count, lanes, dead, saves, cells, flags, scratch)
