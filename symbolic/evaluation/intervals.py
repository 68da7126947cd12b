"""Intervals in which an expression's values lie, and which signs it cannot have."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isnan
from typing import Any

import sympy as sp

from symbolic.functions.activations import relu, step

Interval = tuple[float, float]
EVERYWHERE: Interval = (-inf, inf)
RANGES: dict[type, Interval] = {
    sp.tanh: (-1, 1),
    sp.erf: (-1, 1),
    sp.erfc: (0, 2),
    sp.sin: (-1, 1),
    sp.cos: (-1, 1),
    sp.atan: (-1.5707963267948968, 1.5707963267948968),
    sp.cosh: (1, inf),
    sp.exp: (0, inf),
    sp.sign: (-1, 1),
    step: (0, 1),
    sp.Heaviside: (0, 1),
}
"""Values that a function can have at all."""


class Intervals:
    """Intervals of expressions, from those of their symbols; bounds are open or closed alike, since a kink is met on no
    set of points that counts."""

    def __init__(self, symbols: Mapping[sp.Symbol, Interval]) -> None:
        self.known: dict[sp.Basic, Interval] = dict(symbols)

    def excludes(self, e: sp.Expr, side: int) -> bool:
        """Whether e is never positive (side 1) or never negative (side 0)."""
        low, high = self.of(e)
        if (high <= 0) if side else (low >= 0):
            return True
        plain = sp.expand(e) if e.count_ops() < 200 else e
        return bool(plain.is_nonpositive if side else plain.is_nonnegative)

    def of(self, e: sp.Basic) -> Interval:
        """Where the values of e lie."""
        if e not in self.known:
            low, high = self._make(e)
            self.known[e] = (-inf if isnan(low) else low, inf if isnan(high) else high)
        return self.known[e]

    def _make(self, e: Any) -> Interval:
        if e.is_number:
            value = float(e) if e.is_real else 0.0
            return (value, value) if e.is_real else EVERYWHERE
        if isinstance(e, sp.Piecewise):
            parts = [self.of(v) for v, _ in e.args]
            return min(p[0] for p in parts), max(p[1] for p in parts)
        parts = [self.of(a) for a in e.args]
        match e:
            case sp.Add():
                return sum(p[0] for p in parts), sum(p[1] for p in parts)
            case sp.Mul():
                return self._product(parts)
            case sp.Pow():
                return _power(parts[0], e.exp)
            case sp.Max():
                return max(p[0] for p in parts), max(p[1] for p in parts)
            case sp.Min():
                return min(p[0] for p in parts), min(p[1] for p in parts)
            case relu():
                return max(parts[0][0], 0.0), max(parts[0][1], 0.0)
            case sp.Abs():
                low, high = parts[0]
                return max(low, -high, 0.0), max(abs(low), abs(high))
        return RANGES.get(type(e), EVERYWHERE)

    def _product(self, parts: list[Interval]) -> Interval:
        low, high = 1.0, 1.0
        for a, b in parts:
            ends = [0.0 if 0 in (x, y) else x * y for x in (low, high) for y in (a, b)]
            low, high = min(ends), max(ends)
        return low, high


def _power(base: Interval, exponent: Any) -> Interval:
    """Of base**exponent, for numbers as exponents; a pole counts as everywhere."""
    low, high = base
    if not exponent.is_Rational:
        return (0.0, inf) if low >= 0 else EVERYWHERE
    n = float(exponent)
    if n < 0:
        down, up = _power(base, -exponent)
        return (1 / up if up else inf, 1 / down if down > 0 else inf) if down >= 0 else EVERYWHERE
    if not exponent.is_Integer:
        low, high = max(low, 0.0), max(high, 0.0)
    elif exponent.is_even:
        low, high = max(low, -high, 0.0), max(abs(low), abs(high))
    try:
        return low**n, high**n
    except OverflowError:
        return (0.0, inf) if low >= 0 else EVERYWHERE
