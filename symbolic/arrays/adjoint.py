"""The gradient of one number in states, backwards from it: one pass over its nodes, whatever the size of the states."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from symbolic.arrays import building
from symbolic.arrays.building import elementwise, reduced
from symbolic.arrays.derivative import slopes_of
from symbolic.arrays.expression import (
    Array,
    Call,
    Elementwise,
    Join,
    Past,
    Reduce,
    Reshape,
    State,
    Take,
    View,
    broadcast,
    constant,
    viewed,
    walk,
)
from symbolic.errors import InputError

MOST_PLACES = 2**22
"""Numbers that say where the entries of an array went which an index chose."""


def gradient(root: Array) -> dict[Array, Array]:
    """The derivatives of a node of shape () in the states that it reads, almost everywhere, each of its state's
    shape. Raises InputError for what has none."""
    known: dict[Array, Array] = {root: constant(1.0)}
    found: dict[Array, Array] = {}
    for node in reversed(walk([root])):
        slope = known.pop(node, None)
        if slope is None or not node.reads:
            continue
        if isinstance(node, State):
            found[node] = slope
            continue
        for k, a in enumerate(node.args):
            if a.reads and not a.condition:
                back = _back(node, k, slope)
                known[a] = elementwise("add", known[a], back) if a in known else back
    return found


def _back(node: Array, k: int, slope: Array) -> Array:
    """What a derivative in a node is in its argument number k."""
    inner = node.args[k]
    if isinstance(node, Elementwise):
        if node.condition:
            return broadcast(constant(0.0), inner.shape)
        return _gathered(elementwise("multiply", slope, _slopes(node)[k]), node.shape, inner.shape)
    if isinstance(node, Reduce):
        return _reduced(node, inner, slope)
    if isinstance(node, View):
        return _viewed(node, inner, slope)
    if isinstance(node, Take):
        return scattered(slope, node.args[1].values.astype(np.int64), inner.shape)
    if isinstance(node, Reshape):
        return building.reshape(slope, inner.shape)
    if isinstance(node, Join):
        axis = node.data[0]
        first = sum(a.shape[axis] for a in node.args[:k])
        part = slice(first, first + inner.shape[axis])
        return viewed(slope, lambda v: v[(slice(None),) * axis + (part,)])
    assert isinstance(node, Call | Past)
    raise InputError.of("array", "has no derivative here", node, "Leave it out, or look after steps only.")


def _slopes(node: Array) -> list[Array]:
    """Of an elementwise operation in its arguments; of |u| at u = 0 the slope to its right."""
    if node.data[0] == "Abs":
        return [elementwise("where", elementwise("greater_equal", node.args[0], 0), 1, -1)]
    return slopes_of(node)


def _gathered(slope: Array, of: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Sums over the axes along which an argument of `shape` was repeated."""
    slope = slope if slope.shape == of else broadcast(slope, of)
    ahead = len(of) - len(shape)
    axes = [k for k, n in enumerate(of) if k < ahead or (n > 1 and shape[k - ahead] == 1)]
    total = reduced("sum", slope, tuple(axes), keepdims=True) if axes else slope
    return viewed(total, lambda v: v[(0,) * ahead]) if ahead else total


def _reduced(node: Array, inner: Array, slope: Array) -> Array:
    kind, axes = node.data
    if kind == "prod":
        rule = "a derivative of a product over an axis is not there"
        raise InputError.of("array", rule, node, "Use exp of a sum of logarithms.")
    spread = broadcast(building.expanded(slope, axes), inner.shape)
    if kind == "sum":
        return spread
    best = broadcast(building.expanded(node, axes), inner.shape)
    here = elementwise("where", elementwise("greater_equal" if kind == "max" else "less_equal", inner, best), 1, 0)
    many = building.expanded(reduced("sum", here, axes), axes)
    return elementwise("divide", elementwise("multiply", spread, here), many)


def _viewed(node: Array, inner: Array, slope: Array) -> Array:
    """Of entries in other places: views of views where they are no more than axes that are turned or repeated."""
    maps: Sequence[tuple[int, Sequence[tuple[int, int]]]] = node.data[0]
    used = [axis for _, steps in maps for axis, _ in steps]
    repeated = tuple(k for k, n in enumerate(node.shape) if n > 1 and k not in used)
    slope = slope if slope.shape == node.shape else broadcast(slope, node.shape)
    total = reduced("sum", slope, repeated, keepdims=True) if repeated else slope
    turned = [(n, start, list(steps)) for n, (start, steps) in zip(inner.shape, maps, strict=True)]
    if len(set(used)) == len(used) and all(
        (n == 1 and not steps)
        or (start == 0 and len(steps) == 1 and steps[0][1] == 1 and total.shape[steps[0][0]] == n)
        for n, start, steps in turned
    ):
        order = [steps[0][0] for n, _, steps in turned if n > 1]
        kept = [k for k in range(total.ndim) if k in order]
        flat = viewed(total, lambda v: v[tuple(slice(None) if k in order else 0 for k in range(v.ndim))])
        flat = viewed(flat, lambda v: v.transpose([kept.index(k) for k in order]))
        return building.expanded(flat, [k for k, (n, _, _) in enumerate(turned) if n == 1])
    places = np.zeros(total.shape, dtype=np.int64)
    for n, start, steps in turned:
        places = places * n + start
        for axis, step in steps:
            places = places + step * np.arange(node.shape[axis]).reshape(-1, *[1] * (node.ndim - 1 - axis))
    return scattered(total, places, inner.shape)


def scattered(values: Array, places: np.ndarray, shape: tuple[int, ...]) -> Array:
    """An array of `shape` with each entry of `values` added at its row-major place. Raises InputError where the places
    are too many."""
    flat, size = places.ravel(), prod(shape)
    counts = np.bincount(flat, minlength=size)
    most = int(counts.max())
    if most * size > MOST_PLACES:
        rule = f"an index may scatter over at most {MOST_PLACES} places in a derivative"
        raise InputError.of("array", rule, most * size, "Choose entries once, or look after steps only.")
    order, first = np.argsort(flat, kind="stable"), np.cumsum(counts) - counts
    nth = np.arange(most)[:, None]
    held = nth < counts
    table = np.where(held, order[np.minimum(first + nth, len(flat) - 1)], len(flat))
    source = building.reshape(values, (-1,))
    source = source if held.all() else building.concatenate([source, np.zeros(1)])
    return building.reshape(reduced("sum", building.take(source, table), 0), shape)


def spread_of(
    root: Array, states: Sequence[Array], strengths: Sequence[Array], shared: bool
) -> tuple[dict[Array, Array], Array]:
    """Of a node of shape (): the covariance per unit time of each state with it, where it is not 0, and its variance.
    strengths: of states, of their shape, or where noises are shared of an axis more. Raises InputError."""
    slopes = {s: g for s, g in gradient(root).items() if s in states}
    known = dict(zip(states, strengths, strict=True))
    if not shared:
        found = {s: known[s] * known[s] * slopes[s] for s in states if s in slopes}
        total = [reduced("sum", slopes[s] * c) for s, c in found.items()]
        return found, _total(total)
    if not slopes:
        return {}, constant(0.0)
    along = _total([_along(known[s], g) for s, g in slopes.items()])
    return {s: reduced("sum", known[s] * along, -1) for s in states}, reduced("sum", along * along)


def _along(strengths: Array, slope: Array) -> Array:
    """What each of the shared noises moves, (J,)."""
    product = elementwise("multiply", strengths, viewed(slope, lambda v: v[..., None]))
    return reduced("sum", product, tuple(range(slope.ndim)))


def _total(parts: Sequence[Array]) -> Array:
    total = constant(0.0)
    for part in parts:
        total = elementwise("add", total, part)
    return total
