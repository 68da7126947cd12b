"""Sparse polynomials over Q with small, fast, exact arithmetic: {monomial: coefficient}.

A monomial is the sorted tuple of its variables' numbers, repeated by power: x0*x3**2 is (0, 3, 3). Coefficients are
int, Fraction or numbers of a field over Q.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from symbolic import clock
from symbolic.algebra.number_field import Number

Monomial = tuple[int, ...]
Coefficient = Number
Key = TypeVar("Key")
Polynomial = dict[Monomial, Coefficient]
Rule = Callable[[Monomial], Monomial | None]
"""Normal form of a monomial in a quotient ring; None for zero."""

ONE: Monomial = ()


class TooLarge(ArithmeticError):
    """An expansion would hold more terms than allowed."""


def constant(value: Coefficient) -> Polynomial:
    """The polynomial `value`."""
    return {ONE: value} if value else {}


def add(
    target: dict[Key, Coefficient], other: Mapping[Key, Coefficient], factor: Coefficient = 1
) -> dict[Key, Coefficient]:
    """target += factor * other, in place, for any sparse sum; zeros are dropped. Returns target."""
    for monomial, c in other.items():
        total = target.get(monomial, 0) + factor * c
        if total:
            target[monomial] = total
        else:
            target.pop(monomial, None)
    return target


def multiply(a: Polynomial, b: Polynomial, rule: Rule | None = None, limit: int | None = None) -> Polynomial:
    """a * b, monomials brought to normal form by `rule`. Raises TooLarge beyond `limit` products."""
    if limit is not None and len(a) * len(b) > limit:
        raise TooLarge(f"{len(a)} x {len(b)} terms")
    out: Polynomial = {}
    for ma, ca in a.items():
        clock.check()
        for mb, cb in b.items():
            monomial: Monomial | None = tuple(sorted(ma + mb)) if ma and mb else ma or mb
            if rule is not None:
                monomial = rule(monomial)
                if monomial is None:
                    continue
            total = out.get(monomial, 0) + ca * cb
            if total:
                out[monomial] = total
            else:
                out.pop(monomial, None)
    return out


def power(base: Polynomial, exponent: int, rule: Rule | None = None, limit: int | None = None) -> Polynomial:
    """base ** exponent for a whole exponent >= 0."""
    out = constant(1)
    for _ in range(exponent):
        out = multiply(out, base, rule, limit)
    return out


def derivatives(p: Polynomial) -> dict[int, Polynomial]:
    """{variable: dp/dvariable} for the variables in p."""
    out: dict[int, Polynomial] = {}
    for monomial, c in p.items():
        at = 0
        while at < len(monomial):
            variable, end = monomial[at], at + 1
            while end < len(monomial) and monomial[end] == variable:
                end += 1
            lower = monomial[:at] + monomial[at + 1 :]
            part = out.setdefault(variable, {})
            total = part.get(lower, 0) + c * (end - at)
            if total:
                part[lower] = total
            else:
                part.pop(lower, None)
            at = end
    return {variable: part for variable, part in out.items() if part}


def by_power(p: Polynomial, variable: int) -> dict[int, Polynomial]:
    """{k: coefficient of variable**k}."""
    out: dict[int, Polynomial] = {}
    for monomial, c in p.items():
        k = monomial.count(variable)
        rest = tuple(v for v in monomial if v != variable) if k else monomial
        out.setdefault(k, {})[rest] = c
    return out


def variables(polynomials: Iterable[Polynomial]) -> set[int]:
    """Every variable that occurs."""
    return {v for p in polynomials for monomial in p for v in monomial}


def freeze(p: Polynomial) -> frozenset[tuple[Monomial, Coefficient]]:
    """A hashable key for p."""
    return frozenset(p.items())
