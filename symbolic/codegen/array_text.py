"""Array expressions as the text of loops: over entries, and innermost over the lanes of a block.

Row j of lane i is at [j*LANES + i], as in `emit`. Numbers in arrays go into the table of parameters p and never into
the text, which has the same length for arrays of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp

from symbolic.arrays.expression import (
    Array,
    Call,
    Constant,
    Elementwise,
    Join,
    Lookup,
    Reduce,
    Reshape,
    Scalar,
    Take,
    View,
)
from symbolic.arrays.operations import OPERATIONS
from symbolic.codegen import lookup_text
from symbolic.codegen.array_plan import (
    ADDRESSED,
    Index,
    Kernel,
    Place,
    arguments,
    flat,
    keep,
    kernels_of,
    moved,
    plain,
    read_within,
    whole,
)
from symbolic.codegen.lookup_text import padded
from symbolic.codegen.printing import literal
from symbolic.errors import InputError

FIRST = {"sum": "F(0.0)", "prod": "F(1.0)", "max": "F(-math.inf)", "min": "F(math.inf)"}
MERGE = {
    "sum": "{0} + {1}",
    "prod": "{0}*{1}",
    "max": OPERATIONS["Max"].text,
    "min": OPERATIONS["Min"].text,
}
TURN, LIGHT = 8, 4
"""Entries that a reduction takes at a time, where what is reduced takes no more additions than that."""
MOST_PLACES = 2**24
"""Places in an array that a float32 can say."""


@dataclass
class Table:
    """The numbers of constant arrays behind the parameters of p, from `first` on."""

    first: int
    columns: list[np.ndarray] = field(default_factory=list)
    places: dict[Any, int] = field(default_factory=dict)

    def place(self, node: Array) -> int:
        """Where in p the numbers of a constant begin."""
        key = (node.data, node.shape)
        if key not in self.places:
            if node.size > MOST_PLACES:
                raise InputError.of("array", f"may hold {MOST_PLACES} numbers at most", node.size, "Use a smaller one.")
            self.places[key] = self.first + sum(map(len, self.columns))
            self.columns.append(padded(*node.values) if isinstance(node, Lookup) else node.values.ravel())
        return self.places[key]

    def numbers(self) -> np.ndarray:
        """All of them, one after another."""
        return np.concatenate([np.empty(0), *self.columns])


@dataclass(frozen=True)
class Target:
    """Rows of the array `name`, from `row` on, that a node is written to."""

    name: str
    row: int
    node: Array


class Function:
    """The text of one emitted function. rows: of states and noises, (array, first row); names: of scalars; brief: it is
    called too rarely to be worth longer text."""

    def __init__(
        self,
        signature: str,
        targets: Sequence[Target],
        rows: Mapping[Array, tuple[str, int]],
        names: Mapping[sp.Basic, str],
        table: Table,
        dtype: str,
        *,
        brief: bool = False,
    ) -> None:
        self.names, self.table, self.dtype, self.brief = names, table, dtype, brief
        self.rows: dict[Array, tuple[str, int]] = dict(rows)
        self.top, self.body, self.scalars, self.count = list[str](), list[str](), dict[Array, str](), 0
        roots = [t.node for t in targets]
        forced = _overwritten(targets, rows, set(keep(roots)))
        kept = keep(roots, forced)
        for node in kept:
            self._fill(node)
        for t in sorted(targets, key=lambda t: t.node in forced):
            self._kernel(Kernel(t.node.shape, t.node, whole(t.node.shape)), t.name, t.row, t.node.shape, False)
        self.text = "\n".join([f"def {signature}:", *(self.top + self.body or ["    pass"])]) + "\n"

    def fresh(self, letter: str) -> str:
        """A name that is not in use."""
        self.count += 1
        return f"{letter}{self.count}"

    def _fill(self, node: Array) -> None:
        name = self.fresh("b")
        lanes = "" if node.uniform else "*LANES"
        self.top.append(f"    {name} = np.empty({node.size}{lanes}, dtype=np.{self.dtype})")
        if isinstance(node, Call):
            self._call(node, name)
            self.rows[node] = (name, 0)
            return
        at = 0
        for kernel in kernels_of(node):
            shift = 0
            if isinstance(node, Join):
                axis = node.data[0]
                shift = at * int(np.prod(node.shape[axis + 1 :], dtype=int))
                at += kernel.body.shape[axis]
            kind = node.data[0] if isinstance(node, Reduce) else ""
            self._kernel(kernel, name, shift, node.shape, node.uniform, kind, own=node)
        self.rows[node] = (name, 0)

    def _call(self, node: Call, name: str) -> None:
        """A user's function, lane by lane, on columns of its own."""
        x, out = self.fresh("x"), self.fresh("o")
        size = node.args[0].size if len(node.args) > 1 else node.shape[0]
        self.top.append(f"    {x} = np.zeros({size}, dtype=np.{self.dtype})")
        self.top.append(f"    {out} = np.empty({node.shape}, dtype=np.{self.dtype})")
        loop = _Loop(self, "    ")
        time = loop.value(node.args[len(node.args) - 1], (), None)
        self.body += loop.before
        lines = [line.strip() for line in loop.lines]
        if len(node.args) > 1:
            source, first = self.rows[node.args[0]]
            lines += [f"for j in range({size}):", f"    {x}[j] = {source}[({first} + j)*LANES + i]"]
        lines.append(f"{node.data[0]}({x}, {time}, {out})")
        step, end = ("*LANES", " + i") if node.reads else ("", "")
        index = ["j"] if len(node.shape) == 1 else ["j", "k"]
        flat = "j" if len(node.shape) == 1 else f"(j*{node.shape[1]} + k)"
        for k, n in enumerate(node.shape):
            lines.append(f"{'    ' * k}for {index[k]} in range({n}):")
        lines.append(f"{'    ' * len(node.shape)}{name}[{flat}{step}{end}] = {out}[{', '.join(index)}]")
        deep = "    " if not node.reads else "        "
        self.body += (["    for i in range(LANES):"] if node.reads else []) + [deep + line for line in lines]

    def _kernel(
        self,
        kernel: Kernel,
        name: str,
        first: int,
        shape: tuple[int, ...],
        uniform: bool,
        kind: str = "",
        own: Array | None = None,
    ) -> None:
        """Loops that write a kernel's body to `name`, whose entry of index 0 is row `first` of shape `shape`."""
        outer, deep = len(kernel.extents) - kernel.reduced, "    "
        start, steps = flat(whole(kernel.extents[:outer]), shape)
        place = (start + first, steps)
        last = len(kernel.extents) - 1
        for k, n in enumerate(kernel.extents):
            if k == outer and kind:
                self._begin(deep, name, place, kind, uniform)
            if n > 1 and (k < last or not kind):
                self.body.append(f"{deep}for i{k} in range({n}):")
                deep += "    "
        for first, end, stride in self._turns(kernel) if kind else [(0, 1, 1)]:
            inner = deep
            if kind and kernel.extents[last] > 1:
                self.body.append(f"{deep}for i{last} in range({first}, {end}, {stride}):")
                inner += "    "
            loop = _Loop(self, inner)
            target = f"{name}[{_text(place)}]" if uniform else f"{name}[{loop.row(place)} + i]"
            value = target if kind else loop.value(kernel.body, kernel.index, own if kernel.body is own else None)
            for shift in range(stride if kind else 0):
                old = loop.name("w")
                loop.put(f"{old} = {value}", uniform)
                entry = loop.value(kernel.body, moved(kernel.index, last, shift))
                value = MERGE[kind].format(old, entry)
            loop.put(f"{target} = {value}", uniform)
            self.body += loop.before
            if loop.lines:
                self.body += [f"{inner}for i in range(LANES):", *loop.lines]

    def _turns(self, kernel: Kernel) -> list[tuple[int, int, int]]:
        """(first, end, stride) of the loops over the last axis that is reduced: several entries of a light body are
        taken at a time, so that the row that they go to is read and written less."""
        n = kernel.extents[-1]
        bodies = [node for node, _ in read_within(kernel, set(self.rows)) if isinstance(node, Elementwise)]
        if n < 2 * TURN or self.brief or sum(OPERATIONS[b.data[0]].cost for b in bodies) > LIGHT:
            return [(0, n, 1)]
        whole_turns = n - n % TURN
        return [(0, whole_turns, TURN), *([(whole_turns, n, 1)] if n % TURN else [])]

    def _begin(self, deep: str, name: str, place: Place, kind: str, uniform: bool) -> None:
        if uniform:
            self.body.append(f"{deep}{name}[{_text(place)}] = {FIRST[kind]}")
            return
        row = self.fresh("r")
        self.body += [
            f"{deep}{row} = ({_text(place)})*LANES",
            f"{deep}for i in range(LANES):",
            f"{deep}    {name}[{row} + i] = {FIRST[kind]}",
        ]

    def scalar(self, node: Array) -> str:
        """A number that all paths share, computed once."""
        if node not in self.scalars:
            if isinstance(node, Constant):
                return f"F({literal(sp.Float(float(node.values)))})"
            if isinstance(node, Scalar):
                return self._symbol(node)
            inner = [self.scalar(a) for a in node.args]
            name = self.fresh("s")
            if isinstance(node, Lookup):
                x, first = self.fresh("s"), self.table.place(node)
                found = lookup_text.lines(name, x, first, node.values.shape[1], node.data[1])
                self.top += [f"    {line}" for line in (f"{x} = {inner[0]}", *found)]
            else:
                self.top.append(f"    {name} = {OPERATIONS[node.data[0]].text.format(*inner)}")
            self.scalars[node] = name
        return self.scalars[node]

    def _symbol(self, node: Array) -> str:
        place = self.names[node.data[0]]
        if not place.startswith("p["):
            return place
        name = f"p{place[2:-1]}"
        self.scalars[node] = name
        self.top.append(f"    {name} = {place}")
        return name


class _Loop:
    """The innermost part of a kernel: lines before the loop over lanes, and within it."""

    def __init__(self, function: Function, deep: str) -> None:
        self.function, self.deep = function, deep
        self.before, self.lines = list[str](), list[str]()
        self.known = dict[tuple[Array, Index], str]()
        self.texts = dict[str, str]()

    def name(self, letter: str) -> str:
        return self.function.fresh(letter)

    def put(self, line: str, uniform: bool) -> None:
        """A line, before the loop over lanes where it is the same for all."""
        (self.before if uniform else self.lines).append(f"{self.deep}{'' if uniform else '    '}{line}")

    def once(self, text: str, letter: str) -> str:
        """The name of a text that is the same for all lanes."""
        if text not in self.texts:
            self.texts[text] = self.name(letter)
            self.put(f"{self.texts[text]} = {text}", True)
        return self.texts[text]

    def row(self, place: Place | str) -> str:
        """Where the row of a place begins."""
        return self.once(f"({place if isinstance(place, str) else _text(place)})*LANES", "r")

    def value(self, node: Array, index: Index, own: Array | None = None) -> str:
        """The name of a node's entry at an index. own: a kept node that is being made."""
        if (node, index) not in self.known:
            self.known[node, index] = self._value(node, index, own)
        return self.known[node, index]

    def _value(self, node: Array, index: Index, own: Array | None) -> str:
        function = self.function
        if node in function.rows and (node is not own or isinstance(node, ADDRESSED)):
            return self.read(node, flat(index, node.shape))
        if not node.shape and plain(node):
            return function.scalar(node)
        if isinstance(node, Constant):
            return self.read(node, flat(index, node.shape))
        if isinstance(node, Take):
            places = f"int(p[{_text(flat(index, node.shape), function.table.place(node.args[1]))}])"
            return self.read(node.args[0], self.once(places, "g"))
        if isinstance(node, Reshape):
            return self.read(node.args[0], flat(index, node.shape))
        values = [self.value(a, i) for a, i in arguments(node, index)]
        if isinstance(node, View):
            return values[0]
        assert isinstance(node, Elementwise)
        if isinstance(node, Lookup):
            return self.search(node, values[0])
        text = OPERATIONS[node.data[0]].text.format(*values)
        if node.uniform:
            return self.once(text, "u")
        name = self.name("a")
        self.put(f"{name} = {text}", False)
        return name

    def search(self, node: Lookup, x: str) -> str:
        """The name of a table's value at x."""
        name, first = self.name("c"), self.function.table.place(node)
        for line in lookup_text.lines(name, x, first, node.values.shape[1], node.data[1]):
            self.put(line, node.uniform)
        return name

    def read(self, node: Array, place: Place | str) -> str:
        """A row of what lies in rows, or a number of a constant."""
        if isinstance(node, Constant):
            first = self.function.table.place(node)
            return self.once(f"p[{first} + {place}]" if isinstance(place, str) else f"p[{_text(place, first)}]", "k")
        name, first = self.function.rows[node]
        at = f"{first} + {place}" if isinstance(place, str) else (place[0] + first, place[1])
        truth = " > F(0.5)" if node.condition else ""
        if node.uniform:
            return self.once(f"{name}[{at if isinstance(at, str) else _text(at)}]{truth}", "u")
        value = self.name("a")
        self.put(f"{value} = {name}[{self.row(at)} + i]{truth}", False)
        return value


def _text(place: Place, first: int = 0) -> str:
    start, steps = place
    terms = [f"i{axis}" if step == 1 else f"{step}*i{axis}" for axis, step in steps]
    return " + ".join(([str(start + first)] if start + first or not terms else []) + terms)


def _overwritten(targets: Sequence[Target], rows: Mapping[Array, tuple[str, int]], kept: set[Array]) -> list[Array]:
    """Nodes that are written over states which others read, or they themselves at other places: to be kept first."""
    out = []
    for t in targets:
        for node, index in read_within(Kernel(t.node.shape, t.node, whole(t.node.shape)), kept):
            name, row = rows.get(node.args[0] if isinstance(node, (Take, Reshape)) else node, ("", 0))
            if name == t.name and (row != t.row or index != whole(t.node.shape) or isinstance(node, (Take, Reshape))):
                out.append(t.node)
                break
    return out
