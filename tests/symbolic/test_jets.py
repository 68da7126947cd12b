"""Arithmetic mod p with nilpotent parts, against SymPy's derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from symbolic import Dataset, Loss, Normal
from symbolic.evaluation.lie_brackets import Fields, rank
from symbolic.evaluation.prime_field import PRIME, Jet, Unsupported, inverse, modular
from symbolic.functions.activations import relu
from tests.symbolic.losses import u, w, x, y

GAUSS = {x: Normal(0, 1), y: Normal(0, 1)}


def residue(value: sp.Expr) -> int:
    return modular(sp.Rational(value))


def test_product_is_that_of_the_truncated_ring():
    """(a + b e1 + c e2 + d e1 e2)^2 by hand."""
    a, b, c, d = 3, 5, 7, 11
    square = Jet(np.array([[a], [b], [c], [d]])) ** 2
    assert square.data.ravel().tolist() == [a * a, 2 * a * b, 2 * a * c, 2 * (a * d + b * c)]


def test_inverse_and_division():
    rng = np.random.default_rng(0)
    value = Jet(rng.integers(1, PRIME, (8, 5)))
    product = value * (1 / value)
    assert product.data[0].tolist() == [1] * 5
    assert not product.data[1:].any()
    assert (inverse(value.data[0]) * value.data[0] % PRIME == 1).all()


def values(fields: Fields, rest: np.ndarray) -> list[dict]:
    names = fields.inputs
    return [dict(zip(names, [*map(int, fields.theta), *map(int, column)], strict=True)) for column in rest.T]


RATIONAL = [
    (u * w * x - y) ** 2,
    (u**3 * x + w) ** 4 / (1 + u**2 * w**2) - y * w,
    (u * x / (w**2 + u**2) - y) ** 2,
]


@pytest.mark.parametrize("expression", RATIONAL, ids=str)
def test_brackets_are_those_of_sympy(expression: sp.Expr):
    """[X, [Y, Z]] of gradient fields at a point: exact derivatives reduced mod p."""
    loss = Loss(expression, [u, w], GAUSS)
    fields = Fields(loss)
    batches = [fields.draw(2) for _ in range(3)]
    theta = sp.Matrix([u, w])

    def field(values_of: dict) -> sp.Matrix:
        return sp.Matrix([sp.diff(expression, s) for s in (u, w)]).xreplace({s: values_of[s] for s in (x, y)})

    def bracket(a: sp.Matrix, b: sp.Matrix) -> sp.Matrix:
        return b.jacobian(theta) * a - a.jacobian(theta) * b

    for n in range(2):
        a, b, c = (field(values(fields, batch)[n]) for batch in batches)
        at = values(fields, batches[0])[n]
        for expected, got in (
            (bracket(b, c), fields.bracket(batches[1:])),
            (bracket(a, bracket(b, c)), fields.bracket(batches)),
        ):
            assert [residue(v.xreplace({s: at[s] for s in (u, w)})) for v in expected] == [
                int(g.data[0, n]) for g in got
            ]


ROOT = sp.sqrt(u**2 * x**2 + 1)


@pytest.mark.parametrize(
    "constant",
    [
        1 / (1 + sp.exp(u * x)) + 1 / (1 + sp.exp(-u * x)),
        sp.sin(u * x) ** 2 + sp.cos(u * x) ** 2,
        sp.tanh(u * x) + 2 / (sp.exp(2 * u * x) + 1),
        1 / (1 + ROOT) - (ROOT - 1) / (u**2 * x**2),
    ],
    ids=["exp", "sin", "tanh", "sqrt"],
)
def test_functions_keep_their_rules(constant: sp.Expr):
    """exp(-q) exp(q) = 1, sin^2 + cos^2 = 1, tanh by exp, sqrt(q)^2 = q: gradients of what is constant vanish, of one
    term of it not."""
    for expression, flat in ((constant, True), (constant.args[0], False)):
        fields = Fields(Loss(expression + w, [u, w], {x: Normal(0, 1)}))
        rest = fields.draw(40)
        assert rest.shape[1]
        assert fields.gradient(rest, fields.start(rest.shape[1]))[0].data.any() != flat


def test_kinks_open_consistently():
    """relu(q) - relu(-q) = q whatever the sides."""
    loss = Loss((relu(u * x + w) - relu(-u * x - w)) * y, [u, w], GAUSS)
    fields = Fields(loss)
    rest = fields.draw(40)
    gradient = fields.gradient(rest, fields.start(40))
    assert np.array_equal(gradient[1].data[0], rest[1])
    assert np.array_equal(gradient[0].data[0], rest[0] * rest[1] % PRIME)


def test_labels_keep_their_patterns():
    labels = np.array([[1, 0], [0, 1], [1, 0]])
    a, b = sp.symbols("a b", real=True)
    loss = Loss(a * u + b * w + x * u, [u, w], Dataset({a: labels[:, 0], b: labels[:, 1], x: [0.1, 0.2, 0.3]}))
    rest = Fields(loss).draw(50)
    assert set(map(tuple, rest[:2].T)) == {(1, 0), (0, 1)}


@pytest.mark.parametrize("expression", [sp.besselj(0, u * x) * w, (u * x) ** sp.Rational(1, 3) * w], ids=str)
def test_what_has_no_value_is_refused(expression: sp.Expr):
    with pytest.raises((Unsupported, ValueError)):
        Fields(Loss(expression, [u, w], GAUSS))


def test_rank():
    assert rank(np.array([[1, 2, 3], [2, 4, 6], [0, 1, 1]])) == 2
    assert rank(np.zeros((0, 4))) == 0
