"""States that are whole arrays, as users make them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import sympy as sp

import symbolic.arrays.functions
import symbolic.arrays.writing  # noqa: F401 - how they are shown
from symbolic.arrays.expression import Array, State, lookup
from symbolic.errors import InputError, as_whole
from symbolic.functions import tables
from symbolic.language import names

MOST_AXES, MOST_ENTRIES = 16, 100_000


def states(name: str, shape: Sequence[int]) -> Array:
    """An array of states as one symbol, for equations that are written by NumPy's own functions.

    It stays an array in the program that is made of it, so text and compile time do not grow with its size.

    Parameters
    ----------
    name
        What starts, observables and results call it.
    shape
        Its dimensions, e.g. (50,); () for one number that NumPy's functions take, as time or a parameter may be.

    Returns
    -------
    Array
        Operators, indices, `@` and NumPy's functions make arrays of it: elementwise functions, `where`, sums, means
        and extremes over axes, products, `einsum`, reshaping, joining.

    Raises
    ------
    InputError
        For a shape that is none.

    Examples
    --------
    >>> import numpy as np
    >>> from symbolic import SDE, states
    >>> X = states("X", (50,))
    >>> SDE(X, drift=np.sin(X[None, :] - X[:, None]).mean(axis=1), diffusion=0.2).noise_class
    'additive'
    """
    given: Any = shape if isinstance(shape, (tuple, list)) else [None]
    sizes = [as_whole(n) or 0 for n in given]
    if len(sizes) > MOST_AXES or min(sizes, default=1) < 1 or prod(sizes) > MOST_ENTRIES:
        rule = f"must be a shape of whole numbers from 1 on, with a product of at most {MOST_ENTRIES}"
        advice = f"Write ({shape},) for a vector." if as_whole(shape) else "Write e.g. (50,) or (8, 8)."
        raise InputError.of("states.shape", rule, shape, advice)
    return State.of(sizes, (), (names.variable("states", name),))


def table(x: Any, times: Any, values: Any, kind: str = "linear") -> Any:
    """A function given by its values at some places, as of measured input.

    A program finds the place by binary search among numbers beside its text, so tables may have any length. It is
    constant beyond its ends. A run takes no step across the jumps that a "previous" table of time makes, up to 4096.

    Parameters
    ----------
    x
        Where it is looked up: an expression, of time or states, or an array.
    times
        Places, increasing, (n,).
    values
        Values there, (n,).
    kind
        "linear" between places, or "previous": the value at the last place that x has reached.

    Returns
    -------
    expression or Array
        As x is.

    Raises
    ------
    InputError
        For places that do not increase, or other counts of values.

    Examples
    --------
    >>> import sympy as sp
    >>> from symbolic import table
    >>> table(sp.Rational(1, 2), [0, 1, 2], [0, 10, 0])
    5.00000000000000
    """
    found = tables.read("table", times, values, kind)
    if isinstance(x, Array):
        return lookup(x, *found)
    try:
        return tables.Table(x, *found)
    except (sp.SympifyError, TypeError):
        raise InputError.of("table.x", "must be an expression or an array", x, "Write e.g. t.") from None
