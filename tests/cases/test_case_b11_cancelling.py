"""Parameters that cancel: their gradient is 0, so they are conserved, one law each."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from sde.spec.problem_file import SpecError, parse_spec
from symbolic import SGD, Loss, Normal, derive, parameters
from symbolic.errors import InputError
from symbolic.theory import Theory

SPEC = """
[parameters]
W = [3, 2]
b = []
[data]
x = {{ law = "normal", mean = 0, std = 1, shape = [2] }}
y = {{ law = "normal", mean = 0, std = 1, shape = [3] }}
[loss]
where = {{ {where} }}
expression = "{expression}"
"""
CENTRED = 'h = "W@x + b", c = "h - sum(h)/3"'
x, y, z, e = sp.symbols("x y z e", real=True)
u, w, b, c = sp.symbols("u w b c", real=True)
DATA = {x: Normal(0, 1), y: Normal(0, 1), e: Normal(0, 1)}


def _silent(theory: Theory) -> list[str]:
    return [str(k.expression) for k in theory.charges if "its gradient is 0" in k.reason]


def test_case_b11_a_bias_before_mean_centring() -> None:
    theory = derive(parse_spec(SPEC.format(where=CENTRED, expression="sum((c - y)**2)")).loss)
    assert _silent(theory) == ["b"]
    assert "conserved: its gradient is 0" in str(theory)
    # the column sums of W and b: every affine multiple of the three translations, D = 7
    assert theory.algebra.dimension == 3 * (7 + 1)
    assert (theory.independent_charges, theory.conservation_laws, theory.complete) == (3, 3, True)
    assert theory.certificate.status == "proved"


@pytest.mark.parametrize(
    ("expression", "names", "laws"),
    [
        ((u * w * x - y) ** 2, ["b"], 2),
        ((u * w * x - y) ** 2, ["b", "c"], 3),
        ((u * x + w - y) ** 2, ["b"], 1),
        (sp.exp(u * x) - y * w, ["c"], 1),
    ],
)
def test_case_b11_others_that_cancel(expression: sp.Expr, names: list[str], laws: int) -> None:
    more = [sp.Symbol(n, real=True) for n in names]
    loss = Loss(expression, [u, w, *more], DATA, cancelling=names)
    theory = derive(loss)
    assert _silent(theory) == names
    assert (theory.independent_charges, theory.conservation_laws) == (laws, laws)
    at = {str(s): 0.5 for s in loss.theta}
    moved = theory.equilibrium(at, SGD(0.1))
    assert all(k.lambda_star == 0 for k in moved.charges if "gradient is 0" in k.charge.reason)
    assert not theory.sigma(np.full(loss.dimension, 0.5))[2:].any()


def test_case_b11_one_that_stands_in_the_expression() -> None:
    """SymPy does not see that this cancels: ((h - b)^2 - ...) with b inside a product."""
    hidden = (b + x) * (b - x) - b**2
    theory = derive(Loss((u * hidden - y) ** 2, [u, b], DATA))
    assert _silent(theory) == ["b"]
    assert theory.conservation_laws == 1


def test_case_b11_what_does_not_occur_is_still_refused() -> None:
    with pytest.raises(InputError, match=r"each must occur in the expression; got b"):
        Loss((u * x - y) ** 2, [u, b], DATA)
    with pytest.raises(SpecError, match=r"parameters\.b: must occur in the loss"):
        parse_spec(SPEC.format(where='h = "W@x"', expression="sum((h - y)**2)"))
    with pytest.raises(SpecError, match=r"parameters\.b: must occur in the loss"):
        parse_spec(SPEC.format(where='h = "W@x", unused = "b + 1"', expression="sum((h - y)**2)"))


def test_case_b11_vectors() -> None:
    s, t = parameters(s=(2,), t=(2,))
    loss = Loss((u * x - y) ** 2, [u, s, t], DATA, cancelling=["s", "t"])
    theory = derive(loss)
    assert len(_silent(theory)) == 4 == theory.conservation_laws
