"""Reverse-mode differentiation over named statements, so that a gradient costs a few times its loss."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from symbolic.functions.registry import derivatives

Statement = tuple[sp.Symbol, sp.Expr]


def gradient(
    definitions: Sequence[Statement], output: sp.Expr, inputs: Sequence[sp.Symbol]
) -> tuple[list[Statement], list[sp.Expr]]:
    """Statements and entries of d output / d inputs.

    definitions: (name, expression in inputs and earlier names), in order. Returns the forward definitions followed by
    the adjoints, and one expression per input in terms of all of these.
    """
    terms: dict[sp.Symbol, list[sp.Expr]] = {}

    def pull_back(expression: sp.Expr, seed: sp.Expr) -> None:
        symbols = sorted(expression.free_symbols & active, key=str)
        for symbol, slope in zip(symbols, derivatives(expression, symbols), strict=True):
            terms.setdefault(symbol, []).append(seed * slope)

    active = set(inputs)
    for name, value in definitions:
        if value.free_symbols & active:
            active.add(name)
    statements = list(definitions)
    pull_back(output, sp.S.One)
    for name, value in reversed(definitions):
        if name in terms:
            adjoint = sp.Symbol(f":d{name.name}", real=True)
            statements.append((adjoint, sp.Add(*terms.pop(name))))
            pull_back(value, adjoint)
    return statements, [sp.Add(*terms.get(s, [sp.S.Zero])) for s in inputs]


def shared(expression: sp.Expr, prefix: str = ":s") -> tuple[list[Statement], sp.Expr]:
    """An expression as statements, its repeated parts named once."""
    numbered = sp.numbered_symbols(prefix + "_", real=True, cls=sp.Symbol)
    replacements, (reduced,) = sp.cse([expression], symbols=numbered, order="none")
    return list(replacements), reduced
