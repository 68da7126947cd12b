"""Real bases in which a matrix acts on each direction, or pair of them, by itself.

At 160 bits, by integers, so that the numbers are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from flint import acb, acb_mat, arb, ctx

BITS = 160
NONE = 1e-25
"""Parts of a whole that are none: rounding at 160 bits."""

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Eigenbasis:
    """A = S D S^-1, D of a block a for each real eigenvalue, ((a, b), (-b, a)) for a pair a +- ib, b > 0.

    rates: the N eigenvalues in that order, a - ib behind a + ib. basis, inverse: S and S^-1 by rows, (N, N).
    condition: of S, in units in which A is balanced; infinite where there is no such basis."""

    rates: tuple[complex, ...]
    basis: Rows
    inverse: Rows
    condition: float


@lru_cache(maxsize=16)
def eigenbasis(matrix: Rows) -> Eigenbasis:
    """Of a matrix of finite numbers, (N, N)."""
    units = balancing(np.array(matrix))
    before = ctx.prec
    ctx.prec = BITS
    try:
        return _found(matrix, units)
    finally:
        ctx.prec = before


def balancing(matrix: np.ndarray) -> list[float]:
    """Units, powers of 2, in which rows and columns are of one size off the diagonal (Parlett and Reinsch 1969)."""
    off, units = np.abs(matrix - np.diag(np.diag(matrix))), np.ones(len(matrix))
    for _ in range(20):
        before = units.copy()
        for k in range(len(units)):
            column, row = float(off[:, k].sum()), float(off[k].sum())
            if column > 0 and row > 0:
                factor = 2.0 ** round(np.log2(row / column) / 2)
                off[:, k] *= factor
                off[k] /= factor
                units[k] *= factor
        if np.array_equal(units, before):
            break
    return units.tolist()


def _found(matrix: Rows, units: Sequence[float]) -> Eigenbasis:
    n = len(matrix)
    scaled = acb_mat([[acb(matrix[i][j]) * units[j] / units[i] for j in range(n)] for i in range(n)])
    values, vectors = scaled.eig(right=True, algorithm="approx")
    largest = max(abs(complex(v)) for v in values)
    columns = list[list[arb]]()
    rates = list[complex]()
    for k in sorted(range(n), key=lambda k: (float(values[k].real.mid()), abs(float(values[k].imag.mid())))):
        value, vector = complex(values[k]), [vectors[i, k].mid() for i in range(n)]
        real = abs(value.imag) <= NONE * largest
        if value.imag < 0 and not real:
            continue
        turned = _turned(vector)
        rates += [complex(value.real, 0.0)] if real else [value, value.conjugate()]
        columns += [[e.real for e in turned]] if real else [[e.real for e in turned], [e.imag for e in turned]]
    if len(columns) != n:
        return Eigenbasis((), (), (), float("inf"))
    basis = acb_mat([[acb(columns[j][i].mid()) for j in range(n)] for i in range(n)])
    try:
        inverse = basis.inv()
    except ZeroDivisionError:
        return Eigenbasis((), (), (), float("inf"))
    condition = float(np.linalg.cond(np.array([[float(e.mid()) for e in c] for c in columns])))
    return Eigenbasis(
        tuple(rates),
        _rows([[basis[i, j].real * units[i] for j in range(n)] for i in range(n)]),
        _rows([[inverse[i, j].real / units[j] for j in range(n)] for i in range(n)]),
        condition if np.isfinite(condition) else float("inf"),
    )


def _turned(vector: list[acb]) -> list[acb]:
    """The eigenvector of length 1 whose real and imaginary parts are at right angles, the real one the longer; its
    first entry that is not 0 is not negative in the real part."""
    length = sum((abs(e) ** 2 for e in vector), arb(0)).sqrt()
    square = sum((e * e for e in vector), acb(0))
    phase = square.sqrt() / abs(square).sqrt() if abs(complex(square)) > NONE else acb(1)
    out = [(e / phase / length).mid() for e in vector]
    sign = next((-1 if float(e.real) < 0 else 1 for e in out if abs(float(e.real)) > NONE), 1)
    return [sign * e for e in out]


def _rows(entries: list[list[arb]]) -> Rows:
    numbers = [[float(e.mid()) for e in row] for row in entries]
    sizes = [max(map(abs, row)) for row in numbers]
    return tuple(tuple(e if abs(e) > NONE * s else 0.0 for e in row) for row, s in zip(numbers, sizes, strict=True))
