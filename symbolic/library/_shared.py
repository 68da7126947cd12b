"""What the families share: a row of the table, and small fixed matrices, spectra and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD


@dataclass(frozen=True)
class Entry:
    """What is known about a library loss, at its default sizes.

    build: the function. charges: their formula; independent: how many. class_: "convergent", "divergent", "frozen", or
    "none" without charges. start: {parameter: float array}, sgd and time (= eta*k): values with which a run is stable
    and shows the effect.
    """

    build: Callable[..., Loss]
    formula: str
    symmetry: str
    charges: str
    independent: int
    class_: str
    source: str
    start: Mapping[str, np.ndarray]
    sgd: SGD
    time: float


def start(**values: Any) -> dict[str, np.ndarray]:
    """{parameter: float array}."""
    return {name: np.array(value, dtype=np.float64) for name, value in values.items()}


def each(function: Callable[..., Any]) -> Any:
    """A scalar function applied entry by entry to an object array."""
    return np.frompyfunc(function, 1, 1)


def squares(a: np.ndarray) -> sp.Expr:
    """Sum of squares of all entries, not expanded."""
    return sp.Add(*(x**2 for x in a.ravel()))


def array(symbols: np.ndarray) -> Any:
    """A hashable array of symbols, to key a law with."""
    return sp.ImmutableDenseNDimArray(symbols)


def fall(n: int, high: int, low: int) -> list[sp.Expr]:
    """n numbers falling evenly from high to low, both in tenths."""
    return [
        sp.Integer(high * (n - 1) + (low - high) * k) / (10 * (n - 1)) if n > 1 else sp.Integer(high) / 10
        for k in range(n)
    ]


def frame(rows: int, columns: int) -> np.ndarray:
    """A fixed, full-rank matrix of small rationals."""
    out = np.empty((rows, columns), dtype=object)
    for i, j in np.ndindex(rows, columns):
        out[i, j] = sp.Rational((-1) ** (i * j), 1 + abs(i - j))
    return out


def cloud(rows: int, columns: int, noise: int = 1) -> np.ndarray:
    """A fixed synthetic sample: `columns` inputs of falling standard deviation, then `noise` standard normal columns.

    From NumPy's frozen legacy stream, to 6 decimals; shape (rows, columns + noise).
    """
    points = np.random.RandomState(0).standard_normal((rows, columns + noise))
    points[:, :columns] *= np.linspace(1.2, 0.6, columns)
    return np.round(points, 6)
