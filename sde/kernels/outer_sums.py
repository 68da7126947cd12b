"""Squares of outer products G_i = left_i right_i^T over their rows and columns, summed over i, in float64 and in one
pass: |G_i[r, :]|^2 = left_ir^2 |right_i|^2. Of a table of them, and of a table of matrices."""

import ctypes
from functools import cache
from typing import Any

import numpy as np

from .machine_code import native
from .options import EMITTED, relaxed
from .views import doubles, singles, view

WORDS = 12
"""Of a row of the table, int64: addresses of left (count, rows), right (count, columns) and of two vectors of their
widths, u and v; count, rows, columns; addresses of float64 sums, all of them added to: of |G|^2 over each row, each
column and all (0: not wanted), and of sum_i u^T G_i v; bytes of a number, 4 or 8."""
MATRIX_WORDS = 7
"""Of a row, int64: addresses of a matrix (rows, columns), u and v, rows, columns, address of |G|^2 and u^T G v in
float64, which are written, bytes of a number of the matrix, u and v."""


@relaxed
def _add(left, right, u, v, words, k, sign):
    rows, columns = len(u), len(v)
    of_rows, of_columns = doubles(words[k + 7], rows), doubles(words[k + 8], columns)
    whole, seen = 0.0, 0.0
    for i in range(words[k + 4]):
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
        if words[k + 7] != 0:
            for j in range(rows):
                of_rows[j] += last * (np.float64(a[j]) * np.float64(a[j]))
        if words[k + 8] != 0:
            for j in range(columns):
                of_columns[j] += first * (np.float64(b[j]) * np.float64(b[j]))
    if words[k + 9] != 0:
        doubles(words[k + 9], 1)[0] += sign * whole
    doubles(words[k + 10], 1)[0] += seen


@relaxed
def _square_and_form(matrix, u, v, out):
    rows, columns, square, seen = len(u), len(v), 0.0, 0.0
    part = rows // 4
    for i in range(part):  # four streams from memory at a time
        p, q, r, s = i * columns, (i + part) * columns, (i + 2 * part) * columns, (i + 3 * part) * columns
        one, two, three, four = 0.0, 0.0, 0.0, 0.0
        for j in range(columns):
            a, b = np.float64(matrix[p + j]), np.float64(matrix[q + j])
            c, d, at = np.float64(matrix[r + j]), np.float64(matrix[s + j]), np.float64(v[j])
            square += a * a + b * b + c * c + d * d
            one += a * at
            two += b * at
            three += c * at
            four += d * at
        seen += np.float64(u[i]) * one + np.float64(u[i + part]) * two
        seen += np.float64(u[i + 2 * part]) * three + np.float64(u[i + 3 * part]) * four
    for i in range(4 * part, rows):
        row, total = matrix[i * columns : (i + 1) * columns], 0.0
        for j in range(columns):
            square += np.float64(row[j]) * np.float64(row[j])
            total += np.float64(row[j]) * np.float64(v[j])
        seen += np.float64(u[i]) * total
    out[0], out[1] = square, seen


def _matrix_sums(argument, tables):
    words = view(argument, tables * MATRIX_WORDS)
    for t in range(tables):
        k = t * MATRIX_WORDS
        rows, columns, out = words[k + 3], words[k + 4], doubles(words[k + 5], 2)
        if words[k + 6] == 4:
            u, v = singles(words[k + 1], rows), singles(words[k + 2], columns)
            _square_and_form(singles(words[k], rows * columns), u, v, out)
        else:
            u, v = doubles(words[k + 1], rows), doubles(words[k + 2], columns)
            _square_and_form(doubles(words[k], rows * columns), u, v, out)


def _outer_sums(argument, tables, sign):
    words = view(argument, tables * WORDS)
    for t in range(tables):
        k = t * WORDS
        count, rows, columns = words[k + 4], words[k + 5], words[k + 6]
        if words[k + 11] == 4:
            left, right = singles(words[k], count * rows), singles(words[k + 1], count * columns)
            _add(left, right, singles(words[k + 2], rows), singles(words[k + 3], columns), words, k, sign)
        else:
            left, right = doubles(words[k], count * rows), doubles(words[k + 1], count * columns)
            _add(left, right, doubles(words[k + 2], rows), doubles(words[k + 3], columns), words, k, sign)


@cache
def _compiled() -> Any:
    return native(_outer_sums, (None, ctypes.POINTER(ctypes.c_int64), ctypes.c_int64, ctypes.c_double), EMITTED)


@cache
def outer_sums() -> Any:
    """A function (address of a table, its rows, sign of what is added), compiled or loaded from the cache."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double)(_compiled().address)


@cache
def _compiled_matrix_sums() -> Any:
    return native(_matrix_sums, (None, ctypes.POINTER(ctypes.c_int64), ctypes.c_int64), EMITTED)


@cache
def matrix_sums() -> Any:
    """A function (address of a table, its rows), compiled or loaded from the cache."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(_compiled_matrix_sums().address)
