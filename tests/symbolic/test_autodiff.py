"""Reverse mode over named statements against SymPy's own derivative."""

from __future__ import annotations

import pytest
import sympy as sp

from symbolic.dynamics.autodiff import Statement, gradient, shared
from symbolic.functions.activations import relu, step

a, b, c, x = sp.symbols("a b c x", real=True)
p, q, r = sp.symbols("p q r", real=True)
INPUTS = (a, b, c)

PROGRAMS: dict[str, tuple[list[Statement], sp.Expr]] = {
    "none": ([], a**2 * b + c),
    "chain": ([(p, a * b), (q, p**2 + c), (r, sp.sin(q) * p)], r * q + a),
    "diamond": ([(p, a + b), (q, p * c), (r, p**3)], q * r + p),
    "constant": ([(p, x**2), (q, p * a)], q**2 + p),
    "unused": ([(p, a * b), (q, a * c)], q + b),
    "smooth": ([(p, sp.exp(-a * x)), (q, sp.tanh(p + b)), (r, sp.log(1 + q**2))], r * sp.sqrt(1 + c**2)),
    "kinks": ([(p, relu(a * x + b)), (q, sp.Max(0, p - c))], q**2 + relu(b) * sp.Abs(c)),
}


def inlined(statements: list[Statement], expression: sp.Expr) -> sp.Expr:
    for name, value in reversed(statements):
        expression = expression.xreplace({name: value})
    return expression


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradient_is_the_derivative(name: str) -> None:
    definitions, output = PROGRAMS[name]
    statements, entries = gradient(definitions, output, INPUTS)
    whole = inlined(definitions, output)
    for symbol, entry in zip(INPUTS, entries, strict=True):
        assert sp.expand(inlined(statements, entry) - sp.diff(whole, symbol)) == 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_statements_use_only_what_comes_before(name: str) -> None:
    definitions, output = PROGRAMS[name]
    statements, entries = gradient(definitions, output, INPUTS)
    known = {*INPUTS, x}
    for symbol, value in statements:
        assert value.free_symbols <= known
        assert symbol not in known
        known.add(symbol)
    assert all(e.free_symbols <= known for e in entries)


def test_an_input_that_does_not_occur_has_gradient_zero() -> None:
    statements, entries = gradient([(p, a * b)], p, (a, c))
    assert inlined(statements, entries[0]) == b and entries[1] == 0


def test_gradient_size_grows_linearly_in_depth() -> None:
    """Forward statements are reused: each layer adds a bounded number of statements and operations."""

    def cost(depth: int) -> int:
        names = sp.symbols(f"l0:{depth}", real=True)
        definitions = [(names[0], sp.tanh(a * x + b))] + [
            (names[k], sp.tanh(a * names[k - 1] + b)) for k in range(1, depth)
        ]
        statements, entries = gradient(definitions, names[-1], (a, b))
        return sum(int(sp.count_ops(value)) for _, value in statements) + sum(int(sp.count_ops(e)) for e in entries)

    assert cost(40) - cost(20) <= 1.2 * (cost(20) - cost(0 + 1)) * 20 / 19


def test_shared_parts_give_the_expression_back() -> None:
    expression = sp.exp(a * x + b) / (1 + sp.exp(a * x + b)) + relu(a * x + b) ** 2
    statements, reduced = shared(expression)
    assert statements
    assert inlined(statements, reduced) == expression


def test_relu_follows_pytorch_at_the_kink() -> None:
    assert relu(sp.Integer(0)) == 0 and step(sp.Integer(0)) == 0
    assert sp.diff(relu(a), a) == step(a)
    assert sp.diff(step(a), a) == 0
    assert relu(sp.Rational(3, 2)) == sp.Rational(3, 2) and step(sp.Integer(2)) == 1 and relu(sp.Integer(-2)) == 0
