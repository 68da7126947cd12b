"""Learning-rate schedules: expressions of t = eta*k that multiply the rate, in whatever form they are given."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.functions.numeric import Numeric
from symbolic.language.parser import parse_scalar

t = sp.Symbol("t", real=True)
"""Time t = eta*k, the argument of a schedule."""
RULE = "must be an expression of symbolic.problem.optimizer.t alone"
FAR = np.array([1e6, 1e9, 1e12])
"""Times by which a schedule has settled, if it ever does."""


def read_schedule(where: str, value: Any) -> sp.Expr | None:
    """A schedule as an expression of t: from one, a number, text, or a function of t. Raises InputError."""
    if value is None:
        return None
    if isinstance(value, str):
        if value.strip() in ("warmup", "cosine"):
            rule = f"{value.strip()} needs a time, in t = eta*k"
            raise InputError.of(where, rule, value, f"Write {value.strip()}(10).")
        return parse_scalar(value, {"t": t}, where, {"warmup": warmup, "cosine": cosine})
    found: Any = value
    if callable(value) and not isinstance(value, sp.Basic):
        try:
            found, again = value(t), value(t)
        except Exception as error:
            raise InputError(
                f"{where}: a function of t must take SymPy's t; got {type(error).__name__}: {str(error)[:80]}. Write"
                ' sympy.Min and sympy.Piecewise for min and if, or the text "min(t/5, 1)".'
            ) from None
        if found != again:
            raise InputError.of(where, "a function of t must give the same twice", found, "Draw nothing in it.")
    if isinstance(found, Real) and not isinstance(found, (bool, np.bool_)) and np.isfinite(float(found)):
        found = sp.sympify(found, strict=True)
    own = set(getattr(found, "free_symbols", ())) - {t}
    if not isinstance(found, sp.Expr) or own:
        other = "t" in {s.name for s in own} and "Its t must be sympy.Symbol('t', real=True). "
        do = f"{other or ''}Write it with symbolic.problem.optimizer.t, e.g. warmup(5.0)."
        raise InputError.of(where, RULE, value, do)
    return found


def settled(schedule: sp.Expr, at_time: float | None = None) -> sp.Expr:
    """A schedule's value at a time, or the one that it ends at. Raises InputError where it does not settle."""
    if at_time is not None:
        if isinstance(at_time, bool) or not isinstance(at_time, (Real, sp.Number)) or not 0 <= float(at_time) < np.inf:
            raise InputError.of("at_time", "must be a time of at least 0", at_time, "Give t = eta*k.")
        return schedule.xreplace({t: sp.nsimplify(at_time)})
    values = Numeric([schedule], [t])([FAR])[0]
    if not np.isfinite(values).all() or np.ptp(values) > 1e-4 * np.abs(values).max():
        raise InputError(
            f"SGD.schedule: has no value to end at; got {schedule}. Give at_time, the time at which its value is taken."
        )
    return schedule.xreplace({t: sp.Integer(10) ** 12})


def warmup(time: float) -> sp.Expr:
    """Linear warmup from 0 to the full rate.

    Parameters
    ----------
    time
        When the full rate is reached, in t = eta*k at the base rate.

    Returns
    -------
    Expr
        For `SGD(schedule=...)`.
    """
    return sp.Min(t / _exact("warmup.time", time), 1)


def cosine(time: float, floor: float = 0.0) -> sp.Expr:
    """Half a cosine from 1 at t = 0, constant after it.

    Parameters
    ----------
    time
        Where it ends, in t = eta*k at the base rate.
    floor
        The multiplier it ends at.

    Returns
    -------
    Expr
        For `SGD(schedule=...)`.
    """
    floor_, time_ = _exact("cosine.floor", floor), _exact("cosine.time", time)
    return floor_ + (1 - floor_) * (1 + sp.cos(sp.pi * sp.Min(t / time_, 1))) / 2


def _exact(where: str, value: float) -> sp.Expr:
    if isinstance(value, bool) or not isinstance(value, (Real, sp.Number)):
        raise InputError.of(where, "must be a number", value, "Give a time such as 5.0.")
    return sp.nsimplify(value)
