"""Exact null spaces of sparse systems over Q, or a field of numbers over Q, and readable bases of them.

Equations with one or two unknowns, nearly all of those a symmetry gives, are eliminated as they come (zeros and a
weighted union-find); what is left is a small dense core for FLINT.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import gcd, lcm

from flint import fmpq, fmpq_mat, fmpz_mat

from symbolic import clock
from symbolic.algebra.number_field import Irrational, Number, denominators, has_irrational, quotient, tidy
from symbolic.algebra.polynomial import add

Vector = dict[int, Number]
"""A sparse vector {index: non-zero entry}."""


class Solver:
    """Unknowns 0..n-1 under homogeneous linear equations, added in any order and number."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.parent = list(range(n))
        self.ratio: list[Number] = [1] * n
        self.zero = bytearray(n)
        self.core: set[tuple[tuple[int, Number], ...]] = set()

    def root(self, i: int) -> tuple[int, Number]:
        """(r, c) with x_i = c * x_r."""
        path = []
        while self.parent[i] != i:
            path.append(i)
            i = self.parent[i]
        for j in reversed(path):
            above = self.parent[j]
            if above != i:
                self.ratio[j] *= self.ratio[above]
                self.parent[j] = i
        return (i, self.ratio[path[0]]) if path else (i, 1)

    def dead(self, i: int) -> bool:
        """Whether x_i = 0 is known."""
        return bool(self.zero[self.root(i)[0]])

    def add(self, rows: Iterable[Mapping[int, Number]]) -> None:
        """Add the equations sum_i row[i] x_i = 0."""
        for row in rows:
            clock.check()
            self._take(row.items())

    def _settle(self) -> None:
        """Put what is known into the equations of the core, until that teaches nothing new."""
        changed = True
        while changed and self.core:
            old, self.core, changed = self.core, set(), False
            for items in old:
                clock.check()
                changed |= self._take(items)

    def _take(self, items: Iterable[tuple[int, Number]]) -> bool:
        row: Vector = {}
        for i, c in items:
            r, factor = self.root(i)
            if not self.zero[r]:
                total = row.get(r, 0) + c * factor
                if total:
                    row[r] = total
                else:
                    del row[r]
        if not row:
            return False
        if len(row) == 1:
            self.zero[next(iter(row))] = 1
            return True
        if len(row) == 2:
            (i, a), (j, b) = sorted(row.items())
            self.parent[j], self.ratio[j] = i, quotient(-a, b)
            return True
        ordered = sorted(row.items())
        lead = ordered[0][1]
        scale = lead if lead in (1, -1) else quotient(1, lead)
        self.core.add(tuple((i, c * scale) for i, c in ordered))
        return False

    def basis(self) -> list[Vector]:
        """A basis of the solutions, sparse and whole-numbered."""
        self._settle()
        roots = [i for i in range(self.n) if self.parent[i] == i and not self.zero[i]]
        members: dict[int, list[tuple[int, Number]]] = {r: [] for r in roots}
        for i in range(self.n):
            r, c = self.root(i)
            if r in members:
                members[r].append((i, c))
        tied = sorted({i for row in self.core for i, _ in row})
        position = {r: k for k, r in enumerate(tied)}
        free = [{r: 1} for r in roots if r not in position]
        rows = [{position[i]: c for i, c in row} for row in self.core]
        free += [{tied[k]: c for k, c in v.items()} for v in kernel(rows, len(tied))]
        return [whole({i: c * d for r, d in v.items() for i, c in members[r]}) for v in free]


def _matrix(rows: Sequence[Mapping[int, Number]], n: int) -> fmpz_mat:
    dense = []
    for row in rows:
        entries = whole(row)
        line = [entries.get(i, 0) for i in range(n)]
        dense.append(line)
    return fmpz_mat(dense)


def kernel(rows: Sequence[Mapping[int, Number]], n: int) -> list[Vector]:
    """A basis of {x in Q^n: rows x = 0}, one vector per free column of the reduced echelon form.

    Solves for a sample of the equations and adds those that its solutions break, until none does.
    """
    stride = max(1, len(rows) // (2 * n + 20))
    chosen, left = list(rows[::stride]), [row for k, row in enumerate(rows) if k % stride]
    while True:
        clock.check()
        basis = _kernel(chosen, n)
        lines: list[list[tuple[int, Number]]] = [[] for _ in range(n)]
        for k, v in enumerate(basis):
            for i, c in v.items():
                lines[i].append((k, c))
        broken = [row for row in left if _breaks(row, lines)]
        if not broken:
            return basis
        chosen += broken[: 2 * n + 20]
        left = broken[2 * n + 20 :]


def _breaks(row: Mapping[int, Number], lines: Sequence[Sequence[tuple[int, Number]]]) -> bool:
    """Whether the equation fails on any of the vectors, given column by column."""
    total: Vector = {}
    for i, c in row.items():
        for k, d in lines[i]:
            total[k] = total.get(k, 0) + c * d
    return any(total.values())


def _kernel(rows: Sequence[Mapping[int, Number]], n: int) -> list[Vector]:
    if not rows:
        return [{i: 1} for i in range(n)]
    if any(map(has_irrational, rows)):
        pivoted = _reduced(rows)
        return [
            {free: 1} | {p: -row[free] for p, row in pivoted.items() if free in row}
            for free in range(n)
            if free not in pivoted
        ]
    reduced, denominator, rank = _matrix(rows, n).rref()
    pivots, out = [], []
    for r in range(rank):
        pivots.append(next(j for j in range(n) if reduced[r, j]))
    for free in sorted(set(range(n)) - set(pivots)):
        v: Vector = {free: 1}
        for r, p in enumerate(pivots):
            if reduced[r, free]:
                v[p] = tidy(Fraction(-int(reduced[r, free]), int(denominator)))
        out.append(v)
    return out


def _reduced(rows: Iterable[Mapping[int, Number]]) -> dict[int, Vector]:
    """{pivot column: row with 1 there} of the reduced echelon form, in any field."""
    out: dict[int, Vector] = {}
    for given in rows:
        row = dict(given)
        for p, other in out.items():
            if factor := row.get(p):
                add(row, other, -factor)
        if row:
            p = min(row)
            scale = row[p]
            row = {i: quotient(c, scale) for i, c in row.items()}
            for other in out.values():
                if factor := other.get(p):
                    add(other, row, -factor)
            out[p] = row
    return dict(sorted(out.items()))


def rank(rows: Sequence[Sequence[Number]]) -> int:
    """Rank of dense rows."""
    if not rows or not rows[0]:
        return 0
    dense: list[list[fmpq]] = []
    for r in rows:
        if any(isinstance(c, Irrational) for c in r):
            return len(_reduced({i: c for i, c in enumerate(r) if c} for r in rows))
        dense.append([fmpq(c.numerator, c.denominator) for c in r if not isinstance(c, Irrational)])
    return fmpq_mat(dense).rank()


def echelon(vectors: Sequence[Mapping[int, Number]]) -> list[Vector]:
    """The reduced echelon basis of a span: leading entries distinct, each alone in its column; whole-numbered."""
    vectors = [v for v in vectors if v]
    if not vectors:
        return []
    columns = sorted({i for v in vectors for i in v})
    if any(map(has_irrational, vectors)):
        return [whole(row) for row in _reduced(vectors).values()]
    position = {i: k for k, i in enumerate(columns)}
    reduced, _, r = _matrix([{position[i]: c for i, c in v.items()} for v in vectors], len(columns)).rref()
    return [whole({columns[j]: int(reduced[k, j]) for j in range(len(columns)) if reduced[k, j]}) for k in range(r)]


def readable(vectors: Sequence[Mapping[int, Number]]) -> list[Vector]:
    """A sparse basis of small whole numbers: echelon form, then differences that shorten or bring neighbours
    together."""
    basis = echelon(vectors)
    for _ in range(len(basis)):
        changed = False
        for i in range(len(basis) - 1, -1, -1):
            clock.check()
            for j in range(i + 1, len(basis)):
                a, b = basis[i], basis[j]
                last = max(a)
                if last != max(b):
                    continue
                factor = quotient(a[last], b[last])
                mixed = {k: c for k in a.keys() | b.keys() if (c := a.get(k, 0) - factor * b.get(k, 0))}
                if len(mixed) <= len(a):
                    basis[i], changed = whole(mixed), True
        if not changed:
            break
    return basis


def whole(v: Mapping[int, Number]) -> Vector:
    """The multiple of v with coprime whole entries, the first positive; beyond Q that with coprime whole coefficients,
    the first entry rational."""
    if has_irrational(v):
        first = v[min(v)]
        scaled_up = {i: quotient(c, first) for i, c in sorted(v.items())}
        factor = lcm(*(d for c in scaled_up.values() for d in denominators(c)))
        return {i: tidy(c * factor) for i, c in scaled_up.items()}
    denominator = lcm(*(d for c in v.values() for d in denominators(c)))
    scaled: dict[int, int] = {i: int(c * denominator) for i, c in sorted(v.items())}  # type: ignore[arg-type]
    common = gcd(*scaled.values())
    if next(iter(scaled.values())) < 0:
        common = -common
    return {i: c // common for i, c in scaled.items()}
