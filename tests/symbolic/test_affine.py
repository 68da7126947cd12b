"""Affine vector fields: exact identities, a twin in dense Fractions, kinds, fixed points, spans and invariant forms."""

from __future__ import annotations

import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from symbolic.algebra.affine import AffineField
from symbolic.algebra.field_span import FieldSpan, components, invariant_form, readable_fields, restricted
from symbolic.errors import InputError
from tests.naive import affine as naive

SIZE = 3
brief = settings(max_examples=30, deadline=None)
ENTRY = st.one_of(st.just(0), st.fractions(-3, 3, max_denominator=4))
ROWS = st.lists(st.lists(ENTRY, min_size=SIZE + 1, max_size=SIZE + 1), min_size=SIZE, max_size=SIZE)
POINTS = st.lists(st.fractions(-3, 3, max_denominator=3), min_size=SIZE, max_size=SIZE)
THETA = sp.symbols("p q r", real=True)


def field_of(rows: Any) -> AffineField:
    return AffineField.from_matrices([row[:-1] for row in rows], [row[-1] for row in rows])


FIELDS = ROWS.map(field_of)


def dense(x: AffineField) -> naive.Rows:
    a = [[Fraction(x.A.get((i, j), 0)) for j in range(x.size)] for i in range(x.size)]
    return [[*row, Fraction(x.b.get(i, 0))] for i, row in enumerate(a)]


def symmetrised(x: AffineField) -> AffineField:
    return x + AffineField(x.size, {(j, i): c for (i, j), c in x.A.items()})


# --- identities -------------------------------------------------------------------------------------------------------


@brief
@given(ROWS)
def test_vectors_and_matrices_give_the_field_back(rows: Any) -> None:
    x = field_of(rows)
    vector = x.to_vector()
    flat = [c for row in rows for c in row[:-1]] + [row[-1] for row in rows]
    assert vector == {k: c for k, c in enumerate(flat) if c}
    assert AffineField.from_vector(vector, SIZE) == x == AffineField.from_matrices(*x.matrices())
    assert hash(AffineField.from_vector(vector, SIZE)) == hash(x)
    assert len(x) == len(vector) and bool(x) == bool(vector)
    a, b = x.arrays()
    assert np.array_equal(np.column_stack([a, b]), np.array(dense(x), dtype=float))
    assert pickle.loads(pickle.dumps(x)) == x


@brief
@given(FIELDS, FIELDS)
def test_bracket_is_minus_the_commutator_of_the_matrices(x: AffineField, y: AffineField) -> None:
    (a, b), (c, d) = x.matrices(), y.matrices()
    assert x.bracket(y).matrices() == (c * a - a * c, c * b - a * d)
    assert (x @ y).matrices() == (a * c, a * d)


@brief
@given(FIELDS, FIELDS, FIELDS)
def test_jacobi_identity(x: AffineField, y: AffineField, z: AffineField) -> None:
    assert not x.bracket(y.bracket(z)) + y.bracket(z.bracket(x)) + z.bracket(x.bracket(y))
    assert not x.bracket(y) + y.bracket(x)


@brief
@given(FIELDS, FIELDS, st.fractions(-3, 3, max_denominator=4), POINTS)
def test_twin_in_dense_fractions(x: AffineField, y: AffineField, factor: Fraction, theta: list[Fraction]) -> None:
    v, w = dense(x), dense(y)
    assert x.apply(theta) == naive.apply(v, theta)
    assert x.bracket(y).apply(theta) == naive.bracket(v, w, theta)
    assert (x - factor * y).apply(theta) == [
        p - factor * q for p, q in zip(naive.apply(v, theta), naive.apply(w, theta), strict=True)
    ]
    assert all(c != 0 for c in (x - factor * y).to_vector().values())
    assert x.trace() == sum(v[i][i] for i in range(SIZE))
    assert (x.fixed_point is None) == (not naive.has_zero(v))
    if x.fixed_point is not None:
        assert not any(x.apply([x.fixed_point.get(i, 0) for i in range(SIZE)]))
    even = symmetrised(x)
    assert even.charge(THETA).subs(dict(zip(THETA, theta, strict=True))) == naive.charge(dense(even), theta)
    assert float(even.charge([float(c) for c in theta])) == pytest.approx(float(naive.charge(dense(even), theta)))


@brief
@given(FIELDS)
def test_gradient_of_the_charge_is_twice_the_field(x: AffineField) -> None:
    even = symmetrised(x)
    slope = [sp.diff(even.charge(THETA), s) for s in THETA]
    assert [sp.expand(g - 2 * v) for g, v in zip(slope, even.apply(THETA), strict=True)] == [0] * SIZE
    if even:
        scaled = even.scaled()
        coefficients = sp.Poly(scaled.charge(THETA), *THETA).coeffs()
        assert all(c.is_Integer for c in coefficients) and abs(sp.gcd_list(coefficients)) == 1
        ratio = {Fraction(c) / even.to_vector()[k] for k, c in scaled.to_vector().items()}
        assert len(ratio) == 1 and ratio.pop() > 0


def test_charge_is_not_symmetrised() -> None:
    with pytest.raises(InputError, match="needs A = A"):
        AffineField(2, {(0, 1): 3, (1, 0): -1}).charge(THETA[:2])


def test_forms_of_symbols_numbers_and_arrays_agree() -> None:
    x = AffineField.from_matrices([[1, 2, 0], [Fraction(1, 3), 0, -1], [0, 0, 5]], [0, Fraction(1, 2), -2])
    (a, b), rng = x.arrays(), np.random.default_rng(0)
    left, right = rng.normal(size=(2, SIZE, 4))
    for shift in (0, 1, 2):
        assert np.allclose(x.form(left, right, shift), np.sum(left * (a @ right + shift * b[:, None]), axis=0))
        assert x.form(left[:, 0], right[:, 0], shift) == pytest.approx(x.form(left, right, shift)[0])
    assert x.form(THETA, (1, 0, 0)) == THETA[0] + sp.Rational(5, 6) * THETA[1] - 2 * THETA[2]
    matrix = rng.normal(size=(SIZE, SIZE))
    assert x.trace(matrix) == pytest.approx(np.trace(a @ matrix))


@pytest.mark.parametrize(
    ("a", "b", "match"),
    [
        ([[1, 2]], None, r"got shapes \(1, 2\)"),
        ([[1]], [1, 2], "one row per|a row for each"),
        ([], None, "square"),
        (3, None, "square"),
        ([[0.5]], None, r"got 0.5 \(float\)"),
        ([[1]], [sp.Symbol("q")], "exact numbers"),
    ],
)
def test_what_is_no_exact_field_is_refused(a: Any, b: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        AffineField.from_matrices(a, b)


# --- kinds ------------------------------------------------------------------------------------------------------------

TURN = [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([[0, 0], [0, 0]], [1, 0], "translation"),
        ([[1, 0], [0, 2]], None, "scale"),
        ([[-1, 0], [0, -2]], None, "scale"),
        ([[1, 0], [0, -1]], None, "rescaling"),
        ([[1, 0], [0, -1]], [1, 0], "mixed"),
        ([[0, 1], [-1, 0]], None, "rotation"),
        ([[0, 1], [-1, 0]], [2, 1], "rotation"),
        (TURN, [0, 0, 1], "mixed"),
        ([[0, 1], [0, 0]], None, "shear"),
        ([[0, 1], [0, 0]], [0, 1], "mixed"),
        ([[0, 1], [1, 0]], None, "mixed"),
        ([[0, 3], [-1, 0]], None, "mixed"),
    ],
    ids=["b", "+", "-", "+-", "about", "turn", "turn-about", "screw", "shear", "parabola", "boost", "ellipse"],
)
def test_kind_of_a_generator(a: Any, b: Any, expected: str) -> None:
    """A screw, a rotation with a translation along its axis, has no fixed point; a shear with A b != 0 moves on
    parabolas."""
    assert AffineField.from_matrices(a, b).kind == expected


@brief
@given(FIELDS)
def test_symmetry_of_the_matrix(x: AffineField) -> None:
    a, b = x.matrices()
    assert (x.is_symmetric, x.is_antisymmetric) == (a == a.T, a == -a.T)
    assert (x.is_linear, x.is_translation) == (b.is_zero_matrix, a.is_zero_matrix)
    even = symmetrised(x)
    assert even.is_symmetric and (even - 2 * x).is_antisymmetric


def test_fixed_point_solves_the_equation() -> None:
    assert AffineField.from_matrices([[0, 1], [-1, 0]], [2, 1]).fixed_point == {0: 1, 1: -2}
    assert AffineField.from_matrices(TURN, [0, 0, 1]).fixed_point is None
    assert AffineField.from_matrices(TURN).fixed_point == {}


# --- sets of fields ---------------------------------------------------------------------------------------------------


@brief
@given(st.lists(FIELDS, min_size=1, max_size=3))
def test_span_and_readable_basis_of_fields(fields: list[AffineField]) -> None:
    span = FieldSpan(tracked=True)
    kept = span.extended(fields)
    rank = sp.Matrix([[x.to_vector().get(k, 0) for k in range(SIZE * SIZE + SIZE)] for x in fields]).rank()
    assert len(span) == len(kept) == rank == len(readable_fields(fields))
    assert all(x in span for x in [*fields, *readable_fields(fields)])
    for x in fields:
        mix = span.coordinates(x)
        assert mix is not None
        assert x == AffineField.combination((kept[k], c) for k, c in mix.items()) if mix else not x


@brief
@given(st.lists(FIELDS, min_size=1, max_size=4))
def test_restriction_is_all_that_meets_the_conditions(fields: list[AffineField]) -> None:
    """To b = 0 and Tr A = 0: dimension by the rank of (b, Tr A) on a basis."""
    basis = FieldSpan().extended(fields)
    found = restricted(basis, lambda x: [*x.b.items(), *(("trace", c) for (i, j), c in x.A.items() if i == j)])
    assert all(x.is_linear and x.trace() == 0 and x in FieldSpan(basis) for x in found)
    rows = [[*(x.b.get(i, 0) for i in range(SIZE)), x.trace()] for x in basis]
    assert len(FieldSpan(found)) == len(found) == len(basis) - (sp.Matrix(rows).rank() if rows else 0)


def test_components_share_no_entry_of_theta() -> None:
    turns = [AffineField(5, {(0, 3): 1, (3, 0): -1}), AffineField(5, {(1, 1): 1}), AffineField(5, {}, {3: 1, 4: 1})]
    assert components(turns) == [[turns[0], turns[2]], [turns[1]]]


def test_invariant_form_is_the_one_kept() -> None:
    def kept(a: Any) -> Any:
        return invariant_form([AffineField.from_matrices(a)])

    assert kept([[0, 3], [-1, 0]]) == ([0, 1], [[1, 0], [0, 3]])
    assert kept([[1, 0], [0, 1]]) is None
    assert kept([[1, 0], [0, -1]]) == ([0, 1], [[0, 1], [1, 0]])
