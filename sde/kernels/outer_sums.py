"""Squares of outer products G_i = left_i right_i^T over their rows and columns, summed over i, in float64 and in one
pass: |G_i[r, :]|^2 = left_ir^2 |right_i|^2."""

import ctypes
from functools import cache
from typing import Any

import numpy as np

from .machine_code import native
from .options import EMITTED, relaxed
from .views import doubles, singles, view

WORDS = 12
"""Of an argument, int64: addresses of left (count, rows), right (count, columns) and of two vectors of their widths, u
and v; count, rows, columns; addresses of the float64 sums of |G|^2 over each row, each column and all, which are added
to (0: not wanted); of sum_i u^T G_i v, which is written; bytes of a number, 4 or 8."""


@relaxed
def _add(left, right, u, v, count, words, sign):
    rows, columns = len(u), len(v)
    of_rows, of_columns = doubles(words[7], rows), doubles(words[8], columns)
    whole, seen = 0.0, 0.0
    for i in range(count):
        a, b = left[i * rows : (i + 1) * rows], right[i * columns : (i + 1) * columns]
        first, last, one, two = 0.0, 0.0, 0.0, 0.0
        for j in range(rows):
            first += np.float64(a[j]) * np.float64(a[j])
            one += np.float64(a[j]) * np.float64(u[j])
        for j in range(columns):
            last += np.float64(b[j]) * np.float64(b[j])
            two += np.float64(b[j]) * np.float64(v[j])
        whole += first * last
        seen += one * two
        first, last = sign * first, sign * last
        if words[7] != 0:
            for j in range(rows):
                of_rows[j] += last * (np.float64(a[j]) * np.float64(a[j]))
        if words[8] != 0:
            for j in range(columns):
                of_columns[j] += first * (np.float64(b[j]) * np.float64(b[j]))
    if words[9] != 0:
        doubles(words[9], 1)[0] += sign * whole
    doubles(words[10], 1)[0] = seen


@relaxed
def _square_and_form(matrix, u, v, out):
    columns, square, seen = len(v), 0.0, 0.0
    for i in range(len(u)):
        row, total = matrix[i * columns : (i + 1) * columns], 0.0
        for j in range(columns):
            square += np.float64(row[j]) * np.float64(row[j])
            total += np.float64(row[j]) * np.float64(v[j])
        seen += np.float64(u[i]) * total
    out[0], out[1] = square, seen


def _matrix_sums(matrix, u, v, rows, columns, out, width):
    if width == 4:
        _square_and_form(singles(matrix, rows * columns), singles(u, rows), singles(v, columns), doubles(out, 2))
    else:
        _square_and_form(doubles(matrix, rows * columns), doubles(u, rows), doubles(v, columns), doubles(out, 2))


def _outer_sums(argument, sign):
    words = view(argument, WORDS)
    count, rows, columns = words[4], words[5], words[6]
    if words[11] == 4:
        left, right = singles(words[0], count * rows), singles(words[1], count * columns)
        _add(left, right, singles(words[2], rows), singles(words[3], columns), count, words, sign)
    else:
        left, right = doubles(words[0], count * rows), doubles(words[1], count * columns)
        _add(left, right, doubles(words[2], rows), doubles(words[3], columns), count, words, sign)


@cache
def _compiled() -> Any:
    return native(_outer_sums, (None, ctypes.POINTER(ctypes.c_int64), ctypes.c_double), EMITTED)


@cache
def outer_sums() -> Any:
    """A function (address of an argument, sign of what is added), compiled or loaded from the cache."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_double)(_compiled().address)


@cache
def _compiled_matrix_sums() -> Any:
    return native(_matrix_sums, (None, *[ctypes.c_int64] * 7), EMITTED)


@cache
def matrix_sums() -> Any:
    """A function (addresses of a matrix (rows, columns), u and v, rows, columns, address of |G|^2 and u^T G v in
    float64, bytes of a number of the matrix, u and v)."""
    return _compiled_matrix_sums().ctypes
