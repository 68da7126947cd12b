"""Sums of products of two matrices over rows and over columns, in float64 and in one pass: of a table of matrices."""

import ctypes
from functools import cache
from typing import Any

import numpy as np

from .machine_code import native
from .options import EMITTED, relaxed
from .views import doubles, singles, view

COLUMNS = 7
"""Of a table, int64: addresses of the left and the right matrix (rows, length), rows, length, addresses of the float64
sums along rows (rows,) and along columns (length,), 0: not wanted, and the bytes of a matrix's number, 4 or 8."""


@relaxed
def _add(left, right, along_rows, length, entries):
    columns = doubles(entries, length)
    if entries != 0:
        for j in range(length):
            columns[j] = 0.0
    rows = len(along_rows)
    part = rows // 4
    for i in range(part):
        a, b, c, d = 0.0, 0.0, 0.0, 0.0  # four streams from memory at a time
        p, q, r, s = i * length, (i + part) * length, (i + 2 * part) * length, (i + 3 * part) * length
        if entries != 0:
            for j in range(length):
                one = np.float64(left[p + j]) * np.float64(right[p + j])
                two = np.float64(left[q + j]) * np.float64(right[q + j])
                three = np.float64(left[r + j]) * np.float64(right[r + j])
                four = np.float64(left[s + j]) * np.float64(right[s + j])
                columns[j] += one + two + three + four
                a += one
                b += two
                c += three
                d += four
        else:
            for j in range(length):
                a += np.float64(left[p + j]) * np.float64(right[p + j])
                b += np.float64(left[q + j]) * np.float64(right[q + j])
                c += np.float64(left[r + j]) * np.float64(right[r + j])
                d += np.float64(left[s + j]) * np.float64(right[s + j])
        along_rows[i], along_rows[i + part], along_rows[i + 2 * part], along_rows[i + 3 * part] = a, b, c, d
    for i in range(4 * part, rows):
        a, b, total = left[i * length : (i + 1) * length], right[i * length : (i + 1) * length], 0.0
        if entries != 0:
            for j in range(length):
                product = np.float64(a[j]) * np.float64(b[j])
                total += product
                columns[j] += product
        else:
            for j in range(length):
                total += np.float64(a[j]) * np.float64(b[j])
        along_rows[i] = total


def _slice_sums(words, count):
    table = view(words, count * COLUMNS)
    for t in range(count):
        k = t * COLUMNS
        left, right, rows, length = table[k], table[k + 1], table[k + 2], table[k + 3]
        along_rows, columns, width = table[k + 4], table[k + 5], table[k + 6]
        sums, size = doubles(along_rows, rows), rows * length
        if width == 4 and left == right:
            one = singles(left, size)
            _add(one, one, sums, length, columns)
        elif width == 4:
            _add(singles(left, size), singles(right, size), sums, length, columns)
        elif left == right:
            same = doubles(left, size)
            _add(same, same, sums, length, columns)
        else:
            _add(doubles(left, size), doubles(right, size), sums, length, columns)


@cache
def _compiled() -> Any:
    return native(_slice_sums, (None, ctypes.POINTER(ctypes.c_int64), ctypes.c_int64), EMITTED)


@cache
def slice_sums() -> Any:
    """A function (address of a table, its rows), compiled or loaded from the cache."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(_compiled().address)
