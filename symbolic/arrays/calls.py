"""Users' own compiled functions f(x, t, out), by the names that they have in emitted text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import numpy as np

from symbolic.arrays.expression import Array, Call
from symbolic.errors import InputError, shown

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""Of this process. A name never comes again in another one: machine code of a function that may have changed is not
kept."""
_NAMES: dict[Any, str] = {}


def call(
    where: str, function: Any, x: Array | None, t: Array, size: tuple[int, ...], columns: int, entrywise: bool
) -> Any:
    """The node of out = f(x, t), out (columns,) or (columns, J) of shape `size`. Raises InputError for a function that
    is not compiled, fails at a state of ones, or does not fill out."""
    if not callable(function) or not hasattr(function, "py_func"):
        do = "Decorate it by numba.njit; symbols and NumPy's functions need no compiler of yours."
        raise InputError.of(where, "must be a function f(x, t, out) compiled by numba.njit", function, do)
    out = np.full(size, np.nan)
    try:
        function(np.ones(columns), 0.5, out)
    except Exception as error:
        got = f"{type(error).__name__}: {shown(str(error), 160)[1:-1]}"
        raise InputError(
            f"{where}: is called as f(x, t, out) with x of shape {(columns,)} and out of shape {size}; got {got}. Write"
            " into out, and return nothing."
        ) from error
    if np.isnan(out).all():
        raise InputError.of(where, "must write into out", "nothing", "Assign out[i] = ...")
    name = _NAMES.setdefault(function, f"user_{uuid4().hex}")
    FUNCTIONS[name] = function
    return Call.of(size, (t,) if x is None else (x, t), (name, entrywise))


def values(node: Call, args: list[np.ndarray], points: int) -> np.ndarray:
    """A call at each of `points` states, (points, *shape)."""
    out = np.full((points, *node.shape), np.nan)
    times = np.broadcast_to(args[-1].reshape(len(args[-1])), (points,))
    for k in range(points):
        x = args[0][min(k, len(args[0]) - 1)] if len(args) > 1 else np.zeros(node.shape[0])
        FUNCTIONS[node.data[0]](np.ascontiguousarray(x), float(times[k]), out[k])
    return out


def functions(nodes: list[Array]) -> Mapping[str, Callable[..., Any]]:
    """Those that nodes call, by name."""
    return {n.data[0]: FUNCTIONS[n.data[0]] for n in nodes if isinstance(n, Call)}
