"""Nodes from operations on nodes, numbers and SymPy's scalars, with the obvious simplified."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce as fold
from typing import Any

import numpy as np
import sympy as sp

from symbolic.arrays.expression import (
    Array,
    Constant,
    Elementwise,
    Join,
    Lookup,
    Past,
    Reduce,
    Reshape,
    Scalar,
    Take,
    View,
    broadcast,
    constant,
    lookup,
    narrow,
    number,
    viewed,
    walk,
)
from symbolic.arrays.operations import OPERATIONS
from symbolic.errors import InputError, as_reals, shown
from symbolic.functions.reached import Reached
from symbolic.functions.registry import ELEMENTARY
from symbolic.functions.tables import Table

MOST_SCALARS = 4096
"""Expressions in an object array or a list that are joined to one node."""
MOST_POWER = 64
RELATIONS: Mapping[type, str] = {
    sp.StrictLessThan: "less",
    sp.LessThan: "less_equal",
    sp.StrictGreaterThan: "greater",
    sp.GreaterThan: "greater_equal",
}


def array(value: Any, where: str = "array") -> Array:
    """A node, SymPy's scalar or matrix, number, or array of these, as a node. Raises InputError."""
    if isinstance(value, Array):
        return value
    if isinstance(value, sp.Basic) and not isinstance(value, (sp.MatrixBase, sp.NDimArray)):
        return of_sympy(value)
    if isinstance(value, (sp.MatrixBase, sp.NDimArray)):
        value = np.array(value.tolist(), dtype=object)
    if isinstance(value, (list, tuple)) and _holds(value):
        return stack([array(v, where) for v in value], 0)
    try:
        return constant(as_reals(value))
    except InputError:
        if isinstance(value, (np.ndarray, list, tuple)):
            entries = np.array(value, dtype=object)
            if entries.ndim and 0 < entries.size <= MOST_SCALARS:
                return reshape(stack([array(v, where) for v in entries.ravel()], 0), entries.shape)
        rule = "must be made of arrays, numbers and SymPy's expressions"
        raise InputError.of(where, rule, value, "Use NumPy's functions of arrays made by symbolic.states.") from None


def _holds(value: Any) -> bool:
    return any(isinstance(v, Array) or (isinstance(v, (list, tuple)) and _holds(v)) for v in value)


def shape_of(*nodes: Array) -> tuple[int, ...]:
    """The shape that nodes broadcast to. Raises InputError."""
    try:
        return np.broadcast_shapes(*(n.shape for n in nodes))
    except ValueError:
        raise InputError(
            f"array: shapes must broadcast; got {', '.join(str(n.shape) for n in nodes)} (shapes). Insert axes, as in"
            " X[:, None]."
        ) from None


def elementwise(name: str, *values: Any) -> Array:
    """An operation of entries, by broadcasting. Raises InputError."""
    whole = [array(v) for v in values]
    shape = shape_of(*whole)
    args = [narrow(a) for a in whole]
    operation = OPERATIONS[name]
    of_conditions = operation.value in (np.logical_and, np.logical_or, np.logical_not)
    args = [_kind(a, of_conditions or (name == "where" and k == 0)) for k, a in enumerate(args)]
    if all(isinstance(a, Constant) for a in args) and not operation.condition:
        with np.errstate(all="ignore"):
            made = constant(operation.value(*(a.values for a in args)))
    else:
        made = _simplified(name, args)
        if made is None:
            made = Elementwise.of(shape_of(*args), args, (name,))
    return made if made.shape == shape else broadcast(made, shape)


def _kind(node: Array, condition: bool) -> Array:
    """A node where truth values are asked for, or where numbers are."""
    if node.condition == condition:
        return node
    return elementwise("greater", elementwise("Abs", node), 0) if condition else elementwise("where", node, 1, 0)


def _simplified(name: str, args: Sequence[Array]) -> Array | None:
    """What sums with 0, products with 1 or 0 and powers of constants are; None where there is nothing to do."""
    numbers = [number(a) for a in args]
    first, last = numbers[0], numbers[-1]
    if name == "add" and (0 in (first, last)):
        return args[1] if first == 0 else args[0]
    if name == "subtract" and last == 0:
        return args[0]
    if name == "subtract" and first == 0:
        return elementwise("negative", args[1])
    if name == "multiply" and 1 in (first, last):
        return args[1] if first == 1 else args[0]
    if name == "multiply" and -1 in (first, last):
        return elementwise("negative", args[1] if first == -1 else args[0])
    if (name == "multiply" and 0 in (first, last)) or (name == "divide" and first == 0):
        return constant(0.0)
    if name == "divide" and last == 1:
        return args[0]
    if name == "negative" and isinstance(args[0], Elementwise) and args[0].data == ("negative",):
        return args[0].args[0]
    if name == "power" and last is not None:
        return _power(args[0], last)
    return None


def _power(base: Array, power: float) -> Array | None:
    whole = int(power) if abs(power) <= MOST_POWER and power * 2 == int(power * 2) else None
    if whole is None:
        return None
    if power < 0:
        return elementwise("divide", 1, elementwise("power", base, -power))
    if power != whole:
        root = elementwise("sqrt", base)
        return elementwise("multiply", elementwise("power", base, whole), root) if whole else root
    if whole < 2:
        return base if whole else constant(1.0)
    half = elementwise("power", base, whole // 2)
    square = elementwise("multiply", half, half)
    return elementwise("multiply", square, base) if whole % 2 else square


def of_sympy(e: Any, known: Mapping[Any, Array] | None = None) -> Array:
    """SymPy's scalar expression as a node; known: what stands for some of its symbols. Raises InputError."""
    memo: dict[Any, Array] = dict(known or {})

    def visit(e: Any) -> Array:
        if e not in memo:
            memo[e] = made(e)
        return memo[e]

    def made(e: Any) -> Array:
        if isinstance(e, sp.Symbol):
            return Scalar.of((), (), (e,))
        if e.is_number and not e.is_Relational:
            if e.is_extended_real is False:
                raise InputError.of("array", "numbers must be real", e, "Rewrite it.")
            return constant(float(e))
        if isinstance(e, (sp.Add, sp.Mul)):
            return _balanced("add" if e.is_Add else "multiply", [visit(a) for a in e.args])
        if isinstance(e, sp.Pow):
            return elementwise("power", visit(e.base), visit(e.exp))
        if isinstance(e, sp.Piecewise):
            out = constant(np.nan)
            for value, condition in reversed(e.args):
                v = visit(value)
                out = v if condition == sp.true else elementwise("where", visit(condition), v, out)
            return out
        if isinstance(e, (sp.And, sp.Or)):
            word = "logical_and" if isinstance(e, sp.And) else "logical_or"
            return fold(lambda a, b: elementwise(word, a, b), map(visit, e.args))
        if isinstance(e, Reached):
            return elementwise("Reached", visit(e.args[0]))
        if isinstance(e, sp.Not):
            return elementwise("logical_not", visit(e.args[0]))
        if isinstance(e, sp.logic.boolalg.ITE):
            first, second, third = map(visit, e.args)
            return elementwise(
                "logical_or",
                elementwise("logical_and", first, second),
                elementwise("logical_and", elementwise("logical_not", first), third),
            )
        if type(e) in RELATIONS:
            return elementwise(RELATIONS[type(e)], *map(visit, e.args))
        if isinstance(e, Table):
            return lookup(visit(e.args[0]), e.times, e.values, e.kind)
        row, past = ELEMENTARY.get(type(e)), getattr(type(e), "past", None)
        if past:
            return Past.of((), (visit(e.args[0]),), (past,))
        if row is None:
            raise InputError.of("array", "every function must have a numeric form", e, "Rewrite it.")
        arguments = [visit(a) for a in e.args]
        return (
            fold(lambda a, b: elementwise(row.name, a, b), arguments) if row.fold else elementwise(row.name, *arguments)
        )

    return visit(e)


def _balanced(name: str, parts: list[Array]) -> Array:
    """A sum or product of many, nested as little as may be."""
    while len(parts) > 1:
        pairs = [elementwise(name, a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[len(pairs) * 2 :]
    return parts[0]


def excess(condition: Array) -> Array:
    """What is positive where a condition holds: one side less the other, where it may be equal `Reached`, the least of
    what must hold together, the greatest of what may."""
    name = condition.data[0] if isinstance(condition, Elementwise) else ""
    if name in ("logical_and", "logical_or"):
        return elementwise("Min" if name == "logical_and" else "Max", *map(excess, condition.args))
    if name == "logical_not":
        return elementwise("Reached", elementwise("negative", excess(condition.args[0])))
    if name in ("greater", "greater_equal"):
        least = number(condition.args[1])
        several = _several(condition.args[0]) if least is not None and 0 < least < 1 else None
        if several is not None:
            return several
    if name in ("greater", "greater_equal", "less", "less_equal"):
        over = elementwise("subtract", *condition.args[:: -1 if name.startswith("less") else 1])
        return elementwise("Reached", over) if name.endswith("equal") else over
    return condition


def _several(truth: Array) -> Array | None:
    """The excess of conditions, where `holds` made their truth over axes: the greatest or the least of theirs."""
    if isinstance(truth, Elementwise) and truth.data == ("where",) and truth.args[0].condition:
        return excess(truth.args[0]) if list(map(number, truth.args[1:])) == [1, 0] else None
    if isinstance(truth, View) or (isinstance(truth, Reduce) and truth.data[0] in ("max", "min")):
        inner = _several(truth.args[0])
        return None if inner is None else rebuilt(truth, [inner])
    return None


def holds(kind: str, value: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """Whether one entry ("max") or all ("min") are true over axes."""
    return elementwise("greater", reduced(kind, _kind(array(value), True), axis, keepdims), 0.5)


def axes_of(node: Array, axis: Any) -> tuple[int, ...]:
    """Axes as numbers from 0 on, sorted. Raises InputError."""
    if axis is None:
        return tuple(range(node.ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    try:
        found = sorted(operator.index(a) for a in given)
    except TypeError:
        found = [node.ndim]
    out = tuple(sorted(a + node.ndim if a < 0 else a for a in found))
    if len(set(out)) < len(out) or any(not 0 <= a < node.ndim for a in out):
        raise InputError.of("array", f"axes must be those of shape {node.shape}", axis, "Axes count from 0.")
    return out


def reduced(kind: str, value: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """A sum ("sum"), product, largest or smallest over axes. Raises InputError."""
    node = array(value)
    node = elementwise("where", node, 1, 0) if node.condition else node
    axes = axes_of(node, axis)
    long = tuple(a for a in axes if node.shape[a] > 1)
    flat = viewed(node, lambda a: a[tuple(0 if k in axes and k not in long else slice(None) for k in range(a.ndim))])
    if long:
        left = [k for k in range(node.ndim) if k not in axes or k in long]
        where = tuple(left.index(k) for k in long)
        shape = tuple(n for k, n in enumerate(flat.shape) if k not in where)
        copies = constant(np.prod([flat.shape[k] for k in where]))
        if number(flat) is not None and kind in ("sum", "max", "min"):
            value = elementwise("multiply", constant(number(flat)), copies) if kind == "sum" else constant(number(flat))
            flat = broadcast(value, shape)
        else:
            flat = Reduce.of(shape, (flat,), (kind, where))
    if keepdims:
        flat = expanded(flat, axes)
    return flat


def expanded(node: Array, axes: Sequence[int]) -> Array:
    """With axes of one entry put in."""
    return viewed(node, lambda a: np.expand_dims(a, tuple(axes)))


def reshape(value: Any, shape: Any) -> Array:
    """The same entries, row-major. Raises InputError."""
    node = array(value)
    given = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    try:
        shape = np.broadcast_to(np.int8(0), node.shape).reshape(given).shape
    except (TypeError, ValueError):
        raise InputError.of(
            "array", f"shape {node.shape} has no such form", given, "Keep the entries' number."
        ) from None
    if shape == node.shape:
        return node
    kept = [(k, n) for k, n in enumerate(node.shape) if n > 1]
    if [n for _, n in kept] == [n for n in shape if n > 1]:  # axes of one entry come and go
        inner = viewed(node, lambda a: a[tuple(slice(None) if n > 1 else 0 for n in a.shape)])
        return viewed(inner, lambda a: np.expand_dims(a, tuple(k for k, n in enumerate(shape) if n == 1)))
    node = _kind(node, False)
    while isinstance(node, Reshape):
        node = node.args[0]
    return Reshape.of(shape, (node,)) if shape != node.shape else node


def take(value: Any, places: np.ndarray) -> Array:
    """Entries by their row-major places, whole numbers of any shape."""
    node = _kind(array(value), False)
    return Take.of(places.shape, (node, constant_places(places)))


def constant_places(places: np.ndarray) -> Array:
    """Whole numbers as a constant that is an array, whatever they are."""
    made = constant(places)
    if isinstance(made, View):  # all the same: the entries are needed one by one
        values = np.ascontiguousarray(places, dtype=np.float64)
        made = Constant.of(places.shape, (), (f"all {values.flat[0]:g}",))
        made.values = values
    return made


def concatenate(values: Sequence[Any], axis: int = 0) -> Array:
    """Arrays one after another. Raises InputError."""
    parts = [array(v) for v in values]
    parts = [elementwise("where", p, 1, 0) if p.condition else p for p in parts]
    try:
        shape = np.concatenate([np.broadcast_to(np.int8(0), p.shape) for p in parts], axis=axis).shape
    except ValueError:
        got = [p.shape for p in parts]
        raise InputError.of("array", "shapes must fit but for the axis that is joined", got, "Match them.") from None
    if len(parts) == 1:
        return parts[0]
    return Join.of(shape, parts, (axis % len(shape),))


def stack(values: Sequence[Any], axis: int = 0) -> Array:
    """Arrays of one shape along a new axis. Raises InputError."""
    parts = [array(v) for v in values]
    if len({p.shape for p in parts}) != 1:
        raise InputError.of("array", "arrays must have one shape", [p.shape for p in parts], "Match them.")
    return concatenate([viewed(p, lambda a: np.expand_dims(a, axis)) for p in parts], axis)


def matmul(a: Any, b: Any) -> Array:
    """NumPy's a @ b. Raises InputError."""
    left, right = array(a), array(b)
    if not left.ndim or not right.ndim or left.shape[-1] != right.shape[-2 if right.ndim > 1 else 0]:
        got = f"{left.shape} and {right.shape}"
        raise InputError(f"array: @ needs equal inner sizes; got {got} (shapes). Transpose one side, or use *.")
    one, other = left.ndim == 1, right.ndim == 1
    if one or other:  # the sum runs over the last axis of both
        right = viewed(right, lambda v: np.swapaxes(v, -1, -2)) if right.ndim > 1 else right
        return reduced("sum", elementwise("multiply", left, right), -1)
    rows = viewed(left, lambda v: v[..., :, None, :])
    columns = viewed(right, lambda v: np.swapaxes(v, -1, -2)[..., None, :, :])
    return reduced("sum", elementwise("multiply", rows, columns), -1)


def mapped(roots: Sequence[Array], change: Callable[[Array], Array | None]) -> list[Array]:
    """Nodes made anew, with what `change` gives in the place of those for which it gives anything."""
    memo: dict[Array, Array] = {}
    for node in walk(roots):
        new = change(node)
        memo[node] = new if new is not None else rebuilt(node, [memo[a] for a in node.args])
    return [memo[r] for r in roots]


def rebuilt(node: Array, args: Sequence[Array]) -> Array:
    """The node of other arguments, simplified."""
    if all(a is b for a, b in zip(args, node.args, strict=True)):
        return node
    if isinstance(node, Lookup):
        return lookup(args[0], node.values[0], node.values[1], node.data[1])
    if isinstance(node, Elementwise):
        made = elementwise(node.data[0], *args)
        return made if made.shape == node.shape else broadcast(made, node.shape)
    return type(node).of(node.shape, args, node.data)


def refuse(what: str, got: Any, known: Sequence[str]) -> InputError:
    """The refusal of a function that arrays do not have."""
    return InputError(f"array: {what}; got {shown(got)} (function). There are: {', '.join(sorted(known))}.")
