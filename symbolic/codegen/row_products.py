"""Sums over rows that all lanes share of factors times columns of the data, n[j] += f*z[c]: the factors of a few rows
first, then all products of these, so that a sum is loaded and stored once for so many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

ROWS = 4
"""Rows at a time."""
WORTHWHILE, MOST_SUMS = 2, 200
"""Sums for each factor from which on factors are worth their scratch, and sums of which the text stays short."""


@dataclass(frozen=True)
class RowProducts:
    """factors[k]*z[c] goes into sum j, for each (c, j, k) of products; c = -1: the factor itself does."""

    factors: Sequence[sp.Expr]
    products: Sequence[tuple[int, int, int]]

    def body(
        self, shown: Sequence[str], loads: Sequence[str], statements: Sequence[str], columns: int, dtype: str
    ) -> list[str]:
        """The function's lines. shown: the factors as text; loads, statements: of row r, in a loop over lanes; columns:
        of the data."""
        made = [f"{(k * ROWS)}*GROUP + s*GROUP + i" for k in range(len(shown))]
        return [
            f"    c = np.empty({len(shown) * ROWS}*GROUP, np.{dtype})",
            f"    for first in range(0, rows, {ROWS}):",
            f"        for s in range({ROWS}):",
            "            r = min(first + s, rows - 1)",
            "            counts = F(1.0) if first + s < rows else F(0.0)",
            "            for i in range(GROUP):",
            "                weight = counts*w[r*LANES + i]",
            *(f"        {line}" for line in (*loads, *statements)),
            *(f"                c[{place}] = weight*({text})" for place, text in zip(made, shown, strict=True)),
            *(f"        r{s} = min(first + {s}, rows - 1)*{columns}" for s in range(ROWS)),
            "        for i in range(GROUP):",
            *self._sums(),
        ]

    def _sums(self) -> list[str]:
        """Column by column: what a compiler keeps in registers are the factors."""
        out, loaded = list[str](), set[str]()

        def load(name: str, place: str) -> str:
            if name not in loaded:
                loaded.add(name)
                out.append(f"            {name} = {place}")
            return name

        for column, row, k in sorted(self.products):
            terms = list[str]()
            for s in range(ROWS):
                factor = load(f"f{k}_{s}", f"c[{k * ROWS + s}*GROUP + i]")
                terms.append(factor if column < 0 else f"{factor}*{load(f'z{column}_{s}', f'z[r{s} + {column}]')}")
            out.append(f"            n[{row}*GROUP + i] += {' + '.join(terms)}")
        return out


def row_products(results: Sequence[sp.Expr], columns: Mapping[sp.Basic, int], most: int) -> RowProducts | None:
    """Results, `most` at most, as factors times columns of the data, {symbol: column}; None where they share few
    factors."""
    factors, products = dict[sp.Expr, int](), list[tuple[int, int, int]]()
    for row, e in enumerate(results):
        parts = sp.Mul.make_args(e)
        at = next((k for k, part in enumerate(parts) if part in columns), None)
        rest = e if at is None else sp.Mul(*parts[:at], *parts[at + 1 :])
        products.append((-1 if at is None else columns[parts[at]], row, factors.setdefault(rest, len(factors))))
    few = 0 < WORTHWHILE * len(factors) <= len(results) <= min(most, MOST_SUMS)
    return RowProducts(list(factors), products) if few else None
