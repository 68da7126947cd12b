"""Which function of an expression has no value at a point, and why: what a lost path is explained by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from symbolic.functions.registry import ELEMENTARY


@dataclass(frozen=True)
class Finding:
    """What has no finite value: the function's text, its argument and the argument's value; why in words, and what to
    write instead, "" where it is no domain that was left but the number type's range. node: the function itself."""

    function: str
    argument: str
    value: float
    why: str
    advice: str
    node: Any

    @property
    def text(self) -> str:
        """A sentence without its end."""
        known = "" if self.argument == f"{self.value:g}" else f" = {self.value:.6g}"
        left = f"left its domain, {self.why}" if self.advice else self.why
        return f"{self.function} {left}: {self.argument}{known}"


class _Found(Exception):
    def __init__(self, finding: Finding) -> None:
        self.finding = finding


class Evaluator:
    """Evaluates expressions in floats of `dtype` at a point, and stops at the first function without a finite value
    there.

    values: {symbol: number}; an expression with another symbol is unknown (None), and so is what is made of it. shown:
    how symbols are to be named in what is told.
    """

    def __init__(
        self, values: Mapping[sp.Symbol, float], dtype: str, shown: Mapping[sp.Basic, sp.Basic] | None = None
    ) -> None:
        self.values: dict[sp.Basic, float | None] = dict(values)
        self.dtype, self.shown, self._cast = dtype, dict(shown or {}), np.dtype(dtype).type
        self.seen: list[tuple[sp.Basic, float, float]] = []
        """Functions whose argument could leave its domain, the argument's value here and how far that is from an
        end."""

    def find(self, expressions: Sequence[sp.Basic]) -> Finding | None:
        """The first function, innermost first, that has no finite value."""
        try:
            for e in expressions:
                self.value(e)
        except _Found as found:
            return found.finding
        return None

    def value(self, e: sp.Basic) -> float | None:
        """Its value, None for unknown."""
        if e not in self.values:
            made = self._make(e)
            with np.errstate(all="ignore"):
                made = None if made is None else float(self._cast(made))
            self.values[e] = made
        return self.values[e]

    def _make(self, e: sp.Basic) -> float | None:
        if isinstance(e, (sp.Number, sp.NumberSymbol)):
            return float(e)
        if isinstance(e, sp.Piecewise):
            return self._piecewise(e)
        known = [self.value(a) for a in e.args]
        if not e.args or any(v is None for v in known):
            return None
        x = [v for v in known if v is not None]
        try:
            made = self._apply(e, x)
        except OverflowError:
            made = math.inf
        with np.errstate(all="ignore"):
            finite = made is None or math.isfinite(self._cast(made))
        if not finite and all(map(math.isfinite, x)):
            position = int(np.argmax(np.abs(x)))
            self._tell(e, e.args[position], x[position], f"is beyond the range of {self.dtype}", "")
        return made

    def _apply(self, e: sp.Basic, x: list[float]) -> float | None:
        if isinstance(e, sp.Add):
            return sum(x)
        if isinstance(e, sp.Mul):
            return math.prod(x)
        if isinstance(e, sp.Pow):
            return self._power(e, *x)
        row = ELEMENTARY.get(type(e))
        if row is None:
            return None
        domain = row.domain_of(x)
        if domain is not None:
            if domain.edged:
                self.seen.append((e, x[-1], domain.margin(x[-1])))
            if domain.left(x[-1], self.dtype):
                self._tell(e, e.args[-1], x[-1], domain.why, self._instead(e))
        with np.errstate(all="ignore"):
            return float(row.at(*x))

    def _power(self, e: sp.Basic, base: float, power: float) -> float:
        whole = float(power).is_integer()
        if power < 0 or not whole:
            self.seen.append((e, base, abs(base)))
        if base == 0 and power < 0:
            self._tell(e, e.args[0], base, "a division by zero", self._instead(e))
        if base < 0 and not whole:
            root = "square root" if abs(power) == 0.5 else f"power {self._text(e.args[1])}"
            self._tell(e, e.args[0], base, f"the {root} of a negative number", self._instead(e))
        return math.pow(base, power)

    def _instead(self, e: sp.Basic) -> str:
        """What to write in place of a function of a domain, or of a power."""
        if (row := ELEMENTARY.get(type(e))) is not None:
            domain = row.domain_of([self.values.get(e.args[0]) or 0.0] if row.order else ())
            return domain.advice.format(self._text(e.args[-1])) if domain is not None else ""
        text = self._text(e.args[0])
        if e.args[1].is_integer:
            return (
                f"Keep the divisor from 0, e.g. by Max({text}, c) with a small c > 0 where it is meant to be positive"
            )
        least, small = ("0", "") if e.args[1].is_extended_positive else ("c", " with a small c > 0")
        held = self._text(sp.Pow(sp.Symbol(f"Max({text}, {least})"), e.args[1], evaluate=False))
        return f"Write {held}{small}, if it is meant to be held at {least} there"

    def _piecewise(self, e: sp.Piecewise) -> float | None:
        for value, condition in e.args:
            holds = self._holds(condition)
            if holds is None:
                return None
            if holds:
                return self.value(value)
        symbol = next(iter(sorted(e.free_symbols & self.values.keys(), key=str)), None)
        at = (self.values[symbol] if symbol is not None else None) or 0.0
        self._tell(e, symbol or e, at, "a Piecewise of which no condition holds", "Give it a last branch (value, True)")
        return math.nan

    def _holds(self, c: sp.Basic) -> bool | None:
        if c in (sp.true, sp.false):
            return c == sp.true
        if isinstance(c, (sp.And, sp.Or, sp.Not)):
            parts = [self._holds(a) for a in c.args]
            if any(p is None for p in parts):
                return None
            return all(parts) if isinstance(c, sp.And) else any(parts) if isinstance(c, sp.Or) else not parts[0]
        left, right = (self.value(a) for a in c.args)
        if left is None or right is None:
            return None
        return {
            sp.StrictLessThan: left < right,
            sp.LessThan: left <= right,
            sp.StrictGreaterThan: left > right,
            sp.GreaterThan: left >= right,
            sp.Equality: left == right,
        }.get(type(c), left != right)

    def _text(self, e: sp.Basic) -> str:
        text = sp.sstr(e.xreplace(self.shown), full_prec=False)
        return text if len(text) <= 120 else text[:117] + "..."

    def _tell(self, e: sp.Basic, argument: sp.Basic, value: float, why: str, advice: str) -> None:
        raise _Found(Finding(self._text(e), self._text(argument), value, why, advice, e))

    def as_written(self, found: Finding, formulas: Sequence[sp.Basic]) -> Finding | None:
        """What was found in a formula made of `formulas` at other states, as it stands there; None where nothing
        fits."""
        for e in dict.fromkeys(n for f in formulas for n in sp.preorder_traversal(f) if n.func == found.node.func):
            places = {s: sp.Wild(s.name) for s in e.free_symbols}
            if places and found.node.match(e.xreplace(places)):
                known = isinstance(e, sp.Pow) or type(e) in ELEMENTARY
                advice = self._instead(e) if known else found.advice
                return Finding(
                    self._text(e), self._text(_moved(e)), found.value, found.why, advice and found.advice and advice, e
                )
        return None

    def suspects(self) -> Iterator[Finding]:
        """Functions that could leave their domain elsewhere, the nearest to its edge first, with their argument's value
        here."""
        for e, value, _ in sorted(self.seen, key=lambda one: one[2]):
            yield Finding(self._text(e), self._text(_moved(e)), value, "", self._instead(e), e)


def _moved(e: sp.Basic) -> sp.Basic:
    """The argument of a function, or the base of a power."""
    return e.args[0] if isinstance(e, sp.Pow) else e.args[-1]
