"""Arrays in the user's own words: indices, operators and NumPy's functions, cut where they are long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from symbolic.arrays.expression import (
    Array,
    Call,
    Constant,
    Elementwise,
    Join,
    Noise,
    Past,
    Reduce,
    Reshape,
    Scalar,
    State,
    Take,
    View,
    number,
)

MOST_TEXT = 200
"""Characters after which what is inside is left out."""
OPERATORS: Mapping[str, tuple[str, int]] = {
    "logical_or": (" | ", 1),
    "logical_and": (" & ", 2),
    "less": (" < ", 3),
    "less_equal": (" <= ", 3),
    "greater": (" > ", 3),
    "greater_equal": (" >= ", 3),
    "add": (" + ", 4),
    "subtract": (" - ", 4),
    "multiply": ("*", 5),
    "divide": ("/", 5),
    "power": ("**", 7),
}
"""Their text, and how tightly they bind; a sign binds with 6, a name with 9."""
NAMES = {"Max": "maximum", "Min": "minimum", "Abs": "abs", "Heaviside": "heaviside"}
MOST_NUMBERS = 6


def written(node: Array) -> str:
    """A node as a user would write it."""
    return _written(node, MOST_TEXT)[0]


def _written(node: Array, room: int) -> tuple[str, int]:
    """Its text, and how tightly that binds."""
    if room < 0:
        return "...", 9
    if isinstance(node, State):
        return node.name.lstrip(":"), 9
    if isinstance(node, Scalar):
        return str(node.data[0]).lstrip(":"), 9
    if isinstance(node, Constant):
        return _numbers(node.values)
    if isinstance(node, View):
        return _viewed(node, room)
    if isinstance(node, Noise):
        return "noise", 9
    if isinstance(node, Elementwise) and (node.data[0] in OPERATORS or node.data[0] in ("negative", "logical_not")):
        return _operated(node, room)
    inside = _each(node.args, room)
    if isinstance(node, Take):
        places = [np.unravel_index(int(k), node.args[0].shape) for k in node.args[1].values.ravel()[:MOST_NUMBERS]]
        index = [str(list(map(int, axis))) for axis in zip(*places, strict=True)]
        few = node.ndim == 1 and node.size <= MOST_NUMBERS
        return f"{_held(node.args[0], 9, room)}[{', '.join(index) if few else '...'}]", 9
    if isinstance(node, Past):
        return _past(node, room), 9
    if isinstance(node, Reduce):
        kind, axes = node.data
        shown = "" if len(axes) == node.args[0].ndim else f"axis={axes[0] if len(axes) == 1 else axes}"
        return f"{_held(node.args[0], 9, room)}.{kind}({shown})", 9
    if isinstance(node, Reshape):
        return f"{_held(node.args[0], 9, room)}.reshape({', '.join(map(str, node.shape))})", 9
    if isinstance(node, Join):
        return f"concatenate([{', '.join(inside)}]{f', axis={node.data[0]}' if node.data[0] else ''})", 9
    name = node.data[0] if isinstance(node, Elementwise) else "f" if isinstance(node, Call) else type(node).__name__
    return f"{NAMES.get(name, name)}({', '.join(inside)})", 9


def _each(nodes: Sequence[Array], room: int) -> list[str]:
    out = list[str]()
    for node in nodes:
        out.append(_written(node, room)[0])
        room -= len(out[-1])
    return out


def _held(node: Array, least: int, room: int) -> str:
    """The text of a part, in brackets where it binds less than that."""
    text, binds = _written(node, room)
    return text if binds >= least else f"({text})"


def _numbers(values: np.ndarray) -> tuple[str, int]:
    if not values.shape:
        return f"{float(values):g}", 9 if values >= 0 else 6
    if values.ndim == 1 and values.size <= MOST_NUMBERS:
        return f"[{', '.join(f'{v:g}' for v in values)}]", 9
    return f"numbers{values.shape}", 9


def _operated(node: Array, room: int) -> tuple[str, int]:
    name = node.data[0]
    if name in ("negative", "logical_not"):
        if isinstance(node.args[0], Past) and name == "negative" and _negated(node.args[0].args[0]) is not None:
            return _past(node.args[0], room, least=True), 9
        return f"{'-' if name == 'negative' else '~'}{_held(node.args[0], 6, room)}", 6
    if name == "greater" and (asked := _asked(node.args[0])) is not None:
        return f"{asked[0]}({_written(asked[1], room)[0]})", 9
    sign, binds = OPERATORS[name]
    left, right = node.args
    least = 4 if binds < 3 else binds  # of & and |, relations stand in brackets
    first = _held(left, least + (name == "power" or binds == 3), room)
    after = room - len(first)
    return f"{first}{sign}{_held(right, least + (name not in ('add', 'multiply')), after)}", binds


def _asked(truth: Array) -> tuple[str, Array] | None:
    """Any or all of the conditions whose truth over axes this is."""
    if isinstance(truth, Reduce) and truth.data[0] in ("max", "min"):
        inner = truth.args[0]
        if isinstance(inner, Elementwise) and inner.data == ("where",) and list(map(number, inner.args[1:])) == [1, 0]:
            return "any" if truth.data[0] == "max" else "all", inner.args[0]
    return None


def _negated(node: Array) -> Array | None:
    """What a node is the negative of."""
    return node.args[0] if isinstance(node, Elementwise) and node.data[0] == "negative" else None


def _past(node: Array, room: int, least: bool = False) -> str:
    f = node.args[0]
    if node.data == ("integral",):
        return f"integral({_written(f, room)[0]})"
    inner = _negated(f) if least else f
    return f"running({'min' if least else 'max'}, {_written(inner if inner is not None else f, room)[0]})"


def _viewed(node: View, room: int) -> tuple[str, int]:
    """Indices of the array that is looked at; what is merely broadcast ahead is that array itself."""
    inner = node.args[0]
    if (value := number(node)) is not None:
        return _numbers(np.array(value))
    if not inner.shape:
        return _written(inner, room)
    own, index, whole = list[int](), list[str](), True
    for n, (start, steps) in zip(inner.shape, node.data[0], strict=True):
        if len(steps) > 1 or (steps and steps[0][0] in own):
            return f"{_held(inner, 9, room)}[...]", 9
        if not steps:
            index.append(":" if n == 1 else str(start))
            whole = whole and n == 1
            continue
        axis, step = steps[0]
        own.append(axis)
        end = start + step * node.shape[axis]
        plain = start == 0 and step == 1 and node.shape[axis] == n
        first = "" if start == (0 if step > 0 else n - 1) else str(start)
        last = "" if end >= n or end < 0 else str(end)
        index.append(":" if plain else f"{first}:{last}" + ("" if step == 1 else f":{step}"))
        whole = whole and plain
    after = node.ndim - 1 - own[-1] if own else 0
    if own == sorted(own) and whole and not after:
        return _written(inner, room)
    name = _held(inner, 9, room)
    if own != sorted(own):
        turned = ".T" if own == sorted(own, reverse=True) and whole else "[...]"
        return f"{name}{turned}", 9
    if (own and not whole) or not own:
        while len(index) > 1 and index[-1] == ":":
            index.pop()
        return f"{name}[{', '.join(index)}]", 9
    return f"{name}[..., {', '.join(['None'] * after)}]", 9


Array.written = staticmethod(written)
