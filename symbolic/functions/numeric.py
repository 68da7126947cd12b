"""Expressions as NumPy functions: a list of operations, never source text, so whatever a symbol is called it stays a
symbol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.functions.registry import ROWS
from symbolic.functions.tables import Table

Array = np.ndarray


FUNCTIONS: dict[type, Callable[..., Any]] = {row.function: row.at for row in ROWS} | {
    sp.Add: lambda *a: sum(a),
    sp.Mul: lambda *a: reduce(np.multiply, a),
    sp.StrictLessThan: np.less,
    sp.LessThan: np.less_equal,
    sp.StrictGreaterThan: np.greater,
    sp.GreaterThan: np.greater_equal,
    sp.Equality: np.equal,
    sp.Unequality: np.not_equal,
    sp.And: lambda *a: reduce(np.logical_and, a),
    sp.Or: lambda *a: reduce(np.logical_or, a),
    sp.Not: np.logical_not,
    sp.logic.boolalg.ITE: np.where,
}


def _same(x: Any) -> Any:
    return x


def _power(base: Any, exponent: Any) -> Any:
    return np.sqrt(base) if np.ndim(exponent) == 0 and exponent == 0.5 else np.power(base, exponent)


def _pieces(*parts: Any) -> Any:
    """Value, condition, value, condition, ...: the first whose condition holds; NaN where none does."""
    return reduce(
        lambda rest, pair: np.where(pair[1], pair[0], rest),
        list(zip(parts[::2], parts[1::2], strict=True))[::-1],
        np.nan,
    )


class Evaluated(sp.Expr):
    """A function that has its own way to be evaluated."""

    def evaluator(self) -> tuple[Sequence[Any], Callable[..., Any]]:
        """The symbols that it takes, and the function of their values: numbers or arrays, as of a `Numeric`."""
        raise NotImplementedError


class Numeric:
    """values(inputs) -> (outputs, n): expressions at n points. inputs: one number or array (n,) per symbol, in the
    symbols' order.

    Raises ValueError for a function that has no form here. Out of their domain functions give NaN or infinity, without
    a warning.
    """

    def __init__(self, expressions: Sequence[sp.Basic], symbols: Sequence[sp.Symbol]) -> None:
        self._slots: dict[sp.Basic, int] = {s: i for i, s in enumerate(symbols)}
        self._inputs, self._steps = len(symbols), list[tuple[Callable[..., Any] | None, Any]]()
        self._outputs = [self._slot(e) for e in expressions]

    def _slot(self, e: sp.Basic) -> int:
        if e not in self._slots:
            step = self._step(e)
            self._slots[e] = self._inputs + len(self._steps)
            self._steps.append(step)
        return self._slots[e]

    def _step(self, e: Any) -> tuple[Callable[..., Any] | None, Any]:
        if e in (sp.true, sp.false):
            return None, bool(e)
        if e.is_number and not e.is_Relational:
            return None, float(e) if e.is_real else np.nan
        if e.is_Symbol:
            raise InputError(f"numeric: every symbol needs a value; got {str(e)!r} (Symbol). Give it as an input.")
        if isinstance(e, (sp.Sum, sp.Product)):
            return _same, (self._slot(e.doit()),)
        if isinstance(e, sp.Pow):
            return _power, (self._slot(e.base), self._slot(e.exp))
        if isinstance(e, Table):
            return e.at, (self._slot(e.args[0]),)
        if isinstance(e, Evaluated):
            symbols, function = e.evaluator()
            return function, tuple(self._slot(s) for s in symbols)
        if isinstance(e, sp.Piecewise):
            return _pieces, tuple(self._slot(part) for pair in e.args for part in pair)
        if type(e) not in FUNCTIONS:
            raise InputError(
                f"numeric: every function must have a form here; got {type(e).__name__} (no form). Rewrite it with"
                f" {known()}."
            )
        return FUNCTIONS[type(e)], tuple(self._slot(a) for a in e.args)

    def __call__(self, inputs: Sequence[Any]) -> Array:
        slots: list[Any] = [np.asarray(v, dtype=np.float64) for v in inputs]
        shape = np.broadcast_shapes(*(np.shape(v) for v in slots))
        with np.errstate(all="ignore"):
            for function, arguments in self._steps:
                slots.append(arguments if function is None else function(*(slots[a] for a in arguments)))
        return np.array([np.broadcast_to(slots[o], shape) for o in self._outputs], dtype=np.float64).reshape(
            len(self._outputs), *shape
        )


def known() -> str:
    """The functions there are, for messages."""
    return ", ".join(sorted({f.__name__ for f in FUNCTIONS if issubclass(f, sp.Function)} | {"Piecewise"}))
