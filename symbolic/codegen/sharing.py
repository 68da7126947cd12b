"""Common parts as statements: what stands more than once in a formula is computed once.

Text in which a part is repeated may grow exponentially: a maximum repeats its arguments four times, branches repeat
what they share. While a function's text is small it stays as it reads best, branches evaluated only where they are
taken; beyond `LARGE` every compound part has a statement of its own, so that text grows as formulas do.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from functools import reduce

import sympy as sp

from symbolic.codegen import lookup_text
from symbolic.codegen.lookup_text import Numbers, tables
from symbolic.codegen.printing import ScalarPrinter
from symbolic.codegen.traversal import parts
from symbolic.errors import InputError
from symbolic.functions.registry import ELEMENTARY
from symbolic.functions.tables import Table

LARGE, CALLS = 20_000, 100
"""Symbols, numbers and operations of a function as written out in full, and functions in it, beyond which parts are not
repeated."""
MOST_TEXT = 500_000
"""Characters of a function, beyond which no compiler is asked: it would take minutes and gigabytes."""


def repeated(expressions: Sequence[sp.Expr]) -> set[sp.Basic]:
    """Compound sub-expressions that stand more than once: one CSE over all outputs, by structure."""
    seen: set[sp.Basic] = set()
    twice: set[sp.Basic] = set()

    def visit(e: sp.Basic) -> None:
        if e.is_Atom or not isinstance(e, sp.Expr) or e.is_number:
            return
        if e in seen:
            twice.add(e)
            return
        seen.add(e)
        for arg in e.args:
            visit(arg)

    for expression in expressions:
        visit(expression)
    return twice


def inside_out(e: sp.Basic, wanted: set[sp.Basic], done: Container[sp.Basic] = ()) -> Iterable[sp.Basic]:
    """The wanted parts of an expression, each after those that it is made of; none of a branch. What is done, its parts
    are too."""
    if e.is_Atom or isinstance(e, (sp.Piecewise, sp.Rel)) or e in done:
        return
    for arg in e.args:
        yield from inside_out(arg, wanted, done)
    if e in wanted:
        yield e


class Statements:
    """Expressions as text, their common parts as `lines` before it. printer: knows the names that
    parts have by then."""

    def __init__(
        self, printer: ScalarPrinter, expressions: Sequence[sp.Expr], lines: list[str], numbers: Numbers
    ) -> None:
        self.printer, self.lines, self.count, self.numbers = printer, lines, 0, numbers
        self.twice = repeated(expressions) | set(tables(expressions))
        self.large = _weight(expressions, self.twice) > LARGE or _calls(expressions) > CALLS
        self.large |= any(isinstance(p, sp.Piecewise) and p.has(Table) for p in parts(expressions))

    def __call__(self, e: sp.Expr) -> str:
        """The text of an expression."""
        if self.large:
            return self._part(e)
        for part in inside_out(e, self.twice, self.printer.names):
            if part not in self.printer.names:
                self._state(part)
        return self.printer(e)

    def _name(self, part: sp.Basic, text: str) -> str:
        name = f"c{self.count}"
        self.count += 1
        self.lines.append(f"        {name} = {text}")
        self.printer.names[part] = name
        return name

    def _part(self, e: sp.Basic) -> str:
        """The name of a part, or its text where it is a leaf."""
        stack = [e]
        while stack:
            part = stack[-1]
            inner = [] if self._done(part) or _long(part) else [a for a in _inner(part) if not self._done(a)]
            if inner:
                stack += inner[::-1]
                continue
            stack.pop()
            if not self._done(part):
                self._state(part)
        return self.printer(e)

    def _done(self, part: sp.Basic) -> bool:
        return part in self.printer.names or part.is_Atom or (isinstance(part, sp.Expr) and bool(part.is_number))

    def _state(self, part: sp.Basic) -> None:
        """Give a part a statement."""
        if isinstance(part, Table):
            x = self._name(part, self.printer(part.args[0]))
            name = f"c{self.count}"
            text = lookup_text.lines(name, x, self.numbers.place(part), len(part.times), part.kind)
            self.lines += [f"        {line}" for line in text[:-1]]
            self._name(part, text[-1].removeprefix(f"{name} = "))
        elif self.large and _long(part):
            self._fold(part)
        else:
            self._name(part, self.printer(part))

    def _fold(self, part: sp.Basic) -> None:
        """One argument, or a few, after another: none of them need be there for long."""
        if isinstance(part, sp.Piecewise):
            self._choose(part)
            return
        row, args, total = ELEMENTARY.get(type(part)), list(part.args), ""  # type: ignore[arg-type]
        while args:
            few, args = args[: 1 if row else FEW], args[1 if row else FEW :]
            for a in few:
                self._part(a)
            text = self.printer(few[0] if len(few) == 1 else part.func(*few, evaluate=False))
            if total:
                text = row.text.format(total, text) if row else f"{total} {'+' if part.is_Add else '*'} {text}"
            total = self._name(part, text)

    def _choose(self, part: sp.Piecewise) -> None:
        """A choice of many, the last first."""
        total = "math.nan"
        for value, condition in reversed(part.args):
            for a in (value, *_compared(condition)):
                self._part(a)
            text = self.printer(value)
            text = text if condition == sp.true else f"{text} if {self.printer.condition(condition)} else {total}"
            total = self._name(part, text)


def once_for_all(
    printer: ScalarPrinter, expressions: Sequence[sp.Expr], shared: set[sp.Symbol], numbers: Numbers
) -> list[str]:
    """Lines before the loop over lanes: the tables of what all lanes share, which the printer then knows by name."""
    out = list[str]()
    for k, table in enumerate(tables(expressions)):
        if not table.free_symbols <= shared:
            continue
        name, x = f"k{k}", f"k{k}x"
        out.append(f"    {x} = {printer(table.args[0])}")
        text = lookup_text.lines(name, x, numbers.place(table), len(table.times), table.kind)
        out += [f"    {line}" for line in text]
        printer.names[table] = name
    return out


FEW, MANY = 8, 32
"""Terms and factors in one statement; branches."""


def _long(part: sp.Basic) -> bool:
    row = ELEMENTARY.get(type(part))  # type: ignore[arg-type]
    if isinstance(part, sp.Piecewise):
        return len(part.args) > MANY
    return (row is not None and row.fold) or (isinstance(part, (sp.Add, sp.Mul)) and len(part.args) > FEW)


def _inner(part: sp.Basic) -> list[sp.Basic]:
    """What a part is made of: of a choice its values and what its conditions compare."""
    if isinstance(part, sp.Piecewise):
        sides = list[sp.Basic]()
        for value, condition in part.args:
            sides.append(value)
            sides += _compared(condition)
        return sides
    if isinstance(part, sp.Pow) and (part.exp.is_Rational or part.exp.is_number):
        return [part.base]
    return list(part.args)


def _compared(condition: sp.Basic) -> list[sp.Basic]:
    if isinstance(condition, sp.Rel):
        return list(condition.args)
    return [a for c in condition.args for a in _compared(c)]


def _weight(expressions: Sequence[sp.Expr], twice: set[sp.Basic]) -> float:
    """Symbols, numbers and operations that text takes with only `twice` shared, and those not within branches."""
    sizes = dict[tuple[sp.Basic, bool], float]()

    def size(e: sp.Basic, branch: bool) -> float:
        key = (e, branch)
        if key not in sizes:
            sizes[key] = _own(e, branch)
        return 1.0 if e in twice and not branch else sizes[key]

    def _own(e: sp.Basic, branch: bool) -> float:
        if e.is_Atom:
            return 1.0
        row = ELEMENTARY.get(type(e))  # type: ignore[arg-type]
        if isinstance(e, sp.Piecewise) and len(e.args) > MANY:
            return math.inf
        inner = [size(a, branch or isinstance(e, (sp.Piecewise, sp.Rel))) for a in e.args]
        if row is None:
            return 1.0 + sum(inner)
        counts = [row.text.count(f"{{{k}}}") for k in range(2)]
        if row.fold:
            return reduce(lambda a, b: counts[0] * a + counts[1] * b + 4, inner)
        return 4.0 + sum(n * s for n, s in zip(counts, inner, strict=False))

    for e in expressions:
        size(e, False)
    return sum(sizes[e, False] for e in {*expressions, *twice} if (e, False) in sizes)


def _calls(expressions: Sequence[sp.Expr]) -> int:
    return sum(type(part) in ELEMENTARY for part in parts(expressions))


class TooLong(InputError):
    """A text that takes too long to compile. length: its characters."""

    def __init__(self, length: int, message: str) -> None:
        super().__init__(message)
        self.length = length


def refuse_large(where: str, text: str) -> None:
    """Raise InputError for a text that takes too long to compile."""
    if len(text) > MOST_TEXT:
        raise TooLong(
            len(text),
            f"{where}: a program may have {MOST_TEXT} characters at most; got one of {len(text)} (str), which takes"
            f" about {len(text) / 2500 / 60:.0f} minutes to compile. Write it in arrays (symbolic.states and NumPy's"
            " functions), whose text does not grow with their size.",
        )
