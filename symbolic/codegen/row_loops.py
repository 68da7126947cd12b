"""Averages over the rows of a data set inside an emitted function: one loop over the rows of a table, which follows the
parameters in p, column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import sympy as sp

from symbolic.codegen.printing import ScalarPrinter
from symbolic.codegen.traversal import parts
from symbolic.problem.row_mean import RowMean

Key = tuple[str, tuple[sp.Symbol, ...]]


def averages(expressions: Iterable[sp.Expr]) -> list[RowMean]:
    """One average for each table that expressions average over, in order."""
    return [found[0] for found in _by_table(expressions).values()]


def _by_table(expressions: Iterable[sp.Expr]) -> dict[Key, list[RowMean]]:
    """Distinct averages, by their table and what its columns are called."""
    out: dict[Key, list[RowMean]] = {}
    seen: set[sp.Basic] = set()
    for e in expressions:
        for mean in sorted((part for part in parts([e], seen) if isinstance(part, RowMean)), key=str):
            group = out.setdefault((mean.digest, mean.z), [])
            if mean not in group:
                group.append(mean)
    return out


def loops(
    expressions: Sequence[sp.Expr],
    first: int,
    names: Mapping[sp.Basic, str],
    repeated: Callable[[Sequence[sp.Expr]], set[sp.Basic]],
    inside_out: Callable[[sp.Basic, set[sp.Basic]], Iterable[sp.Basic]],
) -> tuple[list[str], dict[RowMean, sp.Symbol]]:
    """(lines, {average: the symbol that stands for it}) for the body of a loop over lanes.

    first: where in p the first table begins; names: of the states; repeated, inside_out: as `emit` finds common parts.
    """
    lines, named = list[str](), dict[RowMean, sp.Symbol]()
    for (_, z), means in _by_table(expressions).items():
        rows, mine = len(means[0].table), {m: f"m{len(named) + k}" for k, m in enumerate(means)}
        bodies = [m.body for m in means]
        used = set().union(*(b.free_symbols for b in bodies))
        columns = {s: f"z{j}" for j, s in enumerate(z) if s in used}
        printer, twice, count = ScalarPrinter({**names, **columns}), repeated(bodies), 0
        lines += [f"        {name} = F(0.0)" for name in mine.values()]
        lines.append(f"        for r in range({rows}):")
        lines += [f"            {columns[s]} = p[{first + j * rows} + r]" for j, s in enumerate(z) if s in columns]
        for body, name in zip(bodies, mine.values(), strict=True):
            for part in inside_out(body, twice):
                if part not in printer.names:
                    text = printer(part)
                    printer.names[part] = f"b{count}"
                    lines.append(f"            b{count} = {text}")
                    count += 1
            lines.append(f"            {name} += {printer(body)}")
        lines += [f"        {name} = {name}/F({rows}.0)" for name in mine.values()]
        named |= {m: sp.Symbol(f":{name}", real=True) for m, name in mine.items()}
        first += rows * len(z)
    return lines, named
