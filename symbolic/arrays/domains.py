"""Which part of an array's formula has no finite value at a point, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symbolic.arrays.evaluation import evaluate
from symbolic.arrays.expression import Array, Elementwise, Past, State, walk
from symbolic.arrays.operations import OPERATIONS
from symbolic.arrays.writing import written
from symbolic.functions.domains import Finding


def find(nodes: Sequence[Array], values: Mapping[Any, Any], dtype: str) -> Finding | None:
    """The innermost part that has no finite value, of the first node that has none; a node that reads what `values`
    do not have, or a path's past, is left out. values: as of `evaluate`, of one point."""
    for root in nodes:
        inner = walk([root])
        known = all(s in values for s in root.reads) and all(s in values for s in root.symbols)
        if not known or any(isinstance(n, Past) for n in inner):
            continue
        at = dict(zip(inner, (v[0] for v in evaluate(inner, values, 1)), strict=True))
        bad = {n: np.broadcast_to(~_finite(at[n], dtype), n.shape) for n in inner}
        if bad[root].any():
            return _told(_innermost(root, at, bad), at, bad, dtype)
    return None


def _finite(values: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.isfinite(np.asarray(values, dtype=dtype))


def _innermost(node: Array, at: Mapping[Array, np.ndarray], bad: Mapping[Array, np.ndarray]) -> Array:
    while True:
        parts = [a for a in node.args if bad[a].any()]
        if isinstance(node, Elementwise) and node.data == ("where",):
            taken = np.broadcast_to(at[node.args[0]], node.shape)
            here = [(bad[node] & taken).any(), (bad[node] & ~taken).any()]
            parts = [a for a, used in zip(node.args[1:], here, strict=True) if used and bad[a].any()]
        if not parts:
            return node
        node = parts[0]


def _told(node: Array, at: Mapping[Array, np.ndarray], bad: Mapping[Array, np.ndarray], dtype: str) -> Finding | None:
    if not node.args:
        return None
    index = tuple(int(k[0]) for k in np.nonzero(np.atleast_1d(bad[node])))[: len(node.shape)]
    if not isinstance(node, Elementwise):
        part = node.args[0]
        return Finding(written(node), written(part), float(np.max(np.abs(at[part]))), _beyond(dtype), "", node)
    x = [float(np.broadcast_to(at[a], node.shape)[index]) for a in node.args]
    name, last = node.data[0], node.args[-1]
    row, k, why, advice = OPERATIONS[name].row, int(np.argmax(np.abs(x))), _beyond(dtype), ""
    if name == "divide" and x[1] == 0:
        k, why = 1, "a division by zero"
        advice = f"Keep the divisor from 0, e.g. by maximum({written(last)}, c) with a small c > 0"
    elif name == "sqrt" and x[0] < 0:
        k, why = 0, "the square root of a negative number"
        advice = f"Write sqrt(maximum({written(last)}, 0)), if it is meant to be held at 0 there"
    elif name == "power" and x[0] < 0:
        k, why = 0, "the power of a negative number"
        advice = f"Write maximum({written(node.args[0])}, 0)**{written(last)}, if it is meant to be held at 0 there"
    elif row is not None and (domain := row.domain_of(x)) is not None and domain.left(x[-1], dtype):
        k, why = len(x) - 1, domain.why
        advice = domain.advice.format(written(last)).replace("Max(", "maximum(").replace("Min(", "minimum(")
    return Finding(written(node), _entry(node.args[k], node.shape, index), x[k], why, advice, node)


def _beyond(dtype: str) -> str:
    return f"is beyond the range of {dtype}"


def _entry(part: Array, shape: Sequence[int], index: Sequence[int]) -> str:
    """The entry of a part that is broadcast to a shape."""
    if not part.shape:
        return written(part)
    own = [0 if n == 1 else i for n, i in zip(part.shape, index[len(shape) - part.ndim :], strict=True)]
    place = f"[{', '.join(map(str, own))}]"
    return f"{written(part)}{place}" if isinstance(part, State) else f"entry {place} of {written(part)}"
