"""Functions given by their values at some places, whatever their number: found by search, never by pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError, as_reals, check

KINDS = ("linear", "previous")
MOST_POINTS = 1_000_000


class Table(sp.Expr):
    """The value at x of a table: `times`, increasing, and `values`, (n,) each.

    "linear" between them, or "previous": the last one that x has reached; the first and the last beyond the ends.
    """

    is_commutative = True
    is_extended_real = True
    times: np.ndarray
    values: np.ndarray
    kind: str

    def __new__(cls, x: Any, times: np.ndarray, values: np.ndarray, kind: str) -> Any:
        """A number at a number."""
        x = sp.sympify(x, strict=True)
        if x.is_number:
            return sp.Float(float(looked_up(float(x), times, values, kind)))
        self = super().__new__(cls, x)
        self.times, self.values, self.kind = times, values, kind
        return self

    @property
    def func(self) -> Callable[..., Any]:
        """As SymPy rebuilds it: over the same numbers."""
        return lambda x: Table(x, self.times, self.values, self.kind)

    @cached_property
    def digest(self) -> str:
        """Of its numbers and kind."""
        return digest(self.times, self.values, self.kind)

    def _hashable_content(self) -> tuple[Any, ...]:
        return (*self.args, self.digest)

    def at(self, x: Any) -> np.ndarray:
        """Its values at numbers."""
        return looked_up(x, self.times, self.values, self.kind)

    def _eval_derivative(self, s: sp.Symbol) -> Any:
        inner = sp.diff(self.args[0], s)
        if self.kind == "previous" or inner == 0:
            return sp.S.Zero
        return Table(self.args[0], *slopes(self.times, self.values), "previous") * inner

    def _sympystr(self, printer: Any) -> str:
        return f"table({printer._print(self.args[0])}, {len(self.times)} points {self.digest[:8]}, {self.kind})"

    def _latex(self, printer: Any) -> str:
        return rf"\mathrm{{table}}_{{{len(self.times)}}}\left({printer._print(self.args[0])}\right)"


def digest(times: np.ndarray, values: np.ndarray, kind: str) -> str:
    """Identity of a table."""
    return hashlib.sha256(times.tobytes() + values.tobytes() + kind.encode()).hexdigest()


def looked_up(x: Any, times: np.ndarray, values: np.ndarray, kind: str) -> np.ndarray:
    """Values at numbers by NumPy; NaN at NaN."""
    if kind == "linear":
        return np.interp(x, times, values)
    found = values[np.clip(np.searchsorted(times, x, side="right") - 1, 0, None)]
    return np.where(np.isnan(x), np.nan, found)


def slopes(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of the slope of a linear table, which is of kind "previous": 0 beyond the ends."""
    return np.append(times[0] - 1.0 - abs(times[0]), times), np.concatenate(
        [[0.0], np.diff(values) / np.diff(times), [0.0]]
    )


def read(where: str, times: Any, values: Any, kind: Any) -> tuple[np.ndarray, np.ndarray, str]:
    """Times, values and kind, checked. Raises InputError."""
    check.one_of(f"{where}.kind", kind, KINDS, advice="Pick one.")
    arrays = []
    for name, given in (("times", times), ("values", values)):
        try:
            array = as_reals(given)
        except InputError as error:
            raise InputError.of(f"{where}.{name}", f"must be numbers ({error})", given, "Give a list.") from None
        if array.ndim != 1 or not 2 <= len(array) <= MOST_POINTS or not np.isfinite(array).all():
            rule = f"must be 2 to {MOST_POINTS} finite numbers in a row"
            raise InputError.of(f"{where}.{name}", rule, array.shape, "Give a one-dimensional list.")
        arrays.append(np.ascontiguousarray(array))
    if len(arrays[0]) != len(arrays[1]):
        raise InputError.of(f"{where}.values", f"must be as many as times ({len(arrays[0])})", len(arrays[1]), "Match.")
    if (np.diff(arrays[0]) <= 0).any():
        raise InputError.of(f"{where}.times", "must increase", arrays[0][:8].tolist(), "Sort them; drop the doubles.")
    return arrays[0], arrays[1], kind
