"""Lines of a row's gradient (`row_gradient`) in loops over the units of layers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sympy as sp

from symbolic.codegen.printing import ScalarPrinter
from symbolic.codegen.rolled import Line, runs
from symbolic.codegen.row_gradient import Gradient, Ref, Value, row_gradient, slot
from symbolic.dynamics.step_map import RowSlopes

WORK = 256
"""Multiplications of matrix products a row from which on they are worth their scratch."""
MOST_LINES = 400
PRODUCT = re.compile(r"(\w+)\[\{\}\] \+= (\w+)\[\{\}\]\*(\w+)\[\{\}\]")
"""What is a matrix product in loops: target, and what is multiplied."""
_SLOT = re.compile(r"\bs(\d+)\b")


@dataclass(frozen=True)
class Layers:
    """lines: in order, rolled; their arrays are x (states), z (data), w (the row's weight), c (values), n (slopes),
    o (ones). values: how many there are."""

    lines: Sequence[Line]
    values: int

    @property
    def worthwhile(self) -> bool:
        """Whether the text is short, and fast."""
        work = sum(size(line) for line in self.lines if (found := PRODUCT.fullmatch(line.text)) and found[3] != "o")
        return work >= WORK and len(self.lines) <= MOST_LINES


def network_of(slopes: RowSlopes) -> Layers | None:
    """The layers of a loss, where it has such."""
    found = row_gradient(slopes.loss, slopes.states, slopes.z)
    made = None if found is None else layers(found)
    return made if made and made.worthwhile else None


def size(line: Line) -> int:
    """How many lines it stands for."""
    return math.prod(count for count, _ in line.loops)


def layers(gradient: Gradient) -> Layers:
    """The gradient in loops: values in the order of their ranks, alike ones in the order of what they are made of."""
    rows = _Rows(gradient)
    ranks: dict[int, list[int]] = {}
    for k in sorted(gradient.used):
        ranks.setdefault(gradient.values[k].rank, []).append(k)
    lines = [line for rank in sorted(ranks) for line in rows.values(ranks[rank])]
    slopes = [rows.line(("n", row), "+=", "s0*s1", pair) for row, pair in gradient.slopes]
    return Layers([*lines, *_grouped(slopes)], len(rows.place))


class _Rows:
    """place: rows of the values that have one."""

    def __init__(self, gradient: Gradient) -> None:
        self.all, self.place, self.printed = gradient.values, dict[int, int](), dict[sp.Expr, str]()

    def at(self, ref: Ref) -> int:
        return self.place[ref[1]] if ref[0] == "c" else ref[1]

    def text(self, form: sp.Expr, count: int) -> str:
        if form not in self.printed:
            self.printed[form] = ScalarPrinter({slot(k): f"s{k}" for k in range(count)})(form)
        return self.printed[form]

    def line(self, target: Ref, operator: str, form: str, operands: Sequence[Ref]) -> Line:
        """One operation, each operand as it stands in the form."""
        order = [operands[int(k)] for k in _SLOT.findall(form)]
        names = iter(order)
        body = _SLOT.sub(lambda found: f"{next(names)[0]}[{{}}]", form)
        return Line(f"{target[0]}[{{}}] {operator} {body}", (self.at(target), *map(self.at, order)))

    def values(self, numbers: Sequence[int]) -> list[Line]:
        """Lines for values of one rank, which are given places."""
        alike: dict[tuple[str, str, bool], list[tuple[list[int], int]]] = {}
        for k in numbers:
            value = self.all[k]
            value.products.sort(key=lambda pair: (pair[1][0], self.at(pair[1])))
            letters, first = "".join(o[0] for o in value.operands), value.products[:1]
            key = [self.at(o) for o in (*value.operands, *(ref for pair in first for ref in pair))]
            alike.setdefault((self._first(value), letters, bool(first)), []).append((key, k))
        made, added = list[Line](), list[Line]()
        for _, k in (item for group in alike.values() for item in sorted(group)):
            value, me = self.all[k], ("c", k)
            self.place[k] = len(self.place)
            made.append(self.line(me, "=", self._first(value), value.operands))
            added += [self.line(me, "+=", "s0*s1", pair) for pair in value.products]
            added += [self.line(me, "+=", self.text(number * slot(0), 1), (ref,)) for number, ref in value.terms]
        return [*_rolled(made), *_grouped(added)]

    def _first(self, value: Value) -> str:
        return self.text(value.form, len(value.operands))


def _grouped(lines: Iterable[Line]) -> list[Line]:
    """Lines alike together, in the order of their rows, in loops."""
    alike: dict[str, list[Line]] = {}
    for line in lines:
        alike.setdefault(line.text, []).append(line)
    return [line for group in alike.values() for line in _rolled(sorted(group, key=lambda line: line.rows))]


def _rolled(lines: Sequence[Line]) -> list[Line]:
    while (shorter := list(runs(lines, 2))) != lines:
        lines = shorter
    return list(lines)
