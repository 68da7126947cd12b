"""Counting: independent charges, and all conservation laws of gradient flow (THEORY section 1).

The laws that hold for all data number D - dim Lie{fields}(theta) at a generic theta, where the fields span the gradients; the
charges bound that dimension from above, so most cases need few brackets. Points and fields live over a prime field.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from symbolic.exact import polynomial as poly
from symbolic.exact.formal import Formal
from symbolic.exact.nullspace import Vector
from symbolic.exact.probe import Probe
from symbolic.loss import Loss
from symbolic.symmetry import Slice, slices

PRIME = (1 << 61) - 1
BUDGET = 4_000_000
"""Coefficient products spent on brackets before the count is given up."""


class Span:
    """A growing row space over F_PRIME, in echelon form."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def insert(self, vector: Sequence[int]) -> bool:
        """Add a vector; whether it was new."""
        v = [c % PRIME for c in vector]
        for i in range(self.size):
            if not v[i]:
                continue
            row = self.rows.get(i)
            if row is None:
                inverse = pow(v[i], -1, PRIME)
                self.rows[i] = [c * inverse % PRIME for c in v]
                return True
            factor = v[i]
            v = [(a - factor * b) % PRIME for a, b in zip(v, row, strict=True)]
        return False


def _modular(c: object) -> int:
    return c.numerator * pow(c.denominator, -1, PRIME) % PRIME  # type: ignore[attr-defined]


def evaluate(field: Slice, point: Sequence[int], size: int) -> list[int]:
    """A vector field at a point, over F_PRIME."""
    out = [0] * size
    for i, p in field.items():
        total = 0
        for monomial, c in p.items():
            term = _modular(c)
            for v in monomial:
                term = term * point[v] % PRIME
            total += term
        out[i] = total % PRIME
    return out


def _point(size: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(1, PRIME) for _ in range(size)]


def bracket(x: Slice, y: Slice) -> Slice:
    """[x, y] = (x . grad) y - (y . grad) x."""
    out: Slice = {}
    for a, b, sign in ((x, y, 1), (y, x, -1)):
        for i, p in b.items():
            for j, dp in poly.derivatives(p).items():
                if j in a:
                    poly.add(out.setdefault(i, {}), poly.multiply(a[j], dp, None, BUDGET), sign)
    return {i: p for i, p in out.items() if p}


def independent(charges: Sequence[Vector], size: int) -> int:
    """Rank of the fields A theta + b at a random point: the number of functionally independent charges."""
    point, span = _point(size, 7), Span(size)
    for vector in charges:
        span.insert(evaluate(_field(vector, size), point, size))
    return len(span)


def _field(vector: Vector, size: int) -> Slice:
    out: Slice = {}
    for index, c in vector.items():
        i, j = divmod(index, size) if index < size * size else (index - size * size, -1)
        out.setdefault(i, {})[(j,) if j >= 0 else ()] = c
    return out


def law_count(loss: Loss, formal: Formal | None, charges: int) -> int | None:
    """Number of independent conservation laws of gradient flow for all data; None when it is not known.

    charges: the number of independent charges, a lower bound. Source: Marcotte, Gribonval, Peyre (2307.00144).
    """
    size = loss.dimension
    if formal is not None and all(a.kind in ("inverse", "gate") for a in formal.atoms.values()):
        return _lie(slices(formal), size, size - charges)
    rng = np.random.default_rng(23)
    _, g = Probe(loss).gradients(3 * size + 20, rng, rng.standard_normal(size))
    norm = np.linalg.norm(g, axis=0)
    g = g[:, norm > 1e-9 * max(1.0, float(norm.max(initial=0.0)))]
    if not g.size:
        return None
    rank = int((np.linalg.svd(g / np.linalg.norm(g, axis=0), compute_uv=False) > 1e-9).sum())
    return charges if rank == size - charges else None


def _lie(fields: Sequence[Slice], size: int, bound: int) -> int | None:
    """size - dim Lie(fields), stopping at the dimension `bound` that charges allow."""
    point, span = _point(size, 8), Span(size)
    generators = [f for f in fields if len(span) < bound and span.insert(evaluate(f, point, size))]
    if len(span) < bound and _first_brackets(generators, point, bound):
        return size - bound
    basis, spent, at = list(generators), 0, 0
    while at < len(basis) and len(span) < bound:
        for g in generators:
            if g is basis[at]:
                continue
            spent += sum(len(p) for p in g.values()) * sum(len(p) for p in basis[at].values())
            if spent > BUDGET:
                return None
            new = bracket(g, basis[at])
            if new and span.insert(evaluate(new, point, size)):
                basis.append(new)
                if len(span) == bound:
                    break
        at += 1
    return size - len(span)


def _first_brackets(fields: Sequence[Slice], point: Sequence[int], bound: int) -> bool:
    """Whether the fields and their first brackets already span `bound` dimensions at the point; needs only Jacobians there."""
    size, span = len(point), Span(len(point))
    values = [evaluate(f, point, size) for f in fields]
    jacobians = []
    for f in fields:
        rows: dict[int, dict[int, int]] = {}
        for i, p in f.items():
            rows[i] = dict(enumerate(evaluate(poly.derivatives(p), point, size)))
            rows[i] = {j: c for j, c in rows[i].items() if c}
        jacobians.append(rows)
    for v in values:
        span.insert(v)
    for k, x in enumerate(values):
        for m in range(k):
            new = [0] * size
            for rows, along, sign in ((jacobians[m], x, 1), (jacobians[k], values[m], -1)):
                for i, row in rows.items():
                    new[i] += sign * sum(c * along[j] for j, c in row.items())
            span.insert(new)
            if len(span) >= bound:
                return True
    return False
