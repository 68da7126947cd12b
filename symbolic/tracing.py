"""Plain Python functions of (x, t) as formulas: called once with symbols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy as sp


def trace(where: str, function: Callable[..., Any], states: Sequence[sp.Symbol], t: sp.Symbol) -> Any:
    """function(x, t) with x an object array of the states, shape (D,). Raises ValueError for what has no formula."""
    try:
        return function(np.array(states, dtype=object), t)
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"{where}: a function is called as f(x, t) with x an array of symbols; got {type(error).__name__}: {error}. "
            "Use SymPy's functions (sympy.sin, not math.sin) and sympy.Piecewise for branches."
        ) from error


def vector(where: str, value: Any) -> list[sp.Expr]:
    """A list, array or column as expressions. Raises ValueError."""
    if isinstance(value, sp.MatrixBase):
        value = list(value)
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise ValueError(
            f"{where}: must be a list with one entry per state; got {value!r} ({type(value).__name__}). Write [f]."
        )
    return [expression(where, e) for e in value]


def rows(where: str, value: Any) -> list[list[sp.Expr]]:
    """Rows of equal length as expressions. Raises ValueError."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise ValueError(
            f"{where}: must be rows, one per state; got {value!r} ({type(value).__name__}). Write [[b]] for one noise."
        )
    lists = [row.tolist() if isinstance(row, np.ndarray) else row for row in value]
    return [[expression(where, e) for e in row] if isinstance(row, (list, tuple)) else [] for row in lists]


def expression(where: str, e: Any) -> sp.Expr:
    """A number or SymPy expression, real and finite. Raises ValueError."""
    try:
        made = sp.sympify(e, strict=True)
    except (sp.SympifyError, TypeError):
        made = sp.S.EmptySet
    if not isinstance(made, sp.Expr):
        raise ValueError(
            f"{where}: entries must be SymPy expressions or numbers; got {e!r} ({type(e).__name__}). Write them with the states."
        )
    if made.has(sp.nan, sp.oo, sp.zoo, sp.I):
        raise ValueError(
            f"{where}: entries must be real and finite; got {made} ({type(made).__name__}). Mend the formula."
        )
    return made
