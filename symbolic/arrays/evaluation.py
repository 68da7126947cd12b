"""Nodes by NumPy, over any number of points: what the emitted text is held to, and what pilots take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symbolic.arrays import calls
from symbolic.arrays.expression import (
    Array,
    Call,
    Constant,
    Elementwise,
    Join,
    Lookup,
    Noise,
    Reduce,
    Reshape,
    Scalar,
    State,
    Take,
    View,
    walk,
)
from symbolic.arrays.operations import OPERATIONS
from symbolic.functions.tables import looked_up

REDUCTIONS = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}


def evaluate(roots: Sequence[Array], values: Mapping[Any, Any], points: int) -> list[np.ndarray]:
    """Values (points, *shape) of each node. values: by state or noise (points, *shape), by a scalar's symbol a number
    or (points,)."""
    known: dict[Array, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for node in walk(roots):
            known[node] = _value(node, [known[a] for a in node.args], values)
    return [np.broadcast_to(known[r], (points, *r.shape)) for r in roots]


def _value(node: Array, args: list[np.ndarray], values: Mapping[Any, Any]) -> np.ndarray:
    if isinstance(node, (State, Noise)):
        return np.asarray(values[node])
    if isinstance(node, Scalar):
        return np.asarray(values[node.data[0]], dtype=float).reshape(-1)
    if isinstance(node, Constant):
        return node.values[None]
    if isinstance(node, Call):
        return calls.values(node, args, max(map(len, args)))
    if isinstance(node, Lookup):
        return looked_up(args[0], node.values[0], node.values[1], node.data[1])
    if isinstance(node, Elementwise):
        spread = [a.reshape(len(a), *[1] * (node.ndim + 1 - a.ndim), *a.shape[1:]) for a in args]
        return OPERATIONS[node.data[0]].value(*spread)
    points, inner = len(args[0]), args[0]
    if isinstance(node, Reduce):
        kind, axes = node.data
        return REDUCTIONS[kind](inner, axis=tuple(a + 1 for a in axes))
    if isinstance(node, View):
        places = np.zeros(node.shape, dtype=np.int64)
        for (start, steps), n in zip(node.data[0], node.args[0].shape, strict=True):
            places = places * n + start
            for axis, step in steps:
                places = places + step * np.arange(node.shape[axis]).reshape(-1, *[1] * (node.ndim - 1 - axis))
        return inner.reshape(points, -1)[:, places]
    if isinstance(node, Take):
        return inner.reshape(points, -1)[:, node.args[1].values.astype(np.int64)]
    if isinstance(node, Reshape):
        return inner.reshape(points, *node.shape)
    assert isinstance(node, Join)
    most = max(map(len, args))
    return np.concatenate([np.broadcast_to(a, (most, *a.shape[1:])) for a in args], axis=node.data[0] + 1)
