"""A subspace of Q^n, or over a field of numbers, given by sparse vectors: membership, remainders, coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from symbolic import clock
from symbolic.algebra.nullspace import Solver, Vector
from symbolic.algebra.number_field import Number, quotient, tidy
from symbolic.algebra.polynomial import add


class Span:
    """Grows by `insert`; coordinates refer to the vectors that were independent when inserted, in that order.

    Without `tracked`, cheaper, it gives no coordinates.
    """

    def __init__(self, vectors: Iterable[Mapping[int, Number]] = (), tracked: bool = False) -> None:
        self._rows: dict[int, tuple[Vector, Vector]] = {}
        self._tracked = tracked
        for vector in vectors:
            self.insert(vector)

    def __len__(self) -> int:
        """Its dimension."""
        return len(self._rows)

    def __contains__(self, vector: Mapping[int, Number]) -> bool:
        return not self._reduce(vector)[0]

    def _reduce(self, vector: Mapping[int, Number]) -> tuple[Vector, Vector]:
        """(remainder, mix) with vector = remainder + sum_k mix_k inserted_k; the remainder has no pivot column."""
        clock.check()
        rest, mix = dict(vector), {}
        waiting = [c for c in rest if c in self._rows]
        while waiting:
            column = waiting.pop()
            factor = rest.get(column, 0)
            if not factor:
                continue
            row, combination = self._rows[column]
            for c, x in row.items():
                old = rest.get(c)
                total = factor * -x if old is None else old - factor * x
                if total:
                    rest[c] = total
                    if old is None and c in self._rows:
                        waiting.append(c)
                else:
                    del rest[c]
            for k, x in combination.items():
                mix[k] = mix.get(k, 0) + factor * x
        return rest, {k: x for k, x in mix.items() if x}

    def insert(self, vector: Mapping[int, Number]) -> bool:
        """Add a vector; whether it was independent of those before."""
        rest, mix = self._reduce(vector)
        if not rest:
            return False
        pivot = min(rest, key=lambda c: (abs(rest[c]) != 1, c))
        scale = rest[pivot]
        combination = {**{k: -x for k, x in mix.items()}, len(self._rows): 1} if self._tracked else {}
        if scale != 1:
            rest = {c: quotient(x, scale) for c, x in rest.items()}
            combination = {k: quotient(x, scale) for k, x in combination.items()}
        self._rows[pivot] = (rest, combination)
        return True

    def remainder(self, vector: Mapping[int, Number]) -> Vector:
        """What is left of a vector modulo the subspace, linear in the vector; {} for a member."""
        return self._reduce(vector)[0]

    def coordinates(self, vector: Mapping[int, Number]) -> Vector | None:
        """{k: c_k} with vector = sum_k c_k inserted_k, for a tracked span; None when it lies outside."""
        assert self._tracked
        rest, mix = self._reduce(vector)
        return None if rest else {k: tidy(x) for k, x in sorted(mix.items())}

    def copy(self) -> Span:
        """An independent copy."""
        out = Span(tracked=self._tracked)
        out._rows = dict(self._rows)
        return out

    def combinations(self, candidates: Iterable[Mapping[int, Number]]) -> list[Vector]:
        """A basis of all {i: x_i} with sum_i x_i candidate_i in the subspace."""
        columns: dict[int, Vector] = {}
        n = 0
        for i, candidate in enumerate(candidates):
            n += 1
            for c, x in self.remainder(candidate).items():
                columns.setdefault(c, {})[i] = x
        solver = Solver(n)
        solver.add(columns.values())
        return solver.basis()


def combine(vectors: Iterable[tuple[Mapping[int, Number], Number]]) -> Vector:
    """The sum of factor * vector over pairs."""
    out: Vector = {}
    for vector, factor in vectors:
        add(out, vector, factor)
    return out
