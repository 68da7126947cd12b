"""Directional derivatives of array expressions, almost everywhere, and which states stand entry by entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import sympy as sp

from symbolic.arrays import building
from symbolic.arrays.building import elementwise, of_sympy, reduced
from symbolic.arrays.expression import (
    Array,
    Call,
    Elementwise,
    Join,
    Lookup,
    Reduce,
    Reshape,
    State,
    Take,
    View,
    broadcast,
    constant,
    lookup,
    walk,
)
from symbolic.arrays.operations import OPERATIONS
from symbolic.errors import InputError
from symbolic.functions.registry import derivative
from symbolic.functions.tables import slopes

A, B, VALUE = (sp.Dummy(name, real=True) for name in ("a", "b", "f"))


def along(roots: Sequence[Array], directions: Mapping[Array, Array]) -> list[Array]:
    """The derivatives of nodes in a direction, given for each state that moves. Raises InputError."""
    slopes: dict[Array, Array | None] = {}
    for node in walk(roots):
        inner = [slopes[a] for a in node.args]
        if node in directions:
            slopes[node] = directions[node]
        elif all(s is None for s in inner):
            slopes[node] = None
        else:
            slopes[node] = _slope(node, [_filled(s, a) for s, a in zip(inner, node.args, strict=True)])
    return [_filled(slopes[r], r) for r in roots]


def _filled(slope: Array | None, node: Array) -> Array:
    return broadcast(constant(0.0), node.shape) if slope is None else slope


def _slope(node: Array, inner: Sequence[Array]) -> Array:
    if isinstance(node, Elementwise):
        if node.condition:
            return broadcast(constant(0.0), node.shape)
        made = _elementwise(node, inner)
        return made if made.shape == node.shape else broadcast(made, node.shape)
    if isinstance(node, View):
        return building.rebuilt(node, [inner[0]])
    if isinstance(node, Take):
        return Take.of(node.shape, (inner[0], node.args[1]))
    if isinstance(node, (Reshape, Join)):
        return type(node).of(node.shape, inner, node.data)
    if isinstance(node, Call):
        rule = "a compiled function has no derivative here"
        raise InputError.of("array", rule, node, "Use a scheme without derivatives, e.g. sriw1 for milstein.")
    assert isinstance(node, Reduce)
    kind, axes = node.data
    if kind == "sum":
        return reduced("sum", inner[0], axes)
    if kind == "prod":
        rule = "a derivative of a product over an axis is not there"
        raise InputError.of("array", rule, node, "Use a scheme without derivatives, or exp of a sum of logarithms.")
    best = broadcast(building.expanded(node, axes), node.args[0].shape)
    here = elementwise(
        "where", elementwise("greater_equal" if kind == "max" else "less_equal", node.args[0], best), 1, 0
    )
    return reduced("sum", here * inner[0], axes) / reduced("sum", here, axes)


def _elementwise(node: Array, inner: Sequence[Array]) -> Array:
    name, args = node.data[0], node.args
    if isinstance(node, Lookup):
        steep = lookup(args[0], *slopes(*node.values), "previous")
        return steep * inner[0] if node.data[1] == "linear" else constant(0.0)
    if name in ("add", "subtract", "negative"):
        return elementwise(name, *inner)
    if name == "Reached":
        return inner[0]
    if name == "multiply":
        return inner[0] * args[1] + args[0] * inner[1]
    if name == "divide":
        return (inner[0] - node * inner[1]) / args[1]
    if name == "sqrt":
        return inner[0] / (2 * node)
    if name == "where":
        return elementwise("where", args[0], inner[1], inner[2])
    if name == "power":
        return args[1] * args[0] ** (args[1] - 1) * inner[0] + node * np.log(args[0]) * inner[1]
    total = constant(0.0)
    for slope, change in zip(_slopes(name), inner, strict=True):
        known = dict(zip((A, B), args, strict=False)) | {VALUE: node}
        total = total + of_sympy(slope, known) * change
    return total


def slopes_of(node: Array) -> list[Array]:
    """The derivatives of an elementwise operation in each of its arguments."""
    units = [constant(1.0 if k == j else 0.0) for k in range(len(node.args)) for j in range(len(node.args))]
    n = len(node.args)
    return [_elementwise(node, units[k * n : (k + 1) * n]) for k in range(n)]


@lru_cache(maxsize=128)
def _slopes(name: str) -> tuple[sp.Expr, ...]:
    row = OPERATIONS[name].row
    assert row is not None
    arguments = (A, B)[: row.arity]
    value, still = row.function(*arguments), arguments[: row.order]
    return tuple(sp.S.Zero if a in still else derivative(value, a).xreplace({value: VALUE}) for a in arguments)


def entrywise(node: Array, state: Array) -> bool:
    """Whether each entry of a node depends on no state but the same entry of one, as its formula shows."""
    for n in walk([node]):
        if state in n.reads and n is not state:
            if isinstance(n, Call) and n.data[1] and n.args[0] is state:
                continue
            if not isinstance(n, Elementwise):
                return False
            if any(a.reads and (state in a.reads) and a.shape != node.shape for a in n.args):
                return False
    return not any(isinstance(s, State) and s is not state for s in node.reads)
