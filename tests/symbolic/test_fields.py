"""Affine vector fields and the spans they live in: membership and coordinates, kinds, fixed points, invariant forms."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import sympy as sp

from symbolic.algebra.affine import fixed_point, invariant_form, kind, rows
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


# --- kinds ------------------------------------------------------------------------------------------------------------

TURN = {1: 1, 3: -1}


@pytest.mark.parametrize(
    ("vector", "size", "expected"),
    [
        ({4: 1}, 2, "translation"),
        ({0: 1, 3: 2}, 2, "scale"),
        ({0: -1, 3: -2}, 2, "scale"),
        ({0: 1, 3: -1}, 2, "rescaling"),
        ({0: 1, 3: -1, 4: 1}, 2, "mixed"),
        ({1: 1, 2: -1}, 2, "rotation"),
        ({1: 1, 2: -1, 4: 2, 5: 1}, 2, "rotation"),
        ({**TURN, 11: 1}, 3, "mixed"),
        ({1: 1}, 2, "shear"),
        ({1: 1, 5: 1}, 2, "mixed"),
        ({1: 1, 2: 1}, 2, "mixed"),
        ({1: 3, 2: -1}, 2, "mixed"),
    ],
    ids=["b", "+", "-", "+-", "about", "turn", "turn-about", "screw", "shear", "parabola", "boost", "ellipse"],
)
def test_kind_of_a_generator(vector: Vector, size: int, expected: str) -> None:
    """A screw, a rotation with a translation along its axis, has no fixed point; a shear with A b != 0 moves on
    parabolas."""
    assert kind(vector, size) == expected


def test_fixed_point_solves_the_equation() -> None:
    point = fixed_point([rows({1: 1, 2: -1, 4: 2, 5: 1}, 2)], 2)
    assert point == {0: 1, 1: -2}
    assert fixed_point([rows({**TURN, 11: 1}, 3)], 3) is None
    assert fixed_point([rows(TURN, 3)], 3) == {}


def test_invariant_form_is_the_one_kept() -> None:
    assert invariant_form([rows({1: 3, 2: -1}, 2)], 2) == ([0, 1], {0: 1, 3: 3})
    assert invariant_form([rows({0: 1, 3: 1}, 2)], 2) is None
    assert invariant_form([rows({0: 1, 3: -1}, 2)], 2) == ([0, 1], {1: 1})
