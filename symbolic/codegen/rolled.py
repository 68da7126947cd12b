"""Long bodies rolled into loops: lines that differ only in numbers which grow evenly, such as the units and weights of
a layer, become one line inside loops, so that text and compile time do not grow with the size of a layer.

Each value that a lane names in between stands in scratch then, a row each, and a loop over lanes is innermost: each
line is the same scalar arithmetic as before, in an order in which all that it needs is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NAME = re.compile(r"\b([xnzcv])(\d+)\b")
LEAST = 4
"""Lines that make a loop."""
WORTH = 4
"""Times fewer lines that make loops worth their scratch."""


@dataclass(frozen=True)
class Line:
    """text: with {} for each index; rows: the indices; loops: (count, step of each index), outermost first."""

    text: str
    rows: tuple[int, ...]
    loops: tuple[tuple[int, tuple[int, ...]], ...] = ()


def rolled(
    named: Sequence[tuple[str, str]], stores: Sequence[tuple[str, int, str, str]]
) -> tuple[list[Line], int] | None:
    """Lines in loops, and how many rows of scratch they take; None where the body stays as it is: a store overwrites
    what another one reads, or few lines are alike. named: (name, expression text); stores: (array, row, operator,
    expression text).
    """
    for array, row, _, text in stores:
        if any(a == array and int(k) != row for a, k in NAME.findall(text)):
            return None
    level: dict[str, int] = {}
    for name, text in named:
        level[name] = 1 + max((level[a + k] for a, k in NAME.findall(text) if a in "cv"), default=-1)
    alike: dict[tuple[int, str], list[tuple[str, str]]] = {}
    for name, text in named:
        alike.setdefault((level[name], NAME.sub(r"\1", text)), []).append((name, text))
    place: dict[str, int] = {}
    ordered = list[tuple[str, str]]()
    for where in sorted(alike, key=lambda k: k[0]):
        group = sorted(
            alike[where], key=lambda item: [place[a + k] if a in "cv" else int(k) for a, k in NAME.findall(item[1])]
        )
        place |= {name: len(place) + k for k, (name, _) in enumerate(group)}
        ordered += group
    lines = [_line("c", place[name], "=", text, place) for name, text in ordered]
    lines += [_line(array, row, operator, text, place) for array, row, operator, text in stores]
    count = len(lines)
    while (shorter := list(runs(lines))) != lines:
        lines = shorter
    return (lines, len(place)) if len(lines) * WORTH <= count else None


def _line(array: str, row: int, operator: str, text: str, place: dict[str, int]) -> Line:
    rows = [row]

    def index(found: re.Match[str]) -> str:
        letter, number = found.groups()
        rows.append(place[found[0]] if letter in "cv" else int(number))
        return f"{'c' if letter in 'cv' else letter}[{{}}]"

    body = NAME.sub(index, text)
    return Line(f"{array}[{{}}] {operator} {body}", tuple(rows))


def runs(lines: Sequence[Line], least: int = LEAST) -> Iterator[Line]:
    """Runs of lines alike whose indices grow evenly, as one line each, in a loop more."""
    at = 0
    while at < len(lines):
        head, end, step = lines[at], at + 1, ()
        while end < len(lines) and (lines[end].text, lines[end].loops) == (head.text, head.loops):
            grown = tuple(b - a for a, b in zip(lines[end - 1].rows, lines[end].rows, strict=True))
            if end > at + 1 and grown != step:
                break
            step, end = grown, end + 1
        if end - at >= least:
            yield Line(head.text, head.rows, ((end - at, step), *head.loops))
            at = end
        else:
            yield head
            at += 1


def written(lines: Sequence[Line], width: str, indent: str, columns: int = 0) -> list[str]:
    """Text of lines, each in its loops and in one over `width` lanes. columns: of the rows that all lanes share, where
    z holds such."""
    out = []
    for line in lines:
        inner = indent
        for depth, (count, _) in enumerate(line.loops):
            out.append(f"{inner}for j{depth} in range({count}):")
            inner += "    "
        indices = []
        for k, row in enumerate(line.rows):
            steps = [(s[k], f"j{depth}") for depth, (_, s) in enumerate(line.loops) if s[k]]
            terms = [str(row), *(f"{s}*{j}" for s, j in steps)]
            indices.append(" + ".join(terms))
        text = _filled(line.text, indices, width, columns)
        out += [f"{inner}for i in range({width}):", f"{inner}    {text}"]
    return out


def _filled(text: str, indices: Sequence[str], width: str, columns: int) -> str:
    places = iter(indices)

    def put(found: re.Match[str]) -> str:
        index = next(places)
        if columns and found[1] == "z":
            return f"z[r*{columns} + {index}]"
        return f"{found[1]}[({index})*{width} + i]"

    return re.sub(r"(\w+)\[\{\}\]", put, text)
