"""An average over the rows of a data set that stays one node of an expression, however many rows there are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic.functions.numeric import Evaluated, Numeric

POINTS = 2**20
"""Values at rows that are held at once."""
SHOWN = 300
"""Operations up to which the body is written out in text."""


class RowMean(Evaluated):
    """(1/N) sum_i body(theta, z_i) over the rows z_i of a table.

    body: an expression of parameters and of z. z: symbols of the columns, bound. table: (N, len(z)) numbers. It has
    derivatives in the parameters, and a number once all of them have one; programs run a loop over the rows.
    """

    is_commutative = True
    is_extended_real = True
    table: np.ndarray

    def __new__(cls, body: Any, z: Sequence[sp.Symbol], table: np.ndarray) -> Any:
        """The body's own value where it does not depend on the rows."""
        body, bound = sp.sympify(body, strict=True), sp.Tuple(*z)
        if not body.free_symbols & set(bound):
            return body
        self = super().__new__(cls, body, bound)
        self.table = table
        return self

    @property
    def body(self) -> Any:
        """What is averaged."""
        return self.args[0]

    @property
    def z(self) -> tuple[Any, ...]:
        """Symbols of the table's columns."""
        return tuple(self.args[1])  # type: ignore[arg-type]

    @property
    def func(self) -> Callable[..., Any]:
        """As SymPy rebuilds it: over the same rows."""
        return lambda body, z: RowMean(body, z, self.table)

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """The columns' symbols are bound."""
        return self.body.free_symbols - set(self.z)

    @cached_property
    def digest(self) -> str:
        """Of the rows."""
        return hashlib.sha256(np.ascontiguousarray(self.table).tobytes()).hexdigest()

    def _hashable_content(self) -> tuple[Any, ...]:
        return (*self.args, self.digest)

    def _eval_derivative(self, s: sp.Symbol) -> Any:
        return RowMean(sp.diff(self.body, s), self.z, self.table)

    def _eval_evalf(self, prec: int) -> Any:
        if self.free_symbols:
            return None
        return sp.Float(float(Numeric([self.body], self.z)(list(self.table.T)).mean()))

    def evaluator(self) -> tuple[Sequence[Any], Callable[..., Any]]:
        """Its parameters, and the average at their values."""
        symbols = sorted(self.free_symbols, key=str)
        at = Numeric([self.body], [*symbols, *self.z])

        def average(*values: Any) -> Any:
            shape = np.broadcast_shapes(*(np.shape(v) for v in values))
            points = np.array([np.broadcast_to(v, shape).ravel() for v in values]).reshape(len(values), -1, 1)
            block = max(1, POINTS // len(self.table))
            means = [
                at([*points[:, k : k + block], *self.table.T])[0].mean(axis=-1)
                for k in range(0, points.shape[1], block)
            ]
            return np.concatenate(means).reshape(shape) if means else np.zeros(shape)

        return symbols, average

    def _sympystr(self, printer: Any) -> str:
        text = printer._print(self.body) if sp.count_ops(self.body) < SHOWN else "..."
        return f"mean({text} over {len(self.table)} rows)"

    def _latex(self, printer: Any) -> str:
        return rf"\frac{{1}}{{{len(self.table)}}} \sum_i \left({printer._print(self.body)}\right)_i"
