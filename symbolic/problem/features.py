"""Losses polynomial in the data, written as l(theta, z) = c_0(theta) + sum_k c_k(theta) m_k(z) without expanding theta
(docs/theory.md eq. (6.1)).

The m_k are the distinct data monomials ("features"): the gradient is linear in them, so Sigma = H Cov(m) H^T with H the
Jacobian of (c_1, ..., c_K).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import sympy as sp

from symbolic import clock
from symbolic.errors import InputError
from symbolic.problem.base_distribution import Distribution
from symbolic.problem.loss import Loss

Exponents = tuple[int, ...]
Polynomial = dict[Exponents, sp.Expr]


@dataclass(frozen=True)
class Features:
    """A loss as a polynomial in its data.

    exponents: K x len(z) powers of the data entries. definitions: named sub-expressions of theta, each in terms of
    theta and the earlier names. reduced: the K coefficients in terms of theta and those names; offset: c_0 likewise.
    apart: the terms in data alone, which have no gradient.
    """

    z: tuple[sp.Symbol, ...]
    blocks: tuple[Distribution, ...]
    exponents: tuple[Exponents, ...]
    definitions: tuple[tuple[sp.Symbol, sp.Expr], ...]
    reduced: tuple[sp.Expr, ...]
    offset: sp.Expr
    apart: tuple[tuple[Exponents, sp.Expr], ...] = field(default=(), kw_only=True)

    @property
    def monomials(self) -> tuple[sp.Expr, ...]:
        """The K data monomials m_k."""
        return tuple(sp.Mul(*(s**p for s, p in zip(self.z, powers, strict=True))) for powers in self.exponents)

    def inline(self, expression: sp.Expr) -> sp.Expr:
        """The expression with every named part written out in theta (not expanded)."""
        for name, value in reversed(self.definitions):
            expression = expression.xreplace({name: value})
        return expression

    @cached_property
    def coefficients(self) -> tuple[sp.Expr, ...]:
        """The K coefficients c_k(theta), factored as the loss was written."""
        return tuple(self.inline(c) for c in self.reduced)

    @cached_property
    def constant(self) -> sp.Expr:
        """c_0(theta), the part of the loss that no data enters."""
        return self.inline(self.offset)

    def moment(self, powers: Exponents) -> sp.Expr:
        """E of the data monomial with these powers."""
        by_symbol: Mapping[sp.Symbol, int] = {s: p for s, p in zip(self.z, powers, strict=True) if p}
        return sp.Mul(
            *(block.moment({s: by_symbol[s] for s in block.symbols if s in by_symbol}) for block in self.blocks)
        )

    @cached_property
    def mean(self) -> list[sp.Expr]:
        """E m_k."""
        return [self.moment(powers) for powers in self.exponents]

    @cached_property
    def covariance(self) -> sp.Matrix:
        """M = Cov(m), K x K, for one sample."""
        n = len(self.exponents)
        out = sp.zeros(n, n)
        for i in range(n):
            for j in range(i, n):
                clock.check()
                both = tuple(a + b for a, b in zip(self.exponents[i], self.exponents[j], strict=True))
                out[i, j] = out[j, i] = sp.expand(self.moment(both) - self.mean[i] * self.mean[j])
        return out

    def numeric_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """(E m, Cov m) as floats: shapes (K,) and (K, K). Raises ValueError when a law has symbolic parameters."""
        if not self.exponents:
            return np.zeros(0), np.zeros((0, 0))
        table = self.blocks[0].table if len(self.blocks) == 1 else None
        if table is not None:
            columns = table[:, [self.blocks[0].symbols.index(s) for s in self.z]]
            values = np.column_stack([np.prod(columns ** np.array(e), axis=1) for e in self.exponents])
            return values.mean(axis=0), np.atleast_2d(np.cov(values.T, bias=True))
        mean, covariance = sp.Matrix(self.mean), self.covariance
        loose = mean.free_symbols | covariance.free_symbols
        if loose:
            raise InputError(
                f"data: numbers are needed to simulate; got laws with symbols {sorted(map(str, loose))}. Give the laws"
                " numbers."
            )
        return np.array(mean.tolist(), dtype=np.float64)[:, 0], np.array(covariance.tolist(), dtype=np.float64)


class _Collector:
    """Reads an expression bottom-up as a polynomial in the data, naming compound coefficients before they are
    multiplied."""

    def __init__(self, z: tuple[sp.Symbol, ...]) -> None:
        self.z, self.index = set(z), {s: i for i, s in enumerate(z)}
        self.one: Exponents = (0,) * len(z)
        self.names: dict[sp.Expr, sp.Symbol] = {}
        self.memo: dict[sp.Expr, Polynomial | None] = {}

    def read(self, node: sp.Expr) -> Polynomial | None:
        if node not in self.memo:
            clock.check()
            self.memo[node] = self._read(node)
        return self.memo[node]

    def _read(self, node: sp.Expr) -> Polynomial | None:
        if not node.free_symbols & self.z:
            return {self.one: node}
        if node in self.index:
            powers = list(self.one)
            powers[self.index[node]] = 1
            return {tuple(powers): sp.S.One}
        if isinstance(node, sp.Add):
            sums: dict[Exponents, list[sp.Expr]] = {}
            for arg in node.args:
                part = self.read(arg)
                if part is None:
                    return None
                for powers, c in part.items():
                    sums.setdefault(powers, []).append(c)
            return {powers: sp.Add(*cs) for powers, cs in sums.items()}
        if isinstance(node, sp.Mul):
            product: Polynomial = {self.one: sp.S.One}
            for arg in node.args:
                part = self.read(arg)
                if part is None:
                    return None
                product = self._times(product, part)
            return product
        if isinstance(node, sp.Pow) and node.exp.is_Integer and node.exp.is_positive:
            base = self.read(node.base)
            if base is None:
                return None
            power = base = {k: self._name(c) for k, c in base.items()}
            for _ in range(int(node.exp) - 1):
                power = self._times(power, base)
            return power
        return None

    def _name(self, coefficient: sp.Expr) -> sp.Expr:
        if coefficient.is_Atom or (
            coefficient.is_Mul and len(coefficient.args) == 2 and all(a.is_Atom for a in coefficient.args)
        ):
            return coefficient
        if coefficient not in self.names:
            self.names[coefficient] = sp.Symbol(f":phi_{len(self.names)}", real=True)
        return self.names[coefficient]

    def _times(self, a: Polynomial, b: Polynomial) -> Polynomial:
        if len(a) == 1 and next(iter(a.items())) == (self.one, sp.S.One):
            return b
        if len(a) > 1 and len(b) > 1:
            a, b = ({k: self._name(c) for k, c in p.items()} for p in (a, b))
        sums: dict[Exponents, list[sp.Expr]] = {}
        for ka, ca in a.items():
            clock.check()
            for kb, cb in b.items():
                sums.setdefault(tuple(i + j for i, j in zip(ka, kb, strict=True)), []).append(ca * cb)
        return {powers: sp.Add(*cs) for powers, cs in sums.items()}


def in_fractions(e: sp.Expr) -> sp.Expr:
    """An expression with fractions for its decimals, as symmetries are sought for it: 0.1 is 1/10."""
    return e.xreplace({f: sp.Rational(str(f)) for f in e.atoms(sp.Float)})


def features(loss: Loss, exact: bool = False) -> Features | None:
    """The loss as a polynomial in its data, or None when it is not one; exact: with fractions for its decimals."""
    expression = in_fractions(loss.expression) if exact else loss.expression
    free = expression.free_symbols
    used = tuple(s for s in loss.z if s in free)
    collector = _Collector(used)
    polynomial = collector.read(expression)
    if polynomial is None:
        return None
    definitions, theta = [], set(loss.theta)
    inline = {name: value for value, name in collector.names.items()}

    kept = {
        k: c
        for k, c in sorted(polynomial.items(), reverse=True)
        if k != collector.one and c != 0 and _depends(c, theta, inline)
    }
    needed: set[sp.Symbol] = set()

    def need(c: sp.Expr) -> None:
        for s in c.free_symbols & inline.keys() - needed:
            needed.add(s)
            need(inline[s])

    offset = polynomial.get(collector.one, sp.S.Zero)
    for c in [*kept.values(), offset]:
        need(c)
    definitions = [(name, value) for value, name in collector.names.items() if name in needed]
    present = [b for b in loss.blocks if set(b.symbols) & set(used)]
    out = Features(used, tuple(present), tuple(kept), tuple(definitions), tuple(kept.values()), offset)
    rest = {k: c for k, c in polynomial.items() if k != collector.one and c != 0 and k not in kept}
    named = replace(out, definitions=tuple(inline.items()))
    return replace(out, apart=tuple((k, named.inline(c)) for k, c in rest.items()))


def degrees(loss: Loss, entries: Sequence[sp.Symbol]) -> dict[sp.Symbol, int]:
    """Of the loss's gradient in each of some data entries, others held: those in which it is a polynomial."""
    found, theta = dict[sp.Symbol, int](), set(loss.theta)
    for s in entries:
        collector = _Collector((s,))
        polynomial = collector.read(loss.expression)
        if polynomial is not None:
            inline = {name: value for value, name in collector.names.items()}
            moving = [k for (k,), c in polynomial.items() if _depends(c, theta, inline)]
            found[s] = max(moving, default=0)
    return found


def expected(loss: Loss, entries: Sequence[sp.Symbol]) -> sp.Expr | None:
    """E of the loss over some data entries by their moments, others left as they stand; None where it is no polynomial
    in them. Raises InputError for a moment that a law does not have."""
    collector = _Collector(tuple(entries))
    polynomial = collector.read(loss.expression)
    if polynomial is None:
        return None
    present = tuple(b for b in loss.blocks if set(b.symbols) & set(entries))
    names = tuple((name, value) for value, name in collector.names.items())
    read = Features(tuple(entries), present, (), names, (), sp.S.Zero)
    return sp.Add(*(read.moment(k) * read.inline(c) for k, c in polynomial.items()))


def _depends(c: sp.Expr, theta: set[sp.Symbol], inline: Mapping[sp.Symbol, sp.Expr]) -> bool:
    return any(s in theta or (s in inline and _depends(inline[s], theta, inline)) for s in c.free_symbols)
