"""Charges as objects: expressions, generators, kinds, values, and how a theory shows and records them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sympy as sp

from symbolic.library import LIBRARY
from symbolic.theory import derive
from tests.symbolic import losses
from tests.symbolic.losses import u, w

FIELDS = {
    "name",
    "parameters",
    "algebra",
    "independent_charges",
    "conservation_laws",
    "complete",
    "certificate",
    "certificate_reason",
    "charges",
    "families",
    "structure",
    "further_laws",
    "undecided",
}


@pytest.mark.parametrize("name", list(LIBRARY))
def test_gradient_of_a_charge_is_twice_its_field(name: str) -> None:
    """docs/theory.md eq. (2.2)."""
    loss = LIBRARY[name].build()
    theory = derive(loss)
    theta = sp.Matrix(loss.theta)
    point = np.random.default_rng(0).normal(size=loss.dimension)
    for charge in theory.charges:
        a, b = charge.generator
        assert a == a.T
        assert sp.Matrix([sp.diff(charge.expression, s) for s in loss.theta]) == sp.expand(2 * (a * theta + b))
        assert charge.value(point) == pytest.approx(
            float(charge.expression.subs(dict(zip(loss.theta, point, strict=True))))
        )
        coefficients = sp.Poly(charge.expression, *loss.theta).coeffs()
        assert all(c.is_Integer for c in coefficients)
        assert sp.gcd_list(coefficients) == 1


def test_rescaling_reads_as_in_the_paper() -> None:
    (charge,) = derive(losses.rescaling()).charges
    assert charge.expression == u**2 - w**2
    assert charge.generator == (sp.diag(1, -1), sp.zeros(2, 1))
    assert (charge.kind, charge.classification) == ("rescaling", "convergent")
    assert "both signs" in charge.reason
    assert charge.value(np.array([[1.0, 2.0], [3.0, 0.0]])).tolist() == [-3.0, 9.0]


def test_chain_pairs_neighbours() -> None:
    theory = derive(LIBRARY["scalar-chain"].build(depth=4))
    s = theory.loss.theta
    assert [c.expression for c in theory.charges] == [s[i] ** 2 - s[i + 1] ** 2 for i in range(3)]


def test_factorisation_reads_as_matrix_entries() -> None:
    theory = derive(losses.linear_net([3, 2, 4]))
    U, W = sp.Matrix(3, 2, theory.loss.theta[:6]), sp.Matrix(2, 4, theory.loss.theta[6:])
    balance = U.T * U - W * W.T
    found = [c.expression for c in theory.charges]
    assert [sp.expand(f - balance[i, j]) for f, (i, j) in zip(found, [(0, 0), (0, 1), (1, 1)], strict=True)] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("name", list(LIBRARY))
def test_record_is_plain_json(name: str) -> None:
    theory = derive(LIBRARY[name].build())
    record = json.loads(json.dumps(theory.to_json()))
    assert set(record) == FIELDS
    assert set(record["algebra"]) == {"dimension", "symmetric", "antisymmetric"}
    d = theory.loss.dimension
    for charge in record["charges"]:
        assert set(charge) == {"name", "expression", "generator", "kind", "class", "reason", "drift"}
        assert set(charge["generator"]) == {"size", "A", "b"}
        assert charge["generator"]["size"] == d
        assert isinstance(charge["drift"], str)
        assert "lambda_wd" in charge["drift"]


def test_display_says_it_in_words_and_in_latex() -> None:
    theory = derive(losses.rescaling())
    text = str(theory)
    assert "1 charge, 1 independent: 1 driven by noise to a finite equilibrium" in text
    assert "all the conservation laws" in text
    assert "C_1 = u**2 - w**2" in text
    assert "u^{2} - w^{2}" in theory.to_latex()
    assert theory._repr_html_().startswith("<p>")
    assert "u^{2}" in theory.charges[0]._repr_latex_()
    assert "rescaling" in repr(theory.charges[0])
    empty = derive(LIBRARY["two-layer-tanh"].build())
    assert "no affine symmetry" in str(empty)
    assert "no quadratic charge" in empty.to_latex()


def test_display_of_many_charges_is_cut_with_a_count() -> None:
    theory = derive(losses.linear_net([3, 5, 3]))
    assert len(theory.charges) == 15
    assert "and 3 more" in str(theory)
    assert "3 more" in theory.to_latex()
