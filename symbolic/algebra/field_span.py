"""Sets of affine fields: spans, readable bases, fields that share no entry of theta, the quadratic form they keep.

Here fields become vectors of the linear solvers, and back.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from symbolic.algebra.affine import AffineField
from symbolic.algebra.nullspace import Solver, Vector, readable
from symbolic.algebra.number_field import Number
from symbolic.algebra.polynomial import add
from symbolic.algebra.span import Span


class FieldSpan:
    """The span of affine fields; see `symbolic.algebra.span.Span`."""

    def __init__(self, fields: Iterable[AffineField] = (), tracked: bool = False) -> None:
        self._span = Span((x.to_vector() for x in fields), tracked)

    def __len__(self) -> int:
        """Its dimension."""
        return len(self._span)

    def __contains__(self, x: AffineField) -> bool:
        return x.to_vector() in self._span

    def insert(self, x: AffineField) -> bool:
        """Add a field; whether it was independent of those before."""
        return self._span.insert(x.to_vector())

    def extended(self, fields: Iterable[AffineField]) -> list[AffineField]:
        """The fields, in order, that are independent of the span and of those before; they are added to it."""
        return [x for x in fields if self.insert(x)]

    def coordinates(self, x: AffineField) -> Vector | None:
        """{k: c_k} with x = sum_k c_k times the k-th field inserted, for a tracked span; None outside it."""
        return self._span.coordinates(x.to_vector())

    def combinations(self, candidates: Iterable[AffineField]) -> list[Vector]:
        """A readable basis of all {k: c_k} with sum_k c_k candidate_k in the span."""
        found = self._span.combinations(x.to_vector() for x in candidates)
        return readable(found)

    def copy(self) -> FieldSpan:
        """An independent copy."""
        out = FieldSpan()
        out._span = self._span.copy()
        return out


def readable_fields(fields: Sequence[AffineField]) -> list[AffineField]:
    """A basis of their span with few, small, whole entries."""
    return [AffineField.from_vector(v, fields[0].size) for v in readable([x.to_vector() for x in fields])]


Conditions = Callable[[AffineField], Iterable[tuple[Hashable, Number]]]
"""Linear functions of a field that are to vanish: (which, its value or a part of it)."""


def restricted(fields: Sequence[AffineField], conditions: Conditions) -> list[AffineField]:
    """The part of a span on which all conditions vanish, in a readable basis."""
    rows: dict[Hashable, Vector] = {}
    for k, x in enumerate(fields):
        for which, value in conditions(x):
            row = rows.setdefault(which, {})
            row[k] = row.get(k, 0) + value
    solver = Solver(len(fields))
    solver.add([kept for row in rows.values() if (kept := {k: c for k, c in row.items() if c})])
    return readable_fields([AffineField.combination((fields[k], c) for k, c in mix.items()) for mix in solver.basis()])


def components(fields: Sequence[AffineField]) -> list[list[AffineField]]:
    """Fields grouped so that different groups touch different entries of theta."""
    parent: dict[int, int] = {}

    def root(i: int) -> int:
        while parent.setdefault(i, i) != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for x in fields:
        first, *rest = sorted(x.touches)
        for i in rest:
            parent[root(i)] = root(first)
    out: dict[int, list[AffineField]] = {}
    for x in fields:
        out.setdefault(root(min(x.touches)), []).append(x)
    return list(out.values())


def invariant_form(fields: Sequence[AffineField]) -> tuple[list[int], list[list[Number]]] | None:
    """The one quadratic form, up to scale, that linear fields keep: (the n entries of theta involved, Q as n rows).

    Solves A^T Q + Q A = 0 for symmetric Q. None when there is none, or more than one.
    """
    touched = sorted(frozenset().union(*(x.touches for x in fields)))
    n, position = len(touched), {j: k for k, j in enumerate(touched)}
    solver = Solver(n * n)
    solver.add([{i * n + j: 1, j * n + i: -1} for i in range(n) for j in range(i + 1, n)])
    for x in fields:
        equations: dict[tuple[int, int], Vector] = {}
        for (i, j), c in x.A.items():
            for k in range(n):
                a, b = sorted((position[j], k))
                add(equations.setdefault((a, b), {}), {position[i] * n + k: c})
        solver.add(equations.values())
    found = solver.basis()
    if len(found) != 1:
        return None
    return touched, [[found[0].get(min(i, j) * n + max(i, j), 0) for j in range(n)] for i in range(n)]
