"""What a symmetry must leave alone, and its exact gradients, as polynomials in theta, z and atoms, over Q or the field
of the constants that the loss names.

A loss sum_i c_i (f_i - y_i)^2 with a target y_i of its own in every term is invariant exactly when every f_i is
(compare powers of y_i), so residuals stand in for it and squares are never expanded. Any other loss stands for itself.

An atom stands for what is not polynomial: 1/q, q**(1/m), exp(q), log(q), tanh(q), an opaque f(q) and its derivative, or
a gate (the 0/1 activation of a ReLU, constant away from its kink). Atoms obey their relations (t**m = q, s*q = 1,
gate**2 = gate) and the chain rule; so an identity that holds for atoms taken as free variables holds for the loss,
exactly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic import clock
from symbolic.algebra import polynomial as poly
from symbolic.algebra.number_field import quotient
from symbolic.algebra.polynomial import Monomial, Polynomial, TooLarge
from symbolic.errors import InputError
from symbolic.evaluation.loss_constants import constants
from symbolic.evaluation.random_points import label_patterns
from symbolic.functions.activations import step
from symbolic.functions.registry import ELEMENTARY, VALUE, Elementary, H, X
from symbolic.problem.loss import Loss

LIMIT = 3_000_000
"""Products allowed in one multiplication before an expansion is refused."""
MOST = 4_000_000
"""Terms that all products of one loss may have together."""


@dataclass(frozen=True)
class Atom:
    """One atom: its kind, its argument q and slope (dt = slope * dq); order m for a root t**m = q."""

    kind: str
    argument: Polynomial
    slope: Polynomial
    order: int = 1


def invariants(expression: sp.Expr, targets: set[Any]) -> list[sp.Expr]:
    """Expressions that are all invariant exactly when the loss is: residuals of squares with a private target, and the
    rest."""
    factor, body = expression.as_coeff_Mul()
    terms = sp.Add.make_args(body)
    owners = Counter(s for term in terms for s in term.free_symbols & targets)
    residuals, rest = [], []
    for term in terms:
        base: Any = term.as_coeff_Mul()[1]
        square = isinstance(base, sp.Pow) and base.exp == 2
        if square and _private(base.base, {s for s in term.free_symbols & targets if owners[s] == 1}):
            residuals.append(base.base)
        else:
            rest.append(term)
    return residuals + ([factor * sp.Add(*rest)] if rest else [])


def _private(residual: sp.Expr, candidates: set[Any]) -> bool:
    """Whether a candidate occurs in the residual exactly once, as a term of its own."""
    parts = sp.Add.make_args(residual)
    inside = Counter(s for part in parts for s in part.free_symbols & candidates)
    return any(inside[s] == 1 and any(part.as_coeff_Mul()[1] == s for part in parts) for s in candidates)


class Formal:
    """The loss's invariants as polynomials; variables 0..D-1 are theta, the rest z, law symbols and atoms.

    Raises polynomial.TooLarge when the expansion would not fit, ValueError for what has no derivative here.
    """

    def __init__(self, loss: Loss) -> None:
        self.dimension = loss.dimension
        self.number: dict[sp.Expr, int] = {s: i for i, s in enumerate((*loss.theta, *loss.z))}
        self.size = len(self.number)
        self.made = 0
        self.atoms: dict[int, Atom] = {}
        self.known: dict[tuple, int] = {}
        self.memo: dict[sp.Expr, Polynomial] = {}
        self.idempotent: set[int] = set()
        self.group: dict[int, int] = {}
        self.dependent: dict[int, Polynomial] = {}
        self.labels: list[tuple[dict[int, int], np.ndarray]] = []
        self.constants = constants(loss)
        self.stray = False
        self._read_data(loss)
        free = {s for s in loss.z if self.number[s] not in self.group}
        self.values = [self.convert(e) for e in invariants(loss.expression, free)]

    @property
    def transcendental(self) -> bool:
        """Whether atoms occur whose algebraic independence is not established here (anything but 1/q and gates)."""
        return any(a.kind not in ("inverse", "gate") for a in self.atoms.values())

    @property
    def gated(self) -> bool:
        """Whether the loss has kinks."""
        return any(a.kind == "gate" for a in self.atoms.values())

    @property
    def settled(self) -> bool:
        """Whether every irrational constant is taken for what it is known to be."""
        return not self.stray and self.constants.independent

    def _read_data(self, loss: Loss) -> None:
        """0/1 variables square to themselves; the columns of a one-hot label exclude each other and sum to 1.

        labels: per data set, its 0/1 variables by number, and their patterns that occur."""
        for block in loss.blocks:
            columns = [self.number[s] for s in block.symbols]
            if block.binary:
                self.idempotent.update(columns)
            if block.table is None:
                continue
            table = block.table
            discrete, patterns = label_patterns(table)
            numbers = [columns[j] for j in np.flatnonzero(discrete)]
            self.idempotent.update(numbers)
            if numbers:
                rows = table[[rows[0] for rows in patterns]][:, discrete].astype(np.int64)
                self.labels.append(({n: k for k, n in enumerate(numbers)}, rows))
            labels: dict[str, list[int]] = {}
            for j in np.flatnonzero(discrete):
                labels.setdefault(block.symbols[j].name.split("[")[0], []).append(int(j))
            for members in labels.values():
                if len(members) > 1 and (table[:, members].sum(axis=1) == 1).all():
                    numbers = [columns[j] for j in members]
                    self.group.update(dict.fromkeys(numbers, numbers[0]))
                    rest = {(n,): -1 for n in numbers[:-1]}
                    self.dependent[numbers[-1]] = {poly.ONE: 1, **rest}

    def _rule(self, monomial: Monomial) -> Monomial | None:
        last, groups, out, changed = -1, set(), [], False
        for v in monomial:
            if v in self.idempotent:
                if v == last:
                    changed = True
                    continue
                owner = self.group.get(v)
                if owner is not None:
                    if owner in groups:
                        return None
                    groups.add(owner)
            out.append(v)
            last = v
        return tuple(out) if changed else monomial

    def times(self, a: Polynomial, b: Polynomial) -> Polynomial:
        """a * b in normal form."""
        found = poly.multiply(a, b, self._rule if self.idempotent else None, LIMIT)
        self.made += len(found)
        if self.made > MOST:
            raise TooLarge(f"more than {MOST} terms in all")
        return found

    def _power(self, base: Polynomial, exponent: int) -> Polynomial:
        return poly.power(base, exponent, self._rule if self.idempotent else None, LIMIT)

    def _new(
        self, key: tuple, kind: str, argument: Polynomial, slope: Polynomial | None = None, order: int = 1
    ) -> Polynomial:
        if key not in self.known:
            self.known[key] = self.size
            self.size += 1
            me = self.known[key]
            if kind == "gate":
                self.idempotent.add(me)
            own: Polynomial = {(me, me): -1} if kind == "inverse" else {}
            self.atoms[me] = Atom(kind, argument, slope if slope is not None else own, order)
        return {(self.known[key],): 1}

    def inverse(self, q: Polynomial) -> Polynomial:
        """1/q."""
        if len(q) == 1 and poly.ONE in q:
            return poly.constant(quotient(1, q[poly.ONE]))
        return self._new(("inverse", poly.freeze(q)), "inverse", q)

    def root(self, q: Polynomial, order: int) -> Polynomial:
        """q**(1/order)."""
        key = ("root", order, poly.freeze(q))
        if key not in self.known:
            inverse = self.inverse(q)
            t = {(self.size,): 1}
            slope = self.times({m: Fraction(1, order) for m in t}, inverse)
            return self._new(key, "root", q, slope, order)
        return {(self.known[key],): 1}

    def gate(self, q: Polynomial) -> Polynomial:
        """1 where q > 0, else 0."""
        if q:
            scale = abs(q[min(q)])
            q = {m: quotient(c, scale) for m, c in q.items()} if scale != 1 else q
        if ("gate", opposite := poly.freeze({m: -c for m, c in q.items()})) in self.known:
            return {poly.ONE: 1, (self.known["gate", opposite],): -1}
        if not poly.variables([q]):
            return poly.constant(int(bool(q) and q[poly.ONE] > 0))
        return self._new(("gate", poly.freeze(q)), "gate", q)

    def opaque(self, name: str, q: Polynomial) -> Polynomial:
        """f(q) for an f of which nothing is known but that it is differentiable."""
        key = (name, poly.freeze(q))
        slope = self._new((f"{name}'", poly.freeze(q)), "slope", {}, {}) if key not in self.known else None
        return self._new(key, "opaque", q, slope)

    def _exponential(self, q: Polynomial) -> Polynomial:
        """exp(q), with exp(-q) as its inverse."""
        if q and q[min(q)] < 0:
            return self.inverse(self._exponential({m: -c for m, c in q.items()}))
        return self._elementary(ELEMENTARY[sp.exp], q) if q else poly.constant(1)

    def _elementary(self, row: Elementary, q: Polynomial) -> Polynomial:
        """f(q) for a smooth f whose slope is algebraic in q and f(q)."""
        key = (row.name, poly.freeze(q))
        if key in self.known:
            return {(self.known[key],): 1}
        own = row.slope.has(VALUE)
        atom = self._new(key, row.name, q, {} if own else self._substituted(row.slope, {X: q}))
        if own:
            me = self.known[key]
            self.atoms[me] = replace(self.atoms[me], slope=self._substituted(row.slope, {X: q, VALUE: atom}))
        return atom

    def _substituted(self, e: sp.Expr, values: dict[sp.Expr, Polynomial]) -> Polynomial:
        """A formula of the registry with polynomials for its symbols."""
        memo, self.memo = self.memo, values
        try:
            return self.convert(e)
        finally:
            self.memo = memo

    def convert(self, e: Any) -> Polynomial:
        """The polynomial that an expression stands for."""
        if e not in self.memo:
            clock.check()
            self.memo[e] = self._convert(e)
        return self.memo[e]

    def _convert(self, e: Any) -> Polynomial:
        if e.is_Rational:
            return poly.constant(int(e) if e.is_Integer else Fraction(int(e.p), int(e.q)))
        if e.is_Float:
            return poly.constant(Fraction(str(e)))
        if e in self.constants.values:
            return poly.constant(self.constants.values[e])
        if e.is_Symbol:
            if e not in self.number:
                self.number[e] = self.size
                self.size += 1
            return dict(self.dependent.get(self.number[e], {(self.number[e],): 1}))
        self.stray |= e.is_number and not isinstance(e, (sp.Add, sp.Mul)) and not (e.is_Pow and e.exp.is_Integer)
        if not e.args:
            return self._new(("constant", e), "constant", {}, {})
        if isinstance(e, sp.Add):
            total: Polynomial = {}
            for arg in e.args:
                poly.add(total, self.convert(arg))
            return total
        if isinstance(e, sp.Mul):
            product = poly.constant(1)
            for part in sorted((self.convert(arg) for arg in e.args), key=len):
                product = self.times(product, part)
            return product
        if isinstance(e, sp.Pow):
            return self._convert_power(e.base, e.exp)
        return self._convert_function(e)

    def _convert_power(self, base: Any, exponent: Any) -> Polynomial:
        if exponent.is_Integer:
            q, n = self.convert(base), int(exponent)
            return self._power(q if n >= 0 else self.inverse(q), abs(n))
        if exponent.is_Rational:
            q, order = self.convert(base), int(exponent.q)
            whole, rest = divmod(int(exponent.p), order)
            part = self._power(q if whole >= 0 else self.inverse(q), abs(whole))
            return self.times(part, self._power(self.root(q, order), rest))
        return self.convert(sp.exp(sp.expand_mul(exponent * sp.log(base)), evaluate=False))

    def _convert_function(self, e: Any) -> Polynomial:
        if isinstance(e, (sp.Max, sp.Min)):
            largest, sign = self.convert(e.args[0]), 1 if isinstance(e, sp.Max) else -1
            for arg in e.args[1:]:
                ahead = poly.add(dict(largest), self.convert(arg), -1)
                gate = self.gate({m: sign * c for m, c in ahead.items()})
                largest = poly.add(self.times(gate, ahead), self.convert(arg))
            return largest
        if isinstance(e, sp.Piecewise):
            return self._convert_pieces(list(e.args))
        row = ELEMENTARY.get(type(e))
        if row is not None and row.gates is not None:
            x = [self.convert(a) for a in e.args]
            if isinstance(e, step):
                return self.gate(x[0])
            return self._substituted(row.in_gates, dict(zip((X, H), x, strict=False)))
        if len(e.args) != 1 or not isinstance(e, sp.Function):
            raise InputError(
                f"derive: no rule for {type(e).__name__}; got {e}. Write it with + - * / ** and functions of one"
                " argument."
            )
        q = self.convert(e.args[0])
        if isinstance(e, sp.exp):
            return self._exponential(q)
        if row is not None and row.others is not None:
            return self._substituted(row.in_others, {X: q})
        if row is not None and row.parity and q and q[min(q)] < 0:
            mirrored = self._smooth(row, type(e).__name__, {m: -c for m, c in q.items()})
            return {m: row.parity * c for m, c in mirrored.items()}
        return self._smooth(row, type(e).__name__, q)

    def _smooth(self, row: Elementary | None, name: str, q: Polynomial) -> Polynomial:
        """A function of one argument as an atom."""
        if row is not None and not row.kinked and row.algebraic:
            return self._elementary(row, q)
        return self.opaque(name, q)

    def _convert_pieces(self, pieces: list[Any]) -> Polynomial:
        value: Any = pieces[0][0]
        condition: Any = pieces[0][1]
        if condition == sp.true or len(pieces) == 1:
            return self.convert(value)
        if type(condition) in (sp.StrictGreaterThan, sp.GreaterThan):
            gate = self.gate(self.convert(condition.lhs - condition.rhs))
        elif type(condition) in (sp.StrictLessThan, sp.LessThan):
            gate = self.gate(self.convert(condition.rhs - condition.lhs))
        else:
            gate = self._new(("condition", condition), "gate", {})
        other = self._convert_pieces(pieces[1:])
        ahead = poly.add(dict(self.convert(value)), other, -1)
        return poly.add(self.times(gate, ahead), other)

    @cached_property
    def gradients(self) -> list[list[Polynomial]]:
        """Per invariant, its D derivatives up to one common non-zero factor, in normal form: all vanish exactly where
        they should."""
        return [self._gradient(value) for value in self.values]

    def _gradient(self, value: Polynomial) -> list[Polynomial]:
        sums = poly.derivatives(value)
        for number in sorted(self.atoms, reverse=True):
            clock.check()
            adjoint = sums.pop(number, None)
            atom = self.atoms[number]
            if not adjoint or not atom.slope:
                continue
            weight = self.times(adjoint, atom.slope)
            for variable, part in poly.derivatives(atom.argument).items():
                poly.add(sums.setdefault(variable, {}), self.times(weight, part))
        return self._normal([sums.get(i, {}) for i in range(self.dimension)])

    def _normal(self, gradient: list[Polynomial]) -> list[Polynomial]:
        for number in sorted(self.atoms, reverse=True):
            atom = self.atoms[number]
            if atom.kind == "inverse":
                gradient = self._clear(gradient, number, atom.argument)
            elif atom.kind == "root":
                gradient = [self._reduce(p, number, atom) for p in gradient]
        return gradient

    def _clear(self, gradient: list[Polynomial], number: int, q: Polynomial) -> list[Polynomial]:
        """Multiply all by q**d so that 1/q is gone."""
        split = [poly.by_power(p, number) for p in gradient]
        degree = max((k for parts in split for k in parts), default=0)
        if degree == 0:
            return gradient
        powers = [poly.constant(1)]
        for _ in range(degree):
            powers.append(self.times(powers[-1], q))
        out = []
        for parts in split:
            total: Polynomial = {}
            for k, part in parts.items():
                poly.add(total, self.times(part, powers[degree - k]))
            out.append(total)
        return out

    def _reduce(self, p: Polynomial, number: int, atom: Atom) -> Polynomial:
        """Replace t**m by q."""
        total: Polynomial = {}
        for k, part in poly.by_power(p, number).items():
            part = self.times(part, self._power(atom.argument, k // atom.order))
            poly.add(total, self.times(part, {(number,) * (k % atom.order): 1}))
        return total
