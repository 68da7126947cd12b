"""The gradient of one data row's loss as lines of one operation each, alike wherever units of a layer are alike.

Values are found by reverse-mode differentiation over the loss as it is written: `a*b` of a parameter and a value of the
row stays within the sum that it stands in, so that what a layer does is `value += weight*value` over and over, and what
a gradient is, `slope += value*value`. `layer_text` finds the matrix products in that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy as sp

from symbolic.functions.registry import ELEMENTARY, derivatives

Ref = tuple[str, int]
"""("x", row) a state, ("z", column) of the data, ("w", 0) the row's weight, ("c", number) a value of the row, `ONE`."""
ONE: Ref = ("o", 0)
FEW = 8
"""Terms of one line."""
OWN = sp.Symbol(":own", real=True)
"""The value of a form, in its slopes."""


def slot(k: int) -> sp.Symbol:
    """What stands for operand k in a form."""
    return sp.Symbol(f":slot_{k}", real=True)


SEED = sp.Symbol(":seed", real=True)


@dataclass
class Value:
    """form(operands) + sum of products of two + sum of numbers times one; only products are of other than values. rank:
    one more than that of the latest of these; active: whether it depends on states."""

    form: sp.Expr
    operands: tuple[Ref, ...]
    rank: int
    active: bool
    products: list[tuple[Ref, Ref]] = field(default_factory=list)
    terms: list[tuple[sp.Expr, Ref]] = field(default_factory=list)

    def inner(self) -> list[Ref]:
        """All that it is made of."""
        return [*self.operands, *(ref for pair in self.products for ref in pair), *(ref for _, ref in self.terms)]


@dataclass(frozen=True)
class Gradient:
    """values: what makes each value, by number; slopes: (state's row, two values whose product it adds); used: numbers
    of the values that these need."""

    values: Sequence[Value]
    slopes: Sequence[tuple[int, tuple[Ref, Ref]]]
    used: set[int]


class _Unfit(Exception):
    """An expression that has no such form."""


def row_gradient(loss: sp.Expr, states: Sequence[sp.Symbol], z: Sequence[sp.Symbol]) -> Gradient | None:
    """The gradient of one row's loss times the row's weight; None where the loss holds what has no place in lines, such
    as a choice."""
    tape = _Tape(states, z)
    try:
        return tape.gradient(tape.value(loss))
    except _Unfit:
        return None


class _Tape:
    def __init__(self, states: Sequence[sp.Symbol], z: Sequence[sp.Symbol]) -> None:
        self.known: dict[sp.Basic, Ref] = {s: ("x", k) for k, s in enumerate(states)}
        self.known |= {s: ("z", k) for k, s in enumerate(z)}
        self.values: list[Value] = []
        self.copies: dict[Ref, Ref] = {}
        self.forms: dict[tuple[object, ...], sp.Expr] = {}
        self.slopes_of: dict[sp.Expr, list[sp.Expr]] = {}

    def rank(self, ref: Ref) -> int:
        return self.values[ref[1]].rank if ref[0] == "c" else -1

    def active(self, ref: Ref) -> bool:
        """Whether it depends on states."""
        return ref[0] == "x" or (ref[0] == "c" and self.values[ref[1]].active)

    def add(self, form: sp.Expr, operands: tuple[Ref, ...], inner: Sequence[Ref] = ()) -> Ref:
        every = [*operands, *inner]
        rank = 1 + max((self.rank(o) for o in every), default=-1)
        self.values.append(Value(form, operands, rank, any(self.active(o) for o in every)))
        return "c", len(self.values) - 1

    def value(self, e: sp.Basic) -> Ref:
        """Where an expression's value is."""
        if e in self.known:
            return self.known[e]
        if isinstance(e, sp.Add):
            found = self._sum(e)
        elif isinstance(e, (sp.Mul, sp.Pow)) or type(e) in ELEMENTARY:
            found = self._of(e)
        else:
            raise _Unfit
        self.known[e] = found
        return found

    def copy(self, ref: Ref) -> Ref:
        """Where a number is as a value of the row."""
        if ref[0] == "c":
            return ref
        if ref not in self.copies:
            self.copies[ref] = self.total([(ref, ONE)], [])
        return self.copies[ref]

    def _of(self, e: sp.Basic) -> Ref:
        operands = tuple(self.copy(self.value(a)) for a in e.args if not a.is_number)
        key = (e.func, *(a if a.is_number else None for a in e.args))
        if key not in self.forms:
            places = iter(range(len(operands)))
            self.forms[key] = e.func(*(a if a.is_number else slot(next(places)) for a in e.args))
        return self.add(self.forms[key], operands)

    def _sum(self, e: sp.Add) -> Ref:
        products, terms, constant = list[tuple[Ref, Ref]](), list[tuple[sp.Expr, Ref]](), sp.S.Zero
        for a in e.args:
            if a.is_number:
                constant = a
                continue
            factors = a.args if isinstance(a, sp.Mul) else (a,)
            weights = [f for f in factors if self.known.get(f, ONE)[0] == "x"]
            rest = [f for f in factors if f not in weights]
            if len(weights) == 1 and not (rest and all(f.is_number for f in rest)):
                other = self.value(rest[0] if len(rest) == 1 else sp.Mul(*rest)) if rest else ONE
                products.append((self.known[weights[0]], other))
            else:
                number, of = a.as_coeff_Mul()
                terms.append((number, self.copy(self.value(of))))
        return self.total(products, terms, constant)

    def total(
        self, products: list[tuple[Ref, Ref]], terms: list[tuple[sp.Expr, Ref]], constant: sp.Expr = sp.S.Zero
    ) -> Ref:
        """The sum of products and of numbers times values."""
        few, more = (terms, []) if len(terms) <= FEW else ([], terms)
        key = ("sum", constant, *(number for number, _ in few))
        if key not in self.forms:
            self.forms[key] = sp.Add(constant, *(number * slot(k) for k, (number, _) in enumerate(few)))
        inner = [ref for pair in products for ref in pair] + [ref for _, ref in more]
        made = self.add(self.forms[key], tuple(ref for _, ref in few), inner)
        self.values[made[1]].products, self.values[made[1]].terms = products, more
        return made

    def slopes(self, form: sp.Expr, count: int) -> list[sp.Expr]:
        """A form's slopes along its operands, times `SEED`; 0 where there is none."""
        if form not in self.slopes_of:
            found = derivatives(form, [slot(k) for k in range(count)])
            own = {form: OWN} if isinstance(form, sp.Function) else {}
            self.slopes_of[form] = [SEED * e.xreplace(own) for e in found]
        return self.slopes_of[form]

    def gradient(self, loss: Ref) -> Gradient:
        found = list[tuple[int, tuple[Ref, Ref]]]()
        if loss[0] != "c":
            raise _Unfit
        products: dict[Ref, list[tuple[Ref, Ref]]] = {}
        terms: dict[Ref, list[tuple[sp.Expr, Ref]]] = {loss: [(sp.S.One, self.copy(("w", 0)))]}

        def give(ref: Ref, slope: sp.Expr, value: Value, seed: Ref, me: Ref) -> None:
            if not self.active(ref) or slope == 0:
                return
            number = slope.xreplace({SEED: sp.S.One})
            added = (number, seed) if number.is_number else (sp.S.One, self._slope(slope, value.operands, seed, me))
            terms.setdefault(ref, []).append(added)

        for k in range(loss[1], -1, -1):
            me, value = ("c", k), self.values[k]
            own, mine = products.pop(me, []), terms.pop(me, [])
            if not value.active or not (own or mine):
                continue
            seed = mine[0][1] if not own and len(mine) == 1 and mine[0][0] == 1 else self.total(own, mine)
            for ref, slope in zip(value.operands, self.slopes(value.form, len(value.operands)), strict=True):
                give(ref, slope, value, seed, me)
            for number, ref in value.terms:
                give(ref, number * SEED, value, seed, me)
            for weight, ref in value.products:
                if weight[0] == "x":
                    found.append((weight[1], (seed, ref)))
                if ref[0] == "c" and self.active(ref):
                    products.setdefault(ref, []).append((weight, seed))
        return Gradient(self.values, found, self._used(found))

    def _used(self, slopes: Sequence[tuple[int, tuple[Ref, Ref]]]) -> set[int]:
        """Numbers of the values that slopes are made of."""
        used = {k for _, refs in slopes for letter, k in refs if letter == "c"}
        for k in range(len(self.values) - 1, -1, -1):
            if k in used:
                used |= {n for letter, n in self.values[k].inner() if letter == "c"}
        return used

    def _slope(self, slope: sp.Expr, operands: Sequence[Ref], seed: Ref, own: Ref) -> Ref:
        """The value of a slope, in terms of the operands that it takes."""
        key = ("slope", slope)
        named = {slot(k): ref for k, ref in enumerate(operands)} | {SEED: seed, OWN: own}
        used = [s for s in named if slope.has(s)]
        if key not in self.forms:
            self.forms[key] = slope.xreplace({s: slot(k) for k, s in enumerate(used)})
        return self.add(self.forms[key], tuple(named[s] for s in used))
