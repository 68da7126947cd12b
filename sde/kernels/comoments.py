"""Means and summed products of deviations of chosen observables, two passes over the paths of one chunk, in float64."""

from functools import cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from .options import kernel


def _comoments(rows, valid, chosen, dead, saves, count, mean, product):
    for k in range(rows.shape[0]):
        last = saves[k]
        for a in range(len(chosen)):
            row, total, alive = rows[k, chosen[a]], 0.0, 0
            for i in range(valid):
                if dead[i] < 0 or dead[i] > last:
                    total += np.float64(row[i])
                    alive += 1
            count[k] = alive
            mean[k, a] = total / alive if alive > 0 else 0.0
        for a in range(len(chosen)):
            for b in range(a + 1):
                left, right, total = rows[k, chosen[a]], rows[k, chosen[b]], 0.0
                for i in range(valid):
                    if dead[i] < 0 or dead[i] > last:
                        total += (np.float64(left[i]) - mean[k, a]) * (np.float64(right[i]) - mean[k, b])
                product[k, a, b] = total
                product[k, b, a] = total


@cache
def _compiled(name: str) -> Any:
    real, i1 = from_dtype(np.dtype(name)), types.Array(types.int64, 1, "C")
    d1, d2, d3 = (types.Array(types.float64, n, "C") for n in (1, 2, 3))
    return kernel(_comoments, types.void(types.Array(real, 3, "C"), types.int64, i1, i1, i1, d1, d2, d3))


def load(dtype: Any) -> None:
    """Compile now, or load from the cache."""
    _compiled(np.dtype(dtype).name)


def comoments(
    rows: np.ndarray, valid: int, chosen: np.ndarray, dead: np.ndarray, saves: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """count (saves,), mean (saves, M), product (saves, M, M) of observables `chosen` (M,) int64 over columns 0..valid-1 of rows
    (saves, O, n); a path counts until the state number `dead` (n,) at which it left."""
    shape = len(saves), len(chosen)
    out = np.zeros(shape[0]), np.zeros(shape), np.zeros((*shape, shape[1]))
    _compiled(rows.dtype.name)(rows, valid, chosen, dead, saves, *out)
    return out


def merge(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both sets together (Chan, Golub, LeVeque, 1979)."""
    count = a[0] + b[0]
    share = np.divide(b[0], count, out=np.zeros_like(count), where=count > 0)
    delta = b[1] - a[1]
    mean = a[1] + delta * share[:, None]
    product = a[2] + b[2] + delta[:, :, None] * delta[:, None, :] * (a[0] * share)[:, None, None]
    return count, mean, product
