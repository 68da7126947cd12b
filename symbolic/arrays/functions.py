"""NumPy's functions of arrays, through its protocols; what is not here is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symbolic.arrays import building
from symbolic.arrays.building import array, elementwise, matmul, reduced, refuse
from symbolic.arrays.expression import Array, broadcast, constant, viewed
from symbolic.arrays.operations import OPERATIONS
from symbolic.errors import InputError


def _of(name: str) -> Callable[..., Array]:
    return lambda *values: elementwise(name, *values)


def _unequal(*values: Any) -> Array:
    raise InputError.of("array", "a path that moves is never exactly at a place", "==", "Write X > 1, or X < 1.")


UFUNCS: Mapping[str, Callable[..., Array]] = {
    **{op.value.__name__: _of(name) for name, op in OPERATIONS.items() if isinstance(op.value, np.ufunc)},
    "relu": lambda a: elementwise("relu", a),
    "maximum": _of("Max"),
    "minimum": _of("Min"),
    **{name: _of(name) for name in ("erf", "erfc", "gamma")},
    "gammaln": _of("loggamma"),
    "psi": lambda a: elementwise("polygamma", 0, a),
    **{f"{letter}v": _of(f"bessel{letter}") for letter in "jyik"},
    "absolute": _of("Abs"),
    "fabs": _of("Abs"),
    "heaviside": _of("Heaviside"),
    "float_power": _of("power"),
    "remainder": _of("Mod"),
    "matmul": matmul,
    "positive": array,
    "square": lambda a: elementwise("multiply", a, a),
    "cbrt": lambda a: elementwise("multiply", np.sign(a), np.abs(a) ** (1 / 3)),
    "reciprocal": lambda a: elementwise("divide", 1, a),
    "exp2": lambda a: np.exp(array(a) * np.log(2.0)),
    "expm1": lambda a: np.exp(a) - 1,
    "log1p": lambda a: np.log(array(a) + 1),
    "log2": lambda a: np.log(a) / np.log(2.0),
    "log10": lambda a: np.log(a) / np.log(10.0),
    "hypot": lambda a, b: np.sqrt(array(a) ** 2 + array(b) ** 2),
    "floor_divide": lambda a, b: np.floor(array(a) / b),
    "expit": lambda a: 1 / (1 + np.exp(-array(a))),
    "deg2rad": lambda a: array(a) * (np.pi / 180),
    "radians": lambda a: array(a) * (np.pi / 180),
    "bitwise_and": _of("logical_and"),
    "bitwise_or": _of("logical_or"),
    "invert": _of("logical_not"),
    "clip": lambda a, low, high: elementwise("Min", elementwise("Max", a, low), high),
    "equal": _unequal,
    "not_equal": _unequal,
}
"""By a ufunc's name: NumPy's, and SciPy's of special functions."""
REDUCTIONS = {np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min"}


def _ufunc(ufunc: Any, method: str, inputs: Any, options: Mapping[str, Any]) -> Any:
    given = {k: v for k, v in options.items() if v is not None and not (k == "where" and v is True)}
    if method == "reduce" and ufunc in REDUCTIONS and not given.keys() - {"axis", "keepdims"}:
        axis = options.get("axis", 0)
        return reduced(REDUCTIONS[ufunc], inputs[0], axis, bool(options.get("keepdims")))
    if method == "outer" and ufunc.__name__ in UFUNCS and not given:
        a, b = map(array, inputs)
        return UFUNCS[ufunc.__name__](viewed(a, lambda v: v[(..., *[None] * b.ndim)]), b)
    if method != "__call__" or ufunc.__name__ not in UFUNCS:
        raise refuse("NumPy's function must be one that arrays have", _name(ufunc, method), [*UFUNCS, *_named()])
    if given:
        raise InputError.of(f"array.{ufunc.__name__}", "takes its arrays only", sorted(given), "Leave them out.")
    return UFUNCS[ufunc.__name__](*inputs)


def _name(function: Any, method: str = "__call__") -> str:
    name = getattr(function, "__name__", str(function))
    return name if method == "__call__" else f"{name}.{method}"


def _named() -> list[str]:
    return [f.__name__ for f in FUNCTIONS]


def _function(function: Any, args: Any, options: Mapping[str, Any]) -> Any:
    ours = FUNCTIONS.get(function)
    if ours is None:
        raise refuse("NumPy's function must be one that arrays have", _name(function), [*UFUNCS, *_named()])
    try:
        return ours(*args, **options)
    except TypeError as error:
        raise InputError(
            f"array.{_name(function)}: takes fewer arguments here than in NumPy; got {error} (TypeError). Leave them"
            " out."
        ) from error
    except InputError:
        raise
    except (IndexError, ValueError) as error:
        got = f"{error} ({type(error).__name__})"
        raise InputError(f"array.{_name(function)}: must fit its arrays; got {got}. Axes count from 0.") from None


def _getitem(node: Array, key: Any) -> Array:
    basic = all(
        k is None or k is Ellipsis or isinstance(k, (int, np.integer, slice))
        for k in (key if isinstance(key, tuple) else (key,))
    )
    try:
        if basic:
            return viewed(node, lambda a: a[key])
        places = np.arange(node.size).reshape(node.shape)[key]
    except InputError:
        raise
    except (IndexError, ValueError, TypeError) as error:
        raise InputError(
            f"array: an index must fit shape {node.shape}; got {error} ({type(error).__name__}). Indices are whole"
            " numbers, slices, None and arrays of whole numbers."
        ) from None
    if not places.size:
        raise InputError.of("array", "must not be empty", places.shape, "Choose at least one entry.")
    return building.take(node, places)


def _view(function: Any) -> Callable[..., Array]:
    return lambda a, *args, **options: viewed(array(a), lambda v: function(v, *args, **options))


def _places(function: Any) -> Callable[..., Array]:
    """A function that moves entries about, by what it makes of their places."""

    def moved(a: Any, *args: Any, **options: Any) -> Array:
        node = array(a)
        return building.take(node, function(np.arange(node.size).reshape(node.shape), *args, **options))

    return moved


def _mean(a: Any, axis: Any = None, keepdims: bool = False) -> Array:
    total = reduced("sum", a, axis, keepdims)
    return elementwise("divide", total, float(array(a).size // max(1, reduced("sum", a, axis).size)))


def _var(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Array:
    node = array(a)
    count = node.size // max(1, reduced("sum", node, axis).size)
    return reduced("sum", (node - _mean(node, axis, True)) ** 2, axis, keepdims) / float(count - ddof)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    if ord not in (None, 2, "fro") or (ord == 2 and axis is None and array(x).ndim > 1):
        raise InputError.of("array.norm", "is the Euclidean one", ord, "Leave ord out.")
    return elementwise("sqrt", reduced("sum", array(x) ** 2, axis, keepdims))


def _dot(a: Any, b: Any) -> Array:
    a, b = array(a), array(b)
    return matmul(a, b) if a.ndim and b.ndim else elementwise("multiply", a, b)


def _diff(a: Any, n: int = 1, axis: int = -1) -> Array:
    node = array(a)
    for _ in range(n):
        ahead = viewed(node, lambda v: np.moveaxis(np.moveaxis(v, axis, 0)[1:], 0, axis))
        behind = viewed(node, lambda v: np.moveaxis(np.moveaxis(v, axis, 0)[:-1], 0, axis))
        node = ahead - behind
    return node


def _cumsum(a: Any, axis: int | None = None) -> Array:
    """Running sums: within blocks of about the root of their number, and over blocks."""
    node = array(a)
    if axis is None:
        return _cumsum(building.reshape(node, (-1,)), 0)
    (place,) = building.axes_of(node, axis)
    n = node.shape[place]
    m = int(np.ceil(np.sqrt(n)))
    last = viewed(node, lambda v: np.moveaxis(v, place, -1))
    filled = building.concatenate([last, np.zeros((*last.shape[:-1], m * m - n))], -1) if m * m > n else last
    blocks = building.reshape(filled, (*last.shape[:-1], m, m))
    before = matmul(reduced("sum", blocks, -1), np.tri(m, k=-1).T)
    sums = matmul(blocks, np.tri(m).T) + viewed(before, lambda v: v[..., None])
    flat = building.reshape(sums, (*last.shape[:-1], m * m))
    return viewed(flat, lambda v: np.moveaxis(v[..., :n], -1, place))


def _einsum(subscripts: str, *operands: Any) -> Array:
    inputs, arrow, out = subscripts.replace(" ", "").partition("->")
    labels, nodes = inputs.split(","), [array(o) for o in operands]
    if len(labels) != len(nodes) or "." in subscripts or any(len(s) != n.ndim for s, n in zip(labels, nodes)):  # noqa: B905
        advice = "Write e.g. 'ij,j->i', a letter an axis."
        raise InputError.of("array.einsum", "letters must stand for the axes of each array", subscripts, advice)
    found = "".join(labels)
    out = out if arrow else "".join(sorted(c for c in set(found) if found.count(c) == 1))
    order = [*out, *sorted(set(found) - set(out))]
    product: Any = None
    for s, node in zip(labels, nodes, strict=True):
        for c in sorted(set(s)):
            while s.count(c) > 1:
                i, j = s.index(c), s.rindex(c)
                node = viewed(node, lambda v, i=i, j=j: np.diagonal(v, axis1=i, axis2=j))
                s = s[:i] + s[i + 1 : j] + s[j + 1 :] + c
        turned = viewed(node, lambda v, s=s: v.transpose([s.index(c) for c in order if c in s]))
        spread = viewed(turned, lambda v, s=s: v[tuple(slice(None) if c in s else None for c in order)])
        product = spread if product is None else elementwise("multiply", product, spread)
    return reduced("sum", product, tuple(range(len(out), len(order)))) if len(order) > len(out) else product


def _where(condition: Any, *both: Any) -> Array:
    if len(both) != 2:
        raise InputError.of("array.where", "takes a condition and two arrays", len(both), "Write where(X > 0, a, b).")
    return elementwise("where", condition, *both)


def _reduction(kind: str) -> Callable[..., Array]:
    return lambda a, axis=None, keepdims=False: reduced(kind, a, axis, keepdims)


def _clip(a: Any, a_min: Any = None, a_max: Any = None) -> Array:
    a = a if a_min is None else elementwise("Max", a, a_min)
    return array(a) if a_max is None else elementwise("Min", a, a_max)


VIEWS = (
    np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze, np.broadcast_to, np.flip, np.fliplr, np.flipud,
    np.rot90, np.diagonal, np.atleast_1d, np.atleast_2d, np.matrix_transpose,
)  # fmt: skip
FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
    **{f: _view(f) for f in VIEWS},
    **{f: _places(f) for f in (np.roll, np.tile, np.repeat, np.take)},
    np.sum: _reduction("sum"),
    np.prod: _reduction("prod"),
    np.max: _reduction("max"),
    np.min: _reduction("min"),
    np.any: lambda a, axis=None, keepdims=False: building.holds("max", a, axis, keepdims),
    np.all: lambda a, axis=None, keepdims=False: building.holds("min", a, axis, keepdims),
    np.mean: _mean,
    np.var: _var,
    np.std: lambda a, axis=None, ddof=0, keepdims=False: np.sqrt(_var(a, axis, ddof, keepdims)),
    np.linalg.norm: _norm,
    np.dot: _dot,
    np.inner: lambda a, b: reduced("sum", np.multiply(a, b), -1) if np.ndim(b) == 1 else _einsum("ik,jk->ij", a, b),
    np.vdot: lambda a, b: reduced("sum", elementwise("multiply", np.ravel(a), np.ravel(b))),
    np.outer: lambda a, b: elementwise("multiply", building.reshape(a, (-1, 1)), building.reshape(b, -1)),
    np.trace: lambda a: reduced("sum", np.diagonal(a), -1),
    np.diff: _diff,
    np.cumsum: _cumsum,
    np.einsum: _einsum,
    np.where: _where,
    np.clip: _clip,
    np.reshape: building.reshape,
    np.ravel: lambda a: building.reshape(a, -1),
    np.concatenate: building.concatenate,
    np.stack: building.stack,
    np.hstack: lambda a: building.concatenate(a, 0 if np.ndim(a[0]) < 2 else 1),
    np.vstack: lambda a: building.concatenate([viewed(array(v), np.atleast_2d) for v in a], 0),
    np.zeros_like: lambda a: broadcast(constant(0.0), array(a).shape),
    np.ones_like: lambda a: broadcast(constant(1.0), array(a).shape),
    np.full_like: lambda a, value: broadcast(array(value), array(a).shape),
    np.shape: lambda a: array(a).shape,
    np.ndim: lambda a: array(a).ndim,
    np.size: lambda a: array(a).size,
}
Array.ufunc, Array.function, Array.getitem = staticmethod(_ufunc), staticmethod(_function), staticmethod(_getitem)
