"""The exact equations <grad loss, A theta + b> = 0 for the entries of (A, b), and parts of what solves them.

Here alone a field is a vector of unknowns over (A row-major, b).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symbolic import clock
from symbolic.algebra.affine import AffineField
from symbolic.algebra.field_span import restricted
from symbolic.algebra.nullspace import Solver, Vector, echelon
from symbolic.algebra.number_field import Number
from symbolic.algebra.polynomial import Monomial, Polynomial, add
from symbolic.evaluation.lie_brackets import rank
from symbolic.symmetry.invariants import Formal

Slice = dict[int, Polynomial]
"""One coefficient of the gradient in the data and atoms: {i: polynomial in theta}, a vector field on theta space."""


def slices(formal: Formal) -> list[Slice]:
    """The gradients' coefficients in the data and atoms, shortest first: each must be orthogonal to A theta + b."""
    d, found = formal.dimension, []
    for gradient in formal.gradients:
        out: dict[Monomial, Slice] = {}
        for i, p in enumerate(gradient):
            clock.check()
            for monomial, c in p.items():
                at = len(monomial)
                while at and monomial[at - 1] >= d:
                    at -= 1
                row = out.setdefault(monomial[at:], {}).setdefault(i, {})
                row[monomial[:at]] = row.get(monomial[:at], 0) + c
        for columns, patterns in formal.labels:
            out = _on_patterns(out, columns, patterns)
        found += out.values()
    return sorted(found, key=lambda s: sum(map(len, s.values())))


def _on_patterns(parts: Mapping[Monomial, Slice], columns: Mapping[int, int], patterns: np.ndarray) -> dict[Any, Slice]:
    """Coefficients of what the labels' monomials are on the patterns that occur, a basis of those functions, where the
    patterns do not tell all monomials apart. columns: {variable: column of patterns}."""
    sums: dict[Monomial, dict[Monomial, Slice]] = {}
    for monomial, part in parts.items():
        label = tuple(v for v in monomial if v in columns)
        sums.setdefault(tuple(v for v in monomial if v not in columns), {})[label] = part
    bases: dict[tuple[Monomial, ...], list[Vector] | None] = {}
    out: dict[Any, Slice] = {}
    for rest, members in sums.items():
        labels = tuple(sorted(members))
        if labels not in bases:
            bases[labels] = _functions(labels, columns, patterns)
        basis = bases[labels]
        if basis is None:
            out.update({tuple(sorted((*rest, *label))): part for label, part in members.items()})
            continue
        for k, row in enumerate(basis):
            total: Slice = {}
            for m, c in row.items():
                for i, p in members[labels[m]].items():
                    add(total.setdefault(i, {}), p, c)
            out[*rest, -1 - k] = {i: p for i, p in total.items() if p}
    return out


def _functions(labels: Sequence[Monomial], columns: Mapping[int, int], patterns: np.ndarray) -> list[Vector] | None:
    """A basis of the rows of the monomials' values on the patterns; None where the monomials are independent there."""
    values = np.array([np.prod(patterns[:, [columns[v] for v in m]], axis=1, dtype=np.int64) for m in labels])
    rows = np.unique(values.T, axis=0)
    if rank(rows) == len(labels):
        return None
    return echelon([{int(j): 1 for j in np.flatnonzero(row)} for row in rows if row.any()])


class _Unknowns:
    """The entries of (A row-major, b) that may still be non-zero, row by row, under the equations seen so far."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.solver = Solver(size * size + size)
        self.alive: list[Sequence[int]] = [range(size + 1)] * size

    def _row(self, i: int) -> list[tuple[int, int, Number]]:
        """(column j, or size for b; root unknown; its factor) for the unknowns of row i."""
        solver, out, kept = self.solver, [], []
        for j in self.alive[i]:
            root, factor = solver.root(i * self.size + j if j < self.size else self.size * self.size + i)
            if not solver.zero[root]:
                kept.append(j)
                out.append((j, root, factor))
        self.alive[i] = kept
        return out

    def require(self, part: Slice) -> None:
        """Add the coefficient equations of sum_i part_i (A theta + b)_i = 0."""
        rows: dict[Monomial, Vector] = {}
        for i, p in part.items():
            clock.check()
            for j, root, factor in self._row(i):
                for monomial, c in p.items():
                    key = tuple(sorted((*monomial, j))) if j < self.size else monomial
                    row = rows.setdefault(key, {})
                    row[root] = row.get(root, 0) + c * factor
        self.solver.add([{k: c for k, c in row.items() if c} for row in sorted(rows.values(), key=len)])


def solve(parts: Sequence[Slice], size: int) -> list[AffineField]:
    """A basis of all (A, b) that annihilate every slice, whole-numbered."""
    unknowns = _Unknowns(size)
    for part in parts:
        unknowns.require(part)
    return [AffineField.from_vector(v, size) for v in unknowns.solver.basis()]


def symmetric_part(fields: Sequence[AffineField]) -> list[AffineField]:
    """The part of a span with A = A^T, in a readable basis."""

    def conditions(x: AffineField) -> Iterator[tuple[tuple[int, int], Number]]:
        for (i, j), c in x.A.items():
            if i != j:
                yield ((i, j), c) if i < j else ((j, i), -c)

    return restricted(fields, conditions)


def antisymmetric_part(fields: Sequence[AffineField], linear: bool = True) -> list[AffineField]:
    """The part of a span with A = -A^T, and b = 0 unless not linear, in a readable basis."""

    def conditions(x: AffineField) -> Iterator[tuple[tuple[int, int] | int, Number]]:
        for (i, j), c in x.A.items():
            yield (min(i, j), max(i, j)), c
        if linear:
            yield from x.b.items()

    return restricted(fields, conditions)


def translation_part(fields: Sequence[AffineField]) -> list[AffineField]:
    """The part of a span with A = 0, in a readable basis."""
    return restricted(fields, lambda x: x.A.items())


def rationalise(null: np.ndarray, size: int, limit: int = 60) -> list[AffineField]:
    """Fields from a numerical null space over (A row-major, b)."""
    return [AffineField.from_vector(v, size) for v in fractions(null, limit)]


def fractions(null: np.ndarray, limit: int = 60) -> list[Vector]:
    """The echelon form of a numerical null space, its entries replaced by nearby fractions of small denominator."""
    rows = null.copy()
    lead = 0
    for column in range(rows.shape[1]):
        if lead == len(rows):
            break
        pivot = lead + int(np.argmax(np.abs(rows[lead:, column])))
        if abs(rows[pivot, column]) < 1e-6:
            continue
        rows[[lead, pivot]] = rows[[pivot, lead]]
        rows[lead] /= rows[lead, column]
        others = np.arange(len(rows)) != lead
        rows[others] -= np.outer(rows[others, column], rows[lead])
        lead += 1
    out: list[Vector] = []
    for row in rows[:lead]:
        vector = {int(i): Fraction(float(row[i])).limit_denominator(limit) for i in np.flatnonzero(np.abs(row) > 1e-6)}
        out.append({i: c for i, c in vector.items() if c})
    return out
