"""Rolled lines that go in loops together, so that what one makes and another takes need not be stored between them.

Choices within choices become lines of their own there: compilers leave them as branches, and vectorise nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence

from symbolic.codegen.rolled import Line

Place = tuple[str, int, tuple[int, ...]]
"""(array, first row, step of each loop)."""
_PLACE = re.compile(r"(\w+)\[\{\}\]")


def places(line: Line) -> list[Place]:
    """Of all that a line names, the target first."""
    arrays = _PLACE.findall(line.text)
    return [(a, line.rows[k], tuple(steps[k] for _, steps in line.loops)) for k, a in enumerate(arrays)]


def counts(line: Line) -> list[int]:
    """How often each loop runs."""
    return [count for count, _ in line.loops]


def rows(place: Place, runs: Sequence[int]) -> set[tuple[str, int]]:
    """All that a place is in loops that run so often."""
    array, first, steps = place
    found = {first}
    for step, count in zip(steps, runs, strict=True):
        if step:
            found = {row + step * k for row in found for k in range(count)}
    return {(array, row) for row in found}


def nests(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines in order. A nest has loops alike, and takes what it makes at the same entry only; what adds to an array has
    one of its own."""
    out, made, named = list[list[Line]](), set[Place](), set[Place]()
    for line in lines:
        mine = places(line)
        fits = bool(out) and counts(line) == counts(out[-1][0]) and "+= " not in line.text + out[-1][0].text
        if fits:
            targets = made | {mine[0]}
            clash = {p for p in named | set(mine) if p not in targets}
            written = set[tuple[str, int]]().union(*(rows(p, counts(line)) for p in targets))
            fits = all(written.isdisjoint(rows(p, counts(line))) for p in clash if p[0] in {t[0] for t in targets})
        if not fits:
            out.append([])
            made, named = set(), set()
        out[-1].append(line)
        made.add(mine[0])
        named |= set(mine)
    return out


def kept(found: Sequence[Sequence[Line]]) -> set[tuple[str, int]]:
    """What one nest makes and others take, or add to."""
    out = set[tuple[str, int]]()
    touched = [set[tuple[str, int]]().union(*(rows(p, counts(x)) for x in nest for p in places(x))) for nest in found]
    for k, nest in enumerate(found):
        made = set[tuple[str, int]]().union(*(rows(places(line)[0], counts(line)) for line in nest))
        out |= made & set[tuple[str, int]]().union(*touched[:k], *touched[k + 1 :])
    return out


def body(nest: Sequence[Line], address: Callable[[Place], str], stored: Callable[[Place], bool]) -> Iterator[str]:
    """The lines inside a nest's loops. address: the text of a place; stored: whether a value made must be there."""
    own = dict[str, str]()
    for line in nest:
        target, *operands = places(line)
        texts = [address(p) for p in operands]
        for text in texts:
            if text not in own:
                own[text] = f"v{len(own)}"
                yield f"{own[text]} = {text}"
        names = iter([address(target), *(own[text] for text in texts)])
        filled = "".join(next(names) if k % 2 else part for k, part in enumerate(_PLACE.split(line.text)))
        to, operator, formula = filled.partition(" = ")
        if not operator:
            yield filled
            continue
        name = own[to] = f"v{len(own)}"
        choices = _Choices(name)
        formula = ast.unparse(choices.visit(ast.parse(formula, mode="eval")))
        yield from choices.lines
        yield f"{name} = {formula}"
        if stored(target):
            yield f"{to} = {name}"


def written(lines: Sequence[Line], width: str, indent: str) -> tuple[list[str], bool]:
    """Text of lines in nests, over `width` lanes innermost; whether it takes rows of scratch, c."""
    found, out = nests(lines), list[str]()
    needed = {row for array, row in kept(found) if array == "c"}
    for nest in found:
        runs = counts(nest[0])
        flat = len(runs) == 1 and all(p[2] == (1,) for line in nest for p in places(line))
        inner = indent
        for k, count in enumerate(() if flat else runs):
            out.append(f"{inner}for j{k} in range({count}):")
            inner += "    "
        out.append(f"{inner}for i in range({runs[0] if flat else 1}*{width}):")

        def address(place: Place, flat: bool = flat) -> str:
            steps = () if flat else place[2]
            row = " + ".join([str(place[1]), *(f"{s}*j{k}" for k, s in enumerate(steps) if s)])
            return f"{place[0]}[({row})*{width} + i]"

        def stored(place: Place) -> bool:
            return place[0] != "c" or place[1] in needed

        out += [f"{inner}    {line}" for line in body(nest, address, stored)]
    return out, bool(needed)


class _Choices(ast.NodeTransformer):
    """Makes two lines of each choice."""

    def __init__(self, name: str) -> None:
        self.name, self.lines = name, list[str]()

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        name = f"{self.name}_{len(self.lines) // 2}"
        self.lines.append(f"{name} = {ast.unparse(node.orelse)}")
        self.lines.append(f"{name} = {ast.unparse(node.body)} if {ast.unparse(node.test)} else {name}")
        return ast.Name(name)
