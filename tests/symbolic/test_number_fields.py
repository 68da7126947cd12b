"""Generators with irrational entries, over the field of the constants that a loss names."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import Loss, Normal, derive
from symbolic.algebra.affine import AffineField
from symbolic.algebra.constants import constants_of
from symbolic.algebra.nullspace import kernel, rank
from symbolic.algebra.number_field import Irrational, rational
from symbolic.algebra.span import Span
from symbolic.evaluation.loss_constants import modulus
from symbolic.evaluation.random_points import residual
from symbolic.problem.parameter import entries
from tests.symbolic.losses import e, u, w, x

a, b, c, d = sp.symbols("a b c d", real=True)
NOISE = {x: Normal(0, 1), e: Normal(0, 1)}
ROOTS = [
    sp.sqrt(2),
    sp.sqrt(3) + sp.sqrt(2),
    sp.Integer(2) ** sp.Rational(1, 3),
    sp.Integer(5) ** sp.Rational(1, 4),
    sp.GoldenRatio,
    sp.cos(2 * sp.pi / 7),
    sp.sqrt(3 + 2 * sp.sqrt(2)) - sp.sqrt(6),
    sp.pi,
    sp.log(2),
    sp.sqrt(2) * sp.E + sp.exp(sp.Rational(1, 2)),
]


def _normal(array: np.ndarray) -> dict[Any, Any]:
    return {sp.ImmutableDenseNDimArray(array): Normal(0, 1)}


def ridge(root: sp.Expr) -> Loss:
    """((u + root w) x - x - e)^2."""
    return Loss(((u + root * w) * x - x - e) ** 2, [u, w], NOISE)


@pytest.mark.parametrize("root", [*ROOTS, sp.cos(2 * sp.pi / 3)], ids=str)
def test_one_direction_is_seen_whatever_its_slope(root: sp.Expr) -> None:
    """u + r w is all that shows: t = (r, -1) times any affine function is a symmetry (3 of them), symmetric are t and
    (t.theta) t, and t.theta is the one law."""
    theory = derive(ridge(root))
    assert (theory.algebra.dimension, theory.algebra.symmetric, theory.independent_charges) == (3, 2, 1)
    assert (theory.conservation_laws, theory.certificate.status) == (1, "proved")
    linear = theory.charges[0].expression
    assert abs(sp.N(sp.diff(linear, u) + root * sp.diff(linear, w), 30)) < 1e-25
    assert residual(ridge(root), theory.algebra.fields, np.random.default_rng(0)) < 1e-30


def test_weighted_circles_turn_by_irrational_generators() -> None:
    """(u^2 + sqrt(2) w^2) x: the ellipse's flow (-sqrt(2) w, u), which is neither symmetric nor antisymmetric."""
    for weight in (sp.sqrt(2), sp.pi, sp.GoldenRatio):
        theory = derive(Loss((u**2 + weight * w**2) * x, [u, w], {x: Normal(0, 1)}))
        assert (theory.algebra.dimension, theory.algebra.symmetric, theory.certificate.status) == (1, 0, "proved")
        matrix, shift = theory.algebra.generators[0]
        assert abs(sp.N(matrix[0, 1] / matrix[1, 0] + weight, 30)) < 1e-25
        assert shift.is_zero_matrix


def test_scaling_by_an_irrational_power() -> None:
    """exp(sqrt(2) u) w: (u, w) -> (u + t, e^{-sqrt(2) t} w), the charge 2 u - sqrt(2) w^2; with 2^u likewise log(2)."""
    for factor, power in ((sp.exp(sp.sqrt(2) * u), sp.sqrt(2)), (2**u, sp.log(2))):
        theory = derive(Loss((factor * w * x - e) ** 2, [u, w], NOISE))
        (charge,) = theory.charges
        assert sp.expand(charge.expression / sp.diff(charge.expression, u) - u + power * w**2 / 2) == 0
        assert (theory.conservation_laws, theory.certificate.status) == (1, "proved")


def test_orthogonal_pairs_over_two_roots() -> None:
    """(a + sqrt(2) b)(c + sqrt(3) d): a product of two linear forms p q. In an orthogonal frame (p, q, and what is not
    seen of each pair, two translations): the rescaling, and 2 translations times 5 affine functions: dimension 11."""
    theory = derive(Loss(((a + sp.sqrt(2) * b) * (c + sp.sqrt(3) * d) * x - e) ** 2, [a, b, c, d], NOISE))
    assert (theory.algebra.dimension, theory.certificate.status) == (11, "proved")
    assert (theory.independent_charges, theory.conservation_laws) == (3, 3)
    assert "Q(sqrt(2), sqrt(3))" in theory.certificate.reason


def test_what_is_not_known_of_constants_is_not_proved() -> None:
    """Whether pi and log(2), or Euler's constant, obey a relation is open: never "proved"; at random points no more is
    found for small D, and for large D it is said that there may be more."""
    for root in (sp.pi + sp.log(2), sp.EulerGamma, sp.sin(1) / sp.cos(1)):
        theory = derive(ridge(root))
        assert (theory.algebra.dimension, theory.certificate.status) == (3, "numerical")
        assert "complete over Q(" in theory.certificate.reason
    p, q, z = (entries(name, (23,)) for name in "pqz")
    many = Loss((sp.EulerGamma * sp.Add(*(p * q * z)) - e) ** 2, {"p": p, "q": q}, {e: Normal(0, 1)} | _normal(z))
    theory = derive(many)
    assert (theory.algebra.dimension, theory.certificate.status) == (23, "partial")


def test_irrational_generators_print_and_compute() -> None:
    theory = derive(ridge(sp.sqrt(2)))
    text, record = str(theory), json.dumps(theory.to_json())
    assert "2*u - sqrt(2)*w" in text
    assert "-sqrt(2)" in record
    assert r"\sqrt{2}" in theory.to_latex()
    assert r"\sqrt{2}" in theory.families[0].latex
    A, shift = theory.charges[0].field.arrays()
    assert np.allclose(shift[0] / shift[1], -np.sqrt(2), rtol=1e-15)
    assert not A.any()
    assert theory.charges[0].classification == theory.charges[1].classification == "frozen"
    back = AffineField.from_matrices(*theory.algebra.generators[0])
    assert back.matrices() == theory.algebra.generators[0]
    assert theory.structure.brackets


def test_arithmetic_of_a_field_is_that_of_its_numbers() -> None:
    for root in ROOTS:
        values = list(constants_of(root * x).values.values())
        for p in values:
            for q in (*values, 3, Fraction(-2, 7)):
                x0, y0 = (sp.N(rational(v), 40) for v in (p, q))
                for exact, real in ((p + q, x0 + y0), (p - q, x0 - y0), (q * p, x0 * y0), (q / p, y0 / x0)):
                    assert abs(sp.N(rational(exact), 40) - real) < 1e-30
                assert (p < q) == bool(x0 < y0)
            assert p - p == 0
            assert p / p == 1
            assert isinstance(p - p, int)


def test_fields_exist_modulo_some_prime_and_keep_their_relations() -> None:
    two, three, six = (sp.sqrt(n) for n in (2, 3, 6))
    found = constants_of(two + three * x + six * u)
    m = modulus(found)
    assert m.known[two] ** 2 % m.prime == 2
    assert m.known[two] * m.known[three] % m.prime == m.known[six]


def test_linear_algebra_over_a_field() -> None:
    root = next(iter(constants_of(sp.sqrt(5) * x).values.values()))
    assert isinstance(root, Irrational)
    (vector,) = kernel([{0: root, 1: 5}, {0: 1, 1: root}], 2)
    assert vector[0] * root + vector.get(1, 0) * 5 == 0
    assert rank([[root, 5], [1, root]]) == 1
    span = Span([{0: root, 1: 1}])
    assert {0: 5, 1: root} in span
    assert {0: 5, 1: -root} not in span
