"""Means and summed products of deviations of pairs of chosen observables, two passes over the paths of one chunk, in
float64."""

from functools import cache
from typing import Any

import numpy as np

from ..machine_code import kernel


def _comoments(rows, valid, chosen, dead, saves, clean, count, mean, product):
    many = len(chosen)
    for k in range(rows.shape[0]):
        last = saves[k]
        for a in range(many):
            row, total, alive, living = rows[k, chosen[a]], 0.0, 0, 0
            for i in range(valid):
                if dead[i] < 0 or dead[i] > last:
                    living += 1
                    if row[i] - row[i] == 0:
                        total += np.float64(row[i])
                        alive += 1
            clean[a] = alive == living
            for b in range(many):
                count[k, a, b] = alive
                mean[k, a, b] = total / alive if alive > 0 else 0.0
        for a in range(many):
            for b in range(a + 1):
                left, right, total = rows[k, chosen[a]], rows[k, chosen[b]], 0.0
                if not (clean[a] and clean[b]):
                    first, second, both = 0.0, 0.0, 0
                    for i in range(valid):
                        if (dead[i] < 0 or dead[i] > last) and left[i] - left[i] == 0 and right[i] - right[i] == 0:
                            first += np.float64(left[i])
                            second += np.float64(right[i])
                            both += 1
                    count[k, a, b] = count[k, b, a] = both
                    mean[k, a, b] = first / both if both > 0 else 0.0
                    mean[k, b, a] = second / both if both > 0 else 0.0
                for i in range(valid):
                    if (dead[i] < 0 or dead[i] > last) and left[i] - left[i] == 0 and right[i] - right[i] == 0:
                        total += (np.float64(left[i]) - mean[k, a, b]) * (np.float64(right[i]) - mean[k, b, a])
                product[k, a, b] = total
                product[k, b, a] = total


@cache
def _compiled(name: str) -> Any:
    rows, i1, b1, d3 = np.empty((0, 0, 0), name), np.empty(0, np.int64), np.empty(0, np.bool_), np.empty((0, 0, 0))
    return kernel(_comoments, rows, 0, i1, i1, i1, b1, d3, d3, d3)


def load(dtype: Any) -> None:
    """Compile now, or load from the cache."""
    _compiled(np.dtype(dtype).name)


def comoments(
    rows: np.ndarray, valid: int, chosen: np.ndarray, dead: np.ndarray, saves: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """count, mean and product, each (saves, M, M), of pairs of observables `chosen` (M,) int64 over columns 0..valid-1
    of rows (saves, O, n); a path counts until the state number `dead` (n,) at which it left, in the pairs of which both
    numbers are finite; mean[k, a, b] is a's over the paths of the pair (a, b)."""
    count, mean, product = np.zeros((3, len(saves), len(chosen), len(chosen)))
    clean = np.zeros(len(chosen), np.bool_)
    _compiled(rows.dtype.name)(rows, valid, chosen, dead, saves, clean, count, mean, product)
    return count, mean, product


def merge(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both sets together (Chan, Golub, LeVeque, 1979)."""
    count = a[0] + b[0]
    share = np.divide(b[0], count, out=np.zeros_like(count), where=count > 0)
    delta = b[1] - a[1]
    mean = a[1] + delta * share
    product = a[2] + b[2] + delta * np.swapaxes(delta, 1, 2) * (a[0] * share)
    return count, mean, product
