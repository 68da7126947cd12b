"""Spans of sparse vectors: membership, coordinates and combinations."""

from __future__ import annotations

import random
from fractions import Fraction

import sympy as sp

from symbolic.algebra.nullspace import Vector
from symbolic.algebra.span import Span, combine


def test_coordinates_in_a_span_reproduce_members_and_refuse_the_rest() -> None:
    rng = random.Random(0)
    for _ in range(40):
        vectors: list[Vector] = [
            {rng.randrange(8): Fraction(rng.randint(-3, 3) or 1, rng.randint(1, 3)) for _ in range(3)} for _ in range(5)
        ]
        dense = sp.Matrix([[sp.Rational(c.get(i, 0)) for i in range(8)] for c in vectors])
        span, kept = Span(tracked=True), []
        for vector in vectors:
            if span.insert(vector):
                kept.append(vector)
        assert len(span) == len(kept) == dense.rank()
        mix = {k: rng.randint(-4, 4) for k in range(len(kept))}
        member = combine((kept[k], c) for k, c in mix.items())
        assert member in span
        assert span.coordinates(member) == {k: c for k, c in mix.items() if c}
        other: Vector = {rng.randrange(8): 1, rng.randrange(8): 2}
        inside = sp.Matrix.vstack(dense, sp.Matrix([[other.get(i, 0) for i in range(8)]])).rank() == dense.rank()
        assert (other in span) == inside == (span.coordinates(other) is not None)


def test_combinations_are_all_that_lie_in_the_span() -> None:
    span = Span([{0: 1, 1: 1}, {2: 1}])
    found = Span(span.combinations([{0: 2}, {1: 1}, {2: 5}, {3: 1}]))
    assert len(found) == 2
    assert {0: 1, 1: 2} in found
    assert {2: 1} in found
    assert {3: 1} not in found
