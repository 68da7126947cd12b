"""A table's value as text: a binary search over numbers in p, without branches, so that lanes stay together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import sympy as sp

from symbolic.codegen.traversal import parts
from symbolic.functions.tables import Table


def padded(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The numbers as p holds them: times up to a power of two of them, with infinity, then values."""
    return np.concatenate([times, np.full((1 << depth(len(times))) - len(times), np.inf), values])


def depth(points: int) -> int:
    """Steps of the search."""
    return max(1, (points - 1).bit_length())


def lines(name: str, x: str, first: int, points: int, kind: str) -> list[str]:
    """Statements that end with `name`, the value at `x`, of a table whose numbers begin at `first` in p."""
    out, at = list[str](), "0"
    for k in reversed(range(depth(points))):
        place = f"{first + (1 << k)}" if at == "0" else f"{first + (1 << k)} + {at}"
        ahead = f"{1 << k}" if at == "0" else f"{at} + {1 << k}"
        out.append(f"{name}k{k} = {ahead} if p[{place}] <= {x} else {at}")
        at = f"{name}k{k}"
    last, values = points - (2 if kind == "linear" else 1), first + (1 << depth(points))
    out.append(f"{name}k = {at} if {at} < {last} else {last}")
    if kind == "previous":
        return [*out, f"{name} = p[{values} + {name}k] if {x} == {x} else {x}"]
    left, right = f"p[{first} + {name}k]", f"p[{first + 1} + {name}k]"
    low, high = f"p[{values} + {name}k]", f"p[{values + 1} + {name}k]"
    return [
        *out,
        f"{name}w = ({x} - {left})/({right} - {left})",
        f"{name}w = F(0.0) if {name}w < F(0.0) else F(1.0) if {name}w > F(1.0) else {name}w",
        f"{name} = {low} + ({high} - {low})*{name}w",
    ]


@dataclass
class Numbers:
    """Where in p the tables and matrices of a program begin, from `first` on."""

    first: int
    places: dict[str, int] = field(default_factory=dict)
    columns: list[np.ndarray] = field(default_factory=list)

    def place(self, table: Table) -> int:
        """Of one of them."""
        if table.digest not in self.places:
            self.places[table.digest] = self.first + sum(map(len, self.columns))
            self.columns.append(padded(table.times, table.values))
        return self.places[table.digest]

    def matrix(self, rows: Sequence[Sequence[float]]) -> int:
        """Of a matrix, row by row."""
        entries = np.array(rows)
        key = f"{entries.shape}{entries.tobytes().hex()}"
        if key not in self.places:
            self.places[key] = self.first + sum(map(len, self.columns))
            self.columns.append(entries.ravel())
        return self.places[key]

    def numbers(self) -> np.ndarray:
        """All of them, one after another."""
        return np.concatenate([np.empty(0), *self.columns])


def tables(expressions: Iterable[sp.Expr]) -> list[Table]:
    """The tables in expressions, inner ones first."""
    found = [part for part in parts(expressions) if isinstance(part, Table)]
    return sorted(found, key=lambda t: (sum(1 for _ in sp.preorder_traversal(t)), str(t)))
