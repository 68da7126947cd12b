"""Functions that are not independent of each other: nothing is called proved that takes them as if they were."""

from __future__ import annotations

import pytest
import sympy as sp

from symbolic import Loss, Normal, derive
from symbolic.functions.registry import ROWS
from symbolic.symmetry.independence import free_functions
from symbolic.symmetry.invariants import Formal
from tests.symbolic.losses import u, w, x, y

a, b, v = sp.symbols("a b v", real=True)
z = u * x
S = sp.sqrt(z**2 + 1)
GAUSS = {x: Normal(0, 1), y: Normal(0, 1)}
NOTHING: dict[str, sp.Expr] = {
    "root of a square of roots": sp.sqrt(2 * z**2 + 1 + 2 * sp.Abs(z) * S) - sp.Abs(z) - S,
    "root of a square in theta": sp.sqrt(sp.expand(2 * (u + w) ** 2)) - sp.sqrt(2) * sp.Abs(u + w),
    "even in an absolute value": sp.exp(sp.Abs(z)) + sp.exp(-sp.Abs(z)) - sp.exp(z) - sp.exp(-z),
    "erf and erfc": sp.erf(u * x - w * x) + sp.erfc(u * x - w * x) - 1,
    "logarithm of a product": sp.log(sp.expand((1 + u**2) * (1 + w**2))) - sp.log(1 + u**2) - sp.log(1 + w**2),
    "asinh": sp.asinh(z) - sp.log(z + S),
    "exponential of a root": sp.exp(sp.sqrt(z**2 + 2 + 2 * S)) - sp.exp(1 + S),
}
"""Functions that are 0, written so that SymPy does not see it."""
ONE: dict[str, sp.Expr] = {
    **{f"hyperbolic at scale {k}": sp.cosh(k * z) ** 2 - sp.sinh(k * z) ** 2 for k in (2, 5, 20, 50)},
    **{f"circular at scale {k}": sp.cos(k * z) ** 2 + sp.sin(k * z) ** 2 for k in (1, 20)},
    "sigmoid and tanh": 2 / (1 + sp.exp(-10 * z)) - sp.tanh(5 * z),
    "erfc of both signs": sp.erfc(z) + sp.erfc(-z) - 1,
    "exponential and tanh": sp.exp(2 * z) * (1 - sp.tanh(z)) / (1 + sp.tanh(z)),
}
"""Functions that are 1."""


@pytest.mark.parametrize("name", NOTHING)
def test_what_vanishes_counts_as_nothing(name: str) -> None:
    """(v f + u w x - y)^2 with f = 0 is (u w x - y)^2 with a free v, which all shears and scales of v leave alone."""
    theory = derive(Loss((v * NOTHING[name] + u * w * x - y) ** 2, [u, w, v], GAUSS))
    assert (theory.algebra.dimension, theory.algebra.symmetric, theory.independent_charges) == (5, 3, 2)
    assert theory.certificate.status == "numerical" or name == "erf and erfc"


@pytest.mark.parametrize("name", ONE)
def test_what_is_constant_counts_as_that(name: str) -> None:
    """(v + u w x - y)^2 keeps u^2 - w^2 alone."""
    theory = derive(Loss((v * ONE[name] + u * w * x - y) ** 2, [u, w, v], GAUSS))
    assert [c.expression for c in theory.charges] == [u**2 - w**2]
    assert theory.algebra.dimension == 1 and theory.complete


def test_gelu_by_erf_and_by_erfc_is_one_function() -> None:
    """a f(u x) + b f(u x): the shift and shears of a - b."""
    first, second = z * (1 + sp.erf(z / sp.sqrt(2))) / 2, z * sp.erfc(-z / sp.sqrt(2)) / 2
    theory = derive(Loss((a * first + b * second - y) ** 2, [a, b, u], GAUSS))
    same = derive(Loss((a * first + b * first - y) ** 2, [a, b, u], GAUSS))
    assert theory.algebra.dimension == same.algebra.dimension == 4
    assert [c.expression for c in theory.charges] == [c.expression for c in same.charges]


def test_singular_values_by_nested_roots_are_rotated() -> None:
    """(s_1 + s_2)^2 - 2 |det M| = |M|^2, which so(4) leaves alone."""
    M = sp.Matrix(2, 2, sp.symbols("m0:4", real=True))
    norm, det = sum(q**2 for q in M), M.det()
    gap = sp.sqrt(norm**2 - 4 * det**2)
    total = sp.sqrt((norm + gap) / 2) + sp.sqrt((norm - gap) / 2)
    theory = derive(Loss((total**2 - 2 * sp.Abs(det) - y) ** 2, list(M), {y: Normal(0, 1)}))
    assert (theory.algebra.dimension, theory.certificate.status) == (6, "numerical")


@pytest.mark.parametrize(
    ("f", "independent"),
    [
        (sp.sqrt(z**2 + 1) * sp.sqrt(w**2 + 1), True),
        (sp.sqrt(z**2 + 1 + S), True),
        (sp.exp(S) + sp.sqrt(z**2 + 2), True),
        (sp.exp(sp.Abs(z)) + sp.exp(w * x), True),
        (sp.sqrt(2 * z**2 + 1 + 2 * z * S), False),
        (sp.sqrt(sp.expand(2 * (u + w) ** 2)), False),
        (sp.exp(sp.Abs(z)) + sp.exp(2 * z), False),
        (sp.exp(sp.sqrt(z**2 + 2 + 2 * S)) + sp.exp(S), False),
    ],
)
def test_roots_and_kinks_inside_functions(f: sp.Expr, independent: bool) -> None:
    """Values mod p are looked at where the roots inside exist, on one pattern of the kinks inside at a time."""
    assert free_functions(Loss((v * f - y) ** 2, sorted(f.free_symbols - {x}, key=str) + [v], GAUSS)) is independent


def test_other_forms_and_parities_are_those_of_the_functions() -> None:
    for row in ROWS:
        for value in (sp.Rational(1, 3), sp.Rational(3, 4)):
            if row.others is not None:
                assert abs(sp.N(row.function(value) - row.others(value), 30)) < 1e-25, row.name
            if row.parity:
                assert abs(sp.N(row.function(value) - row.parity * row.function(-value), 30)) < 1e-25, row.name
    one = Formal(Loss((sp.erf(u * x - w * x) - y) ** 2, [u, w], GAUSS))
    two = Formal(Loss((-sp.erf(w * x - u * x) - y) ** 2, [u, w], GAUSS))
    assert one.values == two.values
