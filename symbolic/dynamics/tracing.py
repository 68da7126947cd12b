"""Plain Python functions of (x, t) as formulas: called with symbols, more than once, and held to one answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import sympy as sp

from symbolic.dynamics import source_reading, symbol_guards
from symbolic.errors import InputError, shown

ROWS = "must be rows, one per state, of one column per noise"
MOST_CALLS, SECONDS = 8, 0.1
"""A function is called twice, and then on, up to so often, while it takes no longer than so many seconds."""
BRANCHES = "Write branches as sympy.Piecewise((a, x[0] > 0), (b, True)), sympy.Max, sympy.Min or sympy.Heaviside"

Given = Mapping[str, Sequence[sp.Symbol] | sp.Symbol]
"""What a function is called with, in order: arrays of symbols, or a symbol; "t" is time."""


def trace(where: str, function: Callable[..., Any], given: Given, convert: Callable[[str, Any], Any]) -> Any:
    """convert(where, function(*given)), the same at every call. Raises ValueError, naming the line, for what has no
    formula: a function that compares or branches, gives something else at another call, takes its arguments in another
    order, or fails."""
    order = f"f({', '.join(given)})"
    wrong = source_reading.misordered(function, list(given))
    if wrong:
        raise InputError(f"{where}: a function is called as {order}; got {wrong}. Put its arguments in that order.")
    found = source_reading.source(function)
    if found:
        raise InputError(
            f"{where}: a function is called beforehand, and must be one formula for all states and times; got one that"
            f" asks for {found}. Noise comes from the diffusion, time from t; conditions go into sympy.Piecewise."
        )
    own = [s for value in given.values() for s in np.ravel(np.array(value, dtype=object))]
    first = convert(where, _call(where, function, given, order))
    began, calls = perf_counter(), 1
    while calls < 2 or (calls < MOST_CALLS and perf_counter() - began < SECONDS):
        fresh = {s: sp.Dummy(s.name, **s._assumptions_orig) for s in own} if calls == 1 else {s: s for s in own}
        other = {k: fresh[v] if isinstance(v, sp.Symbol) else [fresh[s] for s in v] for k, v in given.items()}
        again = convert(where, _call(where, function, other, order))
        back = {new: old for old, new in fresh.items()}
        _compare(where, first, again, back)
        calls += 1
    vague = source_reading.unnamed_time(function, list(given))
    if vague and "t" in given and _only_time(first, given):
        raise InputError(
            f"{where}: a function is called as {order}; got {vague}, which uses its argument for time and never the"
            " state. Name the arguments x and t, in that order."
        )
    return first


def _call(where: str, function: Callable[..., Any], given: Given, order: str) -> Any:
    values = [v if isinstance(v, sp.Symbol) else np.array(v, dtype=object) for v in given.values()]
    with symbol_guards.guarded() as questions:
        try:
            value = function(*values)
        except Exception as error:
            if not questions.first:
                at = symbol_guards.where(error)
                fitting = _other_remedy(error, given)
                if fitting:
                    raise InputError(
                        f"{where}: a function is called as {order}; got {type(error).__name__}:"
                        f" {error}{' at ' + at if at else ''}. {fitting}"
                    ) from error
                raise InputError(
                    f"{where}: a function is called as {order} with arrays of symbols, t a symbol; got"
                    f" {type(error).__name__}: {error}{' at ' + at if at else ''}. Use SymPy's functions (sympy.sin,"
                    f" not math.sin or numpy.sin). {BRANCHES}."
                ) from error
            value = None
    if questions.first:
        raise InputError(
            f"{where}: a function must be one formula for all states and times, called as {order} with symbols; got one"
            f" that asks {questions.first} at {questions.frame}. {BRANCHES}."
        )
    return value


def _other_remedy(error: Exception, given: Given) -> str | None:
    """What to do about a failure that has nothing to do with symbols: an index past the end, or other arguments."""
    if isinstance(error, IndexError):
        sizes = [f"{name}[0] to {name}[{len(v) - 1}]" for name, v in given.items() if not isinstance(v, sp.Symbol)]
        return f"There are {' and '.join(sizes)}: one entry per state, counted from 0."
    if isinstance(error, TypeError) and "positional argument" in str(error):
        return f"Take the arguments {', '.join(given)}, in that order, used or not."
    return None


def _flat(value: Any) -> list[sp.Expr]:
    return [e for row in value for e in (row if isinstance(row, list) else [row])]


def _compare(where: str, first: Any, again: Any, back: Mapping[sp.Symbol, sp.Symbol]) -> None:
    left, right = _flat(first), [e.xreplace(dict(back)) for e in _flat(again)]
    for a, b in zip(left, right, strict=False):
        if a != b and not _equal(a, b):
            raise InputError(
                f"{where}: a function must give the same formula at every call; got {a} and then {b}. It may not draw"
                " random numbers, count its calls or ask for the time of day: noise comes from the diffusion."
            )
    if len(left) != len(right):
        raise InputError(
            f"{where}: a function must give the same formula at every call; got {len(left)} entries and then"
            f" {len(right)}. Mend it."
        )


def _equal(a: sp.Expr, b: sp.Expr) -> bool:
    """Whether two ways of writing agree at a few points."""
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    for k in range(3):
        point = {s: sp.Float(0.3 + 0.7 * np.sin(1.0 + 2.0 * i + 5.0 * k), 30) for i, s in enumerate(symbols)}
        gap, size = (abs(sp.N(e.xreplace(point), 20)) for e in (a - b, a))
        if not (gap.is_number and size.is_number) or not bool(gap <= 1e-12 * (1 + size)):
            return False
    return True


def _only_time(value: Any, given: Given) -> bool:
    used = set().union(*(e.free_symbols for e in _flat(value)))
    return given["t"] in used and used <= {given["t"]}


def vector(where: str, value: Any) -> list[sp.Expr]:
    """A list, array or column as expressions. Raises ValueError."""
    if isinstance(value, sp.MatrixBase):
        value = list(value)
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        scalar = isinstance(value, (sp.Expr, int, float))
        advice = f"Write [{shown(value, 60)}]." if scalar else "Write [f], or a function f(x, t) that returns it."
        raise InputError.of(where, "must be a list with one entry per state", value, advice)
    return [expression(where, e) for e in value]


def rows(where: str, value: Any) -> list[list[sp.Expr]]:
    """Rows of equal length as expressions. Raises ValueError."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        scalar = isinstance(value, (sp.Expr, int, float))
        advice = f"Write [[{shown(value, 60)}]]." if scalar else "Write [[b]] for one state and one noise."
        raise InputError.of(where, ROWS, value, advice)
    lists = [row.tolist() if isinstance(row, (np.ndarray, sp.MatrixBase)) else row for row in value]
    if lists and not any(isinstance(row, (list, tuple)) for row in lists):
        entries = ", ".join(f"[{shown(e, 30)}]" for e in lists[:3]) + (", ..." if len(lists) > 3 else "")
        own = "" if len(lists) == 1 else ", sympy.diag(...).tolist() where each state has a noise of its own"
        raise InputError.of(where, ROWS, value, f"Write [{entries}] for one noise{own}.")
    return [[expression(where, e) for e in row] if isinstance(row, (list, tuple)) else [] for row in lists]


def expression(where: str, e: Any) -> sp.Expr:
    """A number or SymPy expression, real and finite. Raises ValueError."""
    try:
        made = sp.sympify(e, strict=True)
    except (sp.SympifyError, TypeError):
        made = sp.S.EmptySet
    if not isinstance(made, sp.Expr):
        text = "Text is not read: write it with the symbols." if isinstance(e, str) else "Write them with the states."
        raise InputError.of(where, "entries must be SymPy expressions or numbers", e, text)
    if made.has(sp.nan, sp.oo, sp.zoo, sp.I):
        raise InputError(
            f"{where}: entries must be real and finite; got {made} ({type(made).__name__}). Mend the formula."
        )
    return made
