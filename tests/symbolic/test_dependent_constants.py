"""Constants that are powers of each other, or depend on each other in ways that nobody has proved: counted, or said to
be open; and losses of any size."""

from __future__ import annotations

import pytest
import sympy as sp

from symbolic import Dataset, Loss, Normal, derive
from symbolic.algebra.constants import constants_of
from tests.symbolic.losses import u, w, x

v, a, y, z = sp.symbols("v a y z", real=True)
RANDOM = {x: Normal(0, 1), y: Normal(0, 1), z: Normal(0, 1)}
POWERS = [
    sp.exp(sp.sqrt(2)),
    sp.exp(1 + sp.sqrt(2)),
    sp.Integer(2) ** sp.sqrt(2),
    sp.exp(sp.pi),
    sp.exp(-sp.sqrt(3)),
    sp.sqrt(2) + sp.sqrt(3) + sp.sqrt(5) + sp.sqrt(7),
]


@pytest.mark.parametrize("k", POWERS, ids=str)
def test_powers_of_one_constant_are_no_new_constants(k: sp.Expr) -> None:
    """u + k w is all that shows: one law, k u - w, and its square, whose entries are k^2, k and 1."""
    theory = derive(Loss(((u + k * w) * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}))
    assert (theory.algebra.dimension, theory.algebra.symmetric, theory.independent_charges) == (3, 2, 1)
    assert (theory.conservation_laws, theory.certificate.status) == (1, "proved")


def test_one_symbol_stands_for_all_powers() -> None:
    """exp(2 sqrt(2)), 4**sqrt(2) and 2**(-sqrt(2)) are whole powers; so are roots of one number."""
    for least, power, n in (
        (sp.exp(sp.sqrt(2)), sp.exp(2 * sp.sqrt(2)), 2),
        (2 ** sp.sqrt(2), 4 ** sp.sqrt(2), 2),
        (2 ** sp.sqrt(2), 1 / 2 ** sp.sqrt(2), -1),
        (sp.root(5, 7), sp.root(25, 7), 2),
    ):
        found = constants_of(least, power)
        assert found.independent
        assert found.values[power] == found.values[least] ** n


def test_a_root_of_a_transcendental_sum_is_not_called_proved() -> None:
    """sqrt(1 + pi) and pi are no independent symbols: 2 more generators may be there, and are."""
    k = sp.sqrt(1 + sp.pi)
    theory = derive(Loss(((k * u + k**2 * w) * x + (u + k * w) * z - y) ** 2, [u, w], RANDOM))
    assert theory.certificate.status == "partial"
    assert theory.complete is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (sp.log(2) + sp.log(3), sp.log(6)),
        (sp.cosh(1) + sp.sinh(1), sp.E),
        (sp.acos(sp.Rational(1, 3)), sp.pi / 2 - sp.asin(sp.Rational(1, 3))),
    ],
    ids=str,
)
def test_equal_constants_that_do_not_look_it(left: sp.Expr, right: sp.Expr) -> None:
    """left u + right w is a multiple of u + w: one law, which independent symbols would hide."""
    theory = derive(Loss(((left * u + right * w) * x + (u + w) * z - y) ** 2, [u, w], RANDOM))
    assert (theory.algebra.dimension, theory.independent_charges, theory.conservation_laws) == (3, 1, 1)
    assert theory.certificate.status == "numerical"


def test_laws_hidden_by_a_relation_of_constants_are_not_counted_away() -> None:
    """cos(1) u + sin(1) w is all that shows, once sin^2 + cos^2 = 1 is known."""
    s, c = sp.sin(1), sp.cos(1)
    theory = derive(Loss(((c * u + s * w) * x + (c * s * u + (1 - c**2) * w) * z - y) ** 2, [u, w], RANDOM))
    assert theory.conservation_laws in (None, 1)
    assert theory.complete is None


def test_further_laws_with_high_roots() -> None:
    """Their coefficients name other powers of the same root."""
    k = sp.root(5, 7)
    theory = derive(Loss(((u + k * w) * v * x + k * u * x - y) ** 2, [u, w, v], {x: Normal(0, 1), y: Normal(0, 1)}))
    assert str(theory)
    assert theory.to_json()["conservation_laws"] == 2


@pytest.mark.parametrize("size", [sp.Rational(1, 10**13), 10**13, 10**30], ids=str)
def test_the_loss_may_be_of_any_size(size: sp.Expr) -> None:
    """A factor changes no symmetry, whether they are found exactly or at random points."""
    loss = Loss(size * (sp.asinh(u * w * x) - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})
    theory = derive(loss)
    assert (theory.algebra.dimension, theory.conservation_laws, theory.certificate.status) == (1, 1, "proved")


def test_data_in_large_units() -> None:
    data = Dataset({x: [1e9, 2e9, -1e9, 5e8], y: [1.0, 2.0, 0.5, 3.0]})
    theory = derive(Loss((u * w * x - y) ** 2, [u, w], data))
    assert (theory.algebra.dimension, theory.conservation_laws) == (1, 1)
