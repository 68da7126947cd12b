"""Largest and smallest entries that an excess over a level asks for all at once."""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import reduce as fold

from symbolic.arrays.building import elementwise, expanded, mapped, reduced
from symbolic.arrays.derivative import entrywise
from symbolic.arrays.expression import (
    Array,
    Constant,
    Elementwise,
    Join,
    Past,
    Reduce,
    Reshape,
    Scalar,
    State,
    Take,
    View,
    constant,
    walk,
)

THROUGH = ("add", "min", "Min", "max", "Max", "sum", "Reached")
"""What grows with each of its arguments."""


def concave(root: Array, noisy: Set[Array]) -> bool:
    """As `dynamics.extremes.concave`, of a number or of each entry. noisy: the states that have noise."""
    return bool(_asking(root, noisy))


def led(root: Array, noisy: Set[Array], then: Mapping[Array, Array]) -> Array:
    """As `dynamics.extremes.led`. then: states and time at a step's end."""
    out = constant(1.0)
    for node in _asking(root, noisy):
        ends = mapped([node, *node.args], then.get)
        least, axes = node.data[0] in ("min", "Min"), node.data[1] if isinstance(node, Reduce) else ()
        first, last = (expanded(n, axes) for n in (node, ends[0]))
        beyond = "less_equal" if least else "greater_equal"
        both = [
            elementwise("logical_and", elementwise(beyond, a, first), elementwise(beyond, b, last))
            for a, b in zip(node.args, ends[1:], strict=True)
        ]
        same = reduced("max", fold(lambda a, b: elementwise("logical_or", a, b), both), axes)
        out = elementwise("multiply", out, reduced("min", same))
    return out


def _asking(root: Array, noisy: Set[Array]) -> list[Array]:
    """The extremes by which it is concave."""
    signs, found = {root: 1}, list[Array]()
    for node in reversed(walk([root])):
        sign = signs.pop(node, None)
        if sign is None or not node.reads & noisy or isinstance(node, Past):
            continue
        kind = node.data[0] if isinstance(node, Reduce | Elementwise) else None
        if kind in ("min", "Min", "max", "Max"):
            moving = [a for a in node.args if a.reads & noisy]
            several = len(moving) > 1 or (isinstance(node, Reduce) and node.size < moving[0].size)
            if several and sign != (-1 if kind in ("min", "Min") else 1) and not _lone(node, noisy):
                found.append(node)
        for a, own in zip(node.args, _through(node, kind, sign), strict=True):
            signs[a] = own if signs.get(a, own) == own else 0
    return found


def _through(node: Array, kind: str | None, sign: int) -> list[int]:
    """The signs with which the arguments of a node stand that stands with this one, 0 where it cannot be told."""
    if isinstance(node, View | Reshape | Join) or kind in THROUGH:
        return [sign] * len(node.args)
    if isinstance(node, Take) or kind == "negative":
        return [sign if isinstance(node, Take) else -sign, 0][: len(node.args)]
    if kind == "subtract":
        return [sign, -sign]
    if kind == "where":
        return [0, sign, sign]
    if kind in ("multiply", "divide"):
        a, b = node.args
        return [sign * _sign(b), sign * _sign(a) if kind == "multiply" else 0]
    return [0] * len(node.args)


def _sign(node: Array) -> int:
    """Of what may also be 0; 0 where it cannot be told."""
    while isinstance(node, View | Reshape):
        node = node.args[0]
    if isinstance(node, Constant):
        return 1 if (node.values >= 0).all() else -1 if (node.values <= 0).all() else 0
    if isinstance(node, Scalar):
        return 1 if node.data[0].is_nonnegative else -1 if node.data[0].is_nonpositive else 0
    return 0


def _lone(node: Array, noisy: Set[Array]) -> bool:
    """Whether each entry of a node reads one entry of one state that has noise, as its formula shows."""
    if any(isinstance(s, State) and entrywise(node, s) for s in node.reads & noisy):
        return True
    found, stack = set[Array](), [node]
    while stack:
        n = stack.pop()
        if isinstance(n, State) and n.size > 1:
            return False
        if isinstance(n, State) or (isinstance(n, View | Take) and n.size == 1 and isinstance(n.args[0], State)):
            found.add(n)
        else:
            stack += [a for a in n.args if a.reads & noisy]
    return len(found) < 2
