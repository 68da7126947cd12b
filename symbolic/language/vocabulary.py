"""The functions and operators of the expression language, on NumPy object arrays of SymPy expressions (0-d for
scalars)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.functions import tables
from symbolic.functions.registry import EXPRESSIONS, ROWS

MAX_ENTRIES = 4_096
MAX_EXPONENT = 64
MAX_BITS = 2_048
MAX_NUMBER = 1e300
MAX_GAMMA = 1000


class Fault(Exception):
    """A rule broken; whoever walks the text adds the place."""

    def __init__(self, rule: str, do: str) -> None:
        self.rule, self.do = rule, do


def wrap(value: Any) -> np.ndarray:
    """An array as it is; anything else in a 0-d object array."""
    if isinstance(value, np.ndarray):
        return value
    out = np.empty((), dtype=object)
    out[()] = value
    return out


def _bounded(function: Callable[..., sp.Expr]) -> Callable[..., sp.Expr]:
    """A scalar function, where it is one that SymPy works out of constants by a product or sum as long as they are
    large, of none that are."""
    if function not in (sp.gamma, sp.loggamma, sp.polygamma):
        return function

    def apply(*arguments: sp.Expr) -> sp.Expr:
        for x in arguments:
            if x.is_number and not abs(_float(x)) <= MAX_GAMMA:
                raise Fault(f"{function.__name__} of a constant takes {MAX_GAMMA} at most", "Use smaller numbers.")
        return function(*arguments)

    return apply


def _each(function: Callable[..., sp.Expr]) -> Callable[..., np.ndarray]:
    """Apply a scalar function entry by entry, with broadcasting."""
    ufunc: Any = np.frompyfunc(function, 1, 1)
    return lambda a: wrap(ufunc(a))


def _reduce(a: np.ndarray, axis: int | None, function: Callable[[list[sp.Expr]], sp.Expr]) -> np.ndarray:
    if axis is None:
        return wrap(function(list(a.ravel())))
    moved = np.moveaxis(a, axis, -1)
    out = np.empty(moved.shape[:-1], dtype=object)
    for index in np.ndindex(out.shape):
        out[index] = function(list(moved[index]))
    return out


def _sum(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    return _reduce(a, axis, lambda items: sp.Add(*items))


def _mean(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    return _reduce(a, axis, lambda items: sp.Add(*items) / len(items))


def _norm(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    return _reduce(a, axis, lambda items: sp.sqrt(sp.Add(*(x**2 for x in items))))


def _logsumexp(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    return _reduce(a, axis, lambda items: sp.log(sp.Add(*(sp.exp(x) for x in items))))


def _softmax(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    weights = _exp(a)
    total = _sum(weights, axis)
    return wrap(weights / (total if axis is None else np.expand_dims(total, axis)))


def _extreme(pick: Callable[..., sp.Expr]) -> Callable[..., np.ndarray]:
    pair: Any = np.frompyfunc(pick, 2, 1)

    def extreme(a: np.ndarray, *more: np.ndarray, axis: int | None = None) -> np.ndarray:
        if not more:
            return _reduce(a, axis, lambda items: pick(*items))
        if axis is not None:
            raise Fault("axis goes with one array, not with several", "Write max(a, axis=0) or max(a, b).")
        for b in more:
            fits(a, b)
            a = wrap(pair(a, b))
        return a

    return extreme


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of products over two arrays of one shape; NumPy's `dot` for matrix-vector pairs is `@`."""
    if a.shape != b.shape:
        raise Fault(f"dot needs two arrays of one shape, here {a.shape} and {b.shape}", "Use @ for a matrix product.")
    return wrap(sp.Add(*wrap(a * b).ravel()))


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.ndim != 1 or b.ndim != 1:
        raise Fault(f"outer needs two vectors, here shapes {a.shape} and {b.shape}", "Give one-dimensional arrays.")
    check_size(a.size * b.size)
    return a[:, None] * b[None, :]


def _trace(a: np.ndarray) -> np.ndarray:
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise Fault(f"trace needs a square matrix, here shape {a.shape}", "Give a square matrix.")
    return wrap(sp.Add(*a.diagonal()))


def _table(kind: str) -> Callable[..., np.ndarray]:
    """A function of x by its values at some places: table(x, times, values)."""

    def look_up(x: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
        if any(e.free_symbols for a in (times, values) for e in a.flat):
            raise Fault("a table's times and values must be numbers", "Write table(x, [0, 1, 2], [3, 5, 4]).")
        try:
            found = tables.read("table", times, values, kind)
        except InputError as error:
            raise Fault(error.rule, error.advice) from None
        return _each(lambda e: tables.Table(e, *found))(x)

    return look_up


def _pairs(function: Callable[..., sp.Expr]) -> Callable[..., np.ndarray]:
    """Apply a scalar function of two arguments entry by entry, with broadcasting."""
    ufunc: Any = np.frompyfunc(function, 2, 1)

    def apply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        fits(a, b)
        return wrap(ufunc(a, b))

    return apply


_exp = _each(sp.exp)
_ELEMENTWISE: dict[str, Callable[..., np.ndarray]] = {
    **{r.spec: _each(_bounded(r.function)) for r in ROWS if r.spec and r.arity == 1},
    **{name: _each(function) for name, function in EXPRESSIONS.items()},
}
WITH_AXIS: dict[str, Callable[..., np.ndarray]] = {
    "sum": _sum,
    "mean": _mean,
    "norm": _norm,
    "softmax": _softmax,
    "logsumexp": _logsumexp,
    **{r.spec: _extreme(r.function) for r in ROWS if r.spec and r.fold},
}
OF_TWO: dict[str, Callable[..., np.ndarray]] = {
    "dot": _dot,
    "outer": _outer,
    **{r.spec: _pairs(_bounded(r.function)) for r in ROWS if r.spec and r.arity == 2 and not r.fold},
}
OF_THREE: dict[str, Callable[..., np.ndarray]] = {"table": _table("linear"), "table_previous": _table("previous")}
FUNCTIONS: Mapping[str, Callable[..., np.ndarray]] = {
    **WITH_AXIS,
    **_ELEMENTWISE,
    **OF_TWO,
    **OF_THREE,
    "trace": _trace,
}
CONSTANTS: Mapping[str, sp.Expr] = {"pi": sp.pi}


def check_size(size: int) -> None:
    """Refuse arrays of too many entries."""
    if size > MAX_ENTRIES:
        raise Fault(f"an array may have {MAX_ENTRIES} entries at most, here {size}", "Use smaller sizes.")


def fits(a: np.ndarray, b: np.ndarray) -> None:
    """Refuse pairs that do not broadcast."""
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise Fault(
            f"shapes {a.shape} and {b.shape} do not broadcast",
            "Make the shapes match (use .T, @, or an index).",
        ) from None
    check_size(math.prod(shape))


def _bits(x: sp.Expr) -> int:
    return max(x.p.bit_length(), x.q.bit_length()) if isinstance(x, sp.Rational) else 0


def _float(x: sp.Expr) -> float:
    """A constant as a float; inf beyond float64."""
    try:
        return float(x)  # type: ignore[arg-type]
    except (OverflowError, TypeError):
        return math.inf


def _power(base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
    if isinstance(exponent, sp.Rational):
        if abs(exponent) > MAX_EXPONENT:
            raise Fault(
                f"an exponent may be {MAX_EXPONENT} at most in size, here {exponent}",
                "Use a smaller exponent, or exp and log.",
            )
        if max((_bits(n) for n in base.atoms(sp.Rational)), default=0) * abs(exponent) > MAX_BITS:
            raise Fault("the number grows too large", "Use smaller numbers or exponents.")
    return base**exponent


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NumPy's a @ b."""
    if not a.ndim or not b.ndim:
        raise Fault(f"@ needs vectors or matrices, here shapes {a.shape} and {b.shape}", "Use * with a scalar.")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise Fault(
            f"@ needs equal inner sizes, here shapes {a.shape} and {b.shape}",
            "Transpose one side (.T) or change a shape.",
        )
    if a.shape[-1] <= LONG or max(a.ndim, b.ndim) > 2:
        return wrap(a @ b)
    rows, columns = np.atleast_2d(a), b.reshape(len(b), -1)
    sums = [sp.Add(*(c * d for c, d in zip(row, column, strict=True))) for row in rows for column in columns.T]
    return wrap(np.array(sums, dtype=object).reshape(a.shape[:-1] + b.shape[1:]))


LONG = 64
"""Terms beyond which a sum is made at once: SymPy takes time with their square for a sum of sums."""


_POWER: Any = np.frompyfunc(_power, 2, 1)


def power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Entrywise a**b with bounded exponents."""
    return wrap(_POWER(a, b))


def stack(items: list[np.ndarray]) -> np.ndarray:
    """A list literal: arrays of one shape along a new first axis."""
    if len({item.shape for item in items}) > 1:
        raise Fault(
            f"entries of a list must have one shape, here {[item.shape for item in items]}",
            "Make the shapes equal.",
        )
    check_size(sum(item.size for item in items))
    return np.stack(items)


def check(value: np.ndarray) -> None:
    """Refuse values that are too many, too large, infinite or imaginary."""
    check_size(value.size)
    for x in value.flat:
        if x.has(sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I) or (x.is_number and x.is_extended_real is False):
            raise Fault(
                "the value is not a finite real number",
                "Look for a division by zero, or a log or root of a negative number.",
            )
        if _bits(x) > MAX_BITS or (x.is_number and not abs(_float(x)) < MAX_NUMBER):
            raise Fault("the number grows too large", "Use smaller numbers.")
