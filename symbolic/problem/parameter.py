"""Named parameters, and the one reader of values given for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
import sympy as sp

from symbolic.arrays.expression import Array, State
from symbolic.errors import InputError, near, unknown
from symbolic.language import names
from symbolic.problem.base_distribution import floats

T = TypeVar("T")
_NEEDED = object()


MOST_AXES = 16
"""Dimensions of a parameter: arrays of 33 and more are none, and a result adds its own."""
MOST_ENTRIES = 10_000_000


@dataclass(frozen=True)
class Parameter:
    """A named parameter.

    Attributes
    ----------
    name
        What it is called in starts and results.
    shape
        Its dimensions; () for a number.
    symbols
        Its entries' symbols, row-major.
    """

    name: str
    shape: tuple[int, ...]
    symbols: tuple[sp.Symbol, ...]


def entries(name: str, shape: Sequence[int] = ()) -> np.ndarray:
    """Object array of real symbols "name[i,j]" of the given shape (0-d, holding `name` itself, for a scalar)."""
    out = np.empty(tuple(shape), dtype=object)
    for index in np.ndindex(*shape):
        out[index] = sp.Symbol(f"{name}[{','.join(map(str, index))}]" if index else name, real=True)
    return out


def parameters(**shapes: Sequence[int]) -> Any:
    """Symbolic parameters, or data variables, of given shapes.

    Parameters
    ----------
    **shapes
        Name and shape of each.

    Returns
    -------
    symbol, matrix, array, or a tuple of them
        () gives a symbol, (n,) a column, (n, m) a SymPy matrix, more dimensions a SymPy array. One name gives the
        object itself, several a tuple.

    Examples
    --------
    >>> from symbolic import parameters
    >>> U, W = parameters(U=(3, 2), W=(2, 4))
    >>> (U @ W).shape
    (3, 4)
    """
    made = tuple(_as_sympy(entries(name, _shape(name, shape))) for name, shape in shapes.items())
    return made[0] if len(made) == 1 else made


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    sizes: tuple[Any, ...] = tuple(shape) if isinstance(shape, (tuple, list, np.ndarray)) else (None,)
    if (
        len(sizes) > MOST_AXES
        or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in sizes)
        or prod(map(int, sizes)) > MOST_ENTRIES
    ):
        rule = (
            f"must be a shape of at most {MOST_AXES} whole numbers from 1 on, with a product of at most {MOST_ENTRIES}"
        )
        many = isinstance(shape, int) and not isinstance(shape, bool) and shape > 0
        advice = f"Write ({shape},) for a vector." if many else "Write (), (4,) or (3, 2)."
        raise InputError.of(f"parameters.{names.symbol('parameters', name)}", rule, shape, advice)
    return tuple(map(int, sizes))


def _as_sympy(array: np.ndarray) -> Any:
    if array.ndim == 0:
        return array.item()
    if array.ndim <= 2:
        return sp.ImmutableMatrix(array.tolist())
    return sp.ImmutableDenseNDimArray(array.tolist())


def parameter(item: Any, name: str | None = None) -> Parameter:
    """A symbol, or a matrix or array of symbols, as a parameter. Raises InputError."""
    if isinstance(item, sp.Symbol):
        return Parameter(name or item.name, (), (item,))
    if isinstance(item, sp.MatrixBase):
        shape: tuple[int, ...] = (item.rows,) if item.cols == 1 else item.shape
        symbols = tuple(item)
    elif isinstance(item, (np.ndarray, sp.NDimArray)):
        array = np.array(item.tolist(), dtype=object)
        shape, symbols = array.shape, tuple(array.ravel())
    else:
        rule = "each must be a symbol or a matrix or array of symbols"
        raise InputError.of("Loss.parameters", rule, item, "Use sympy.symbols or symbolic.parameters.")
    if not symbols or not all(isinstance(s, sp.Symbol) for s in symbols):
        raise InputError(
            f"Loss.parameters: a matrix must hold symbols only; got {item!r}. Use symbolic.parameters(U=(3, 2))."
        )
    return Parameter(name or symbols[0].name.split("[")[0], tuple(int(n) for n in shape), symbols)


def assign(
    where: str,
    parts: Sequence[Parameter],
    given: Mapping[Any, Any],
    read: Callable[[Parameter, str, Any], T],
    *,
    kind: str = "parameter",
    place: str = "{where}[{name}]",
    default: Any = _NEEDED,
    advice: Callable[[Any], str] = lambda key: "",
) -> list[T]:
    """What `read(part, place, value)` makes of the value given for each part, in their order.

    given: {name, symbol, or matrix or array of symbols: value}. kind: what the parts are called. place: how a value is
    named in errors. default: the value of those left out, if they may be. advice(key): what to do about a key that
    names no part. Raises InputError with all problems at once: those that `read` raises, values that miss or come
    twice, and keys that name no part, with the nearest name.
    """
    known = [p.name for p in parts]
    if not isinstance(given, Mapping):
        example = ", ".join(f"{name!r}: ..." for name in known[:3]) + (", ..." if len(known) > 3 else "")
        raise InputError.of(where, f"must be a mapping {{{kind}: value}}", given, f"Write {{{example}}}.")
    items = [(next((p for p in parts if _means(key, p)), None), key, value) for key, value in given.items()]
    found, errors = [], []
    meant = {name for owner, key, _ in items if owner is None for name in near(getattr(key, "name", key), known)}
    for p in parts:
        here = place.format(where=where, name=p.name)
        values = [value for owner, _, value in items if owner is p]
        if not values and default is not _NEEDED:
            values = [default]
        if not values and p.name in meant:  # told of once, by the key that misses it
            continue
        if len(values) != 1:
            got = f"{len(values)} of them (int)" if values else "nothing (missing)"
            what = f"an array of shape {p.shape}" if p.shape else "a number"
            errors.append(f"{here}: every {kind} needs one value; got {got}. Give {what}.")
            continue
        try:
            found.append(read(p, here, values[0]))
        except InputError as error:
            errors.append(str(error))
    for owner, key, _ in items:
        if owner is None:
            own = {p.name: p.symbols[0] if p.symbols else None for p in parts}
            errors.append(unknown(where, key, own, kind, advice(key)))
    if errors:
        raise InputError("\n".join(errors))
    return found


def _means(key: Any, part: Parameter) -> bool:
    if isinstance(key, str):
        return key == part.name
    if isinstance(key, sp.Symbol):
        return part.symbols == (key,)
    if isinstance(key, State):
        return (key.name, key.shape) == (part.name, part.shape)
    if isinstance(key, Array):
        return False
    try:
        return tuple(np.array(key, dtype=object).ravel()) == part.symbols
    except (TypeError, ValueError):
        return False


def point(parts: Sequence[Parameter], where: str, given: Mapping[Any, Any]) -> np.ndarray:
    """The entries of all parts as one float array (D,). Raises InputError."""
    read = assign(where, parts, given, _numbers)
    return np.concatenate([np.zeros(0), *read])


def _numbers(p: Parameter, here: str, value: Any) -> np.ndarray:
    array = floats(here, value)
    if array.shape != p.shape and not (len(p.shape) == 1 and array.shape == (*p.shape, 1)):
        raise InputError(f"{here}: must have shape {p.shape}; got {array.shape} (tuple). Reshape it.")
    if not np.isfinite(array).all():
        raise InputError(f"{here}: must be finite; got {array.tolist()} ({type(value).__name__}). Give finite numbers.")
    return array.ravel()
