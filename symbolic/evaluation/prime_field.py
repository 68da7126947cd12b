"""Numbers mod a prime with nilpotent parts: F_p[e_1, ..., e_k]/(e_i^2), the arithmetic in which nested derivatives are
exact.

A jet is an int64 array (2^k, n): entry S holds the coefficient of prod_{i in S} e_i at each of n points. Any tape of +
* / and the functions below runs on them. exp, tanh, log, sin ... have no values mod p: they get pseudo-random ones that
obey f' and the parity of f, which is right where their arguments are independent (Ax's theorem; `independence` decides
it).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any
from zlib import crc32

import numpy as np
import sympy as sp

from symbolic.functions.registry import Elementary

Array = np.ndarray
PRIME = (1 << 31) - 1


def modular(c: Any) -> int:
    """An integer or fraction in F_p."""
    return int(c.numerator) * pow(int(c.denominator), -1, PRIME) % PRIME


def power(x: Array, n: int) -> Array:
    """x**n for entries of F_p, n >= 0."""
    out, base = np.ones_like(x), x
    while n:
        if n & 1:
            out = out * base % PRIME
        base, n = base * base % PRIME, n >> 1
    return out


def inverse(x: Array) -> Array:
    """1/x in F_p, 0 for 0."""
    return power(x, PRIME - 2)


@cache
def _pairs(k: int) -> tuple[Array, Array, Array]:
    """For every S the disjoint (T, S - T), ordered by S: both index arrays, and where each S starts."""
    left, right, starts = [], [], []
    for s in range(1 << k):
        starts.append(len(left))
        t = s
        while True:
            left.append(t)
            right.append(s - t)
            if not t:
                break
            t = (t - 1) & s
    return np.array(left), np.array(right), np.array(starts)


class Jet:
    """One value per point, with its nilpotent parts: data (2^k, n) in F_p."""

    __array_ufunc__ = None

    def __init__(self, data: Array) -> None:
        self.data = data

    @property
    def order(self) -> int:
        """k, the number of nilpotent elements."""
        return len(self.data).bit_length() - 1

    def _constant(self, c: Any) -> int:
        return int(c) % PRIME if isinstance(c, (int, np.integer)) else modular(c)

    def __add__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            return Jet((self.data + other.data) % PRIME)
        data = self.data.copy()
        data[0] = (data[0] + self._constant(other)) % PRIME
        return Jet(data)

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return Jet(-self.data % PRIME)

    def __sub__(self, other: Any) -> Jet:
        return self + -other

    def __rsub__(self, other: Any) -> Jet:
        return -self + other

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.data * self._constant(other) % PRIME)
        k = self.order
        if k == 0:
            return Jet(self.data * other.data % PRIME)
        left, right, starts = _pairs(k)
        products = self.data[left] * other.data[right] % PRIME
        return Jet(np.add.reduceat(products, starts, axis=0) % PRIME)

    __rmul__ = __mul__

    def __rtruediv__(self, other: Any) -> Jet:
        return self.inverse() * other

    def __truediv__(self, other: Any) -> Jet:
        return self * (other.inverse() if isinstance(other, Jet) else pow(self._constant(other), -1, PRIME))

    def __pow__(self, n: int) -> Jet:
        if n < 0:
            return self.inverse() ** -n
        out, base = None, self
        while n:
            if n & 1:
                out = base if out is None else out * base
            n >>= 1
            base = base * base if n else base
        return Jet(np.zeros_like(self.data)) + 1 if out is None else out

    def inverse(self) -> Jet:
        """1/x, by Newton steps from the value's own inverse."""
        value = np.zeros_like(self.data)
        value[0] = inverse(self.data[0])
        out, precision = Jet(value), 1
        while precision <= self.order:
            out, precision = out * (2 - self * out), 2 * precision
        return out

    def lift(self, value: Array, slope: Callable[[Jet, Jet], Jet]) -> Jet:
        """f(x) from f at the values and its slope as a map of (x, f(x)): built part by part, f(a + e b) = f(a) + e
        f'(a) b."""
        if self.order == 0:
            return Jet(value[None, :])
        half = len(self.data) // 2
        low = Jet(self.data[:half])
        below = low.lift(value, slope)
        return Jet(np.concatenate([below.data, (slope(low, below) * Jet(self.data[half:])).data]))


def _canonical(q: Array) -> tuple[Array, Array]:
    """(the smaller of q and -q, whether it was -q)."""
    flip = q > PRIME // 2
    return np.where(flip, PRIME - q, q), flip


def _mixed(x: Array, salt: int) -> Array:
    """A pseudo-random non-zero element of F_p per entry of x (a 64-bit mixing function)."""
    h = x.astype(np.uint64) + np.uint64((salt * 0x9E3779B97F4A7C15) & (2**64 - 1))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor)
    h ^= h >> np.uint64(31)
    return (h % np.uint64(PRIME - 1)).astype(np.int64) + 1


class Unsupported(ValueError):
    """A function without a faithful value mod p."""


class JetArithmetic:
    """The functions of a tape on jets.

    arguments: what transcendental functions were taken of, as values (n,) mod p, by family (functions of one family may
    depend on each other) and then by function; squares: what roots were taken of. bad: points where a root or an
    inverse does not exist mod p. salt seeds the kinks, salt_log the made-up values of log.
    """

    digits = None

    def __init__(self, points: int = 0, salt: int = 0, salt_log: int = 5) -> None:
        self.salt, self.salt_log = salt, salt_log
        self.bad = np.zeros(points, dtype=bool)
        self.arguments: dict[str, dict[str, list[Array]]] = {}
        self.squares: list[Array] = []

    def call(self, row: Elementary, x: Jet) -> Jet:
        """A function of one argument. Raises Unsupported for one without a faithful value mod p."""
        if row.gates is not None:
            return row.gates(self.positive, x)
        if row.modular is None:
            raise Unsupported(f"modular: no value mod p for the function {row.name}.")
        return row.modular(self, x)

    def number(self, e: Any) -> int:
        """A constant: algebraic ones exactly, others (pi, e, ...) as fixed pseudo-random squares."""
        if e.is_Rational:
            return modular(e)
        if e.is_Float:
            return modular(sp.Rational(str(e)))
        if e.is_Add:
            return sum(map(self.number, e.args)) % PRIME
        if e.is_Mul:
            return int(prod(map(self.number, e.args))) % PRIME
        if e.is_Pow and e.exp.is_Integer:
            return pow(self.number(e.base), int(e.exp), PRIME)
        if e.is_Pow and e.exp.is_Rational and e.exp.q == 2:
            return pow(_root(self.number(e.base)), int(e.exp.p), PRIME)
        if e.is_algebraic:
            raise Unsupported(f"modular: no value mod p for the number {e}.")
        return int(_mixed(np.array([crc32(str(e).encode())]), 77)[0]) ** 2 % PRIME

    def positive(self, x: Jet) -> Jet:
        """A pseudo-random side of the kink at x = 0, the other one for -x."""
        q, flip = _canonical(x.data[0])
        data = np.zeros_like(x.data)
        data[0] = np.where(q == 0, 0, (_mixed(q, 101 + self.salt) & 1) ^ flip)
        return Jet(data)

    def ahead(self, x: Jet) -> Jet:
        """`positive`: at random points, nothing ties."""
        return self.positive(x)

    def _record(self, family: str, of: str, x: Jet, factor: int = 1) -> tuple[Array, Array]:
        q = x.data[0] * factor % PRIME
        self.arguments.setdefault(family, {}).setdefault(of, []).append(q)
        return _canonical(q)

    def exp(self, x: Jet, factor: int = 1, of: str = "exp") -> Jet:
        """exp(factor x), with exp(-q) exp(q) = 1; `of` says which function needs it."""
        q, flip = self._record("exp", of, x, factor)
        value = np.where(q == 0, 1, _mixed(q, 3))
        value = np.where(flip, inverse(value), value)
        return (x * factor).lift(value, lambda x, y: y)

    def circle(self, x: Jet) -> tuple[Jet, Jet]:
        """(sin x, cos x), a rational point of the circle."""
        q, flip = self._record("trig", "trig", x)
        t = np.where(q == 0, 0, _mixed(q, 9))
        scale = inverse((1 + t * t) % PRIME)
        s, c = 2 * t % PRIME * scale % PRIME, (1 - t * t) % PRIME * scale % PRIME
        return _rotate(x, np.where(flip, -s % PRIME, s), c)

    def log(self, x: Jet) -> Jet:
        """log x, its value made up."""
        self.bad |= x.data[0] == 0
        value = np.where(x.data[0] == 1, 0, _mixed(x.data[0], self.salt_log))
        return x.lift(value, lambda x, y: x.inverse())

    def sqrt(self, x: Any) -> Any:
        """A square root where there is one mod p."""
        if not isinstance(x, Jet):
            return _root(x % PRIME)
        self.squares.append(x.data[0])
        root = power(x.data[0], (PRIME + 1) // 4)
        self.bad |= (root * root % PRIME != x.data[0]) | (x.data[0] == 0)
        return x.lift(root, lambda x, y: (y * 2).inverse())

    def erf(self, x: Jet) -> Jet:
        """erf x, its value made up, its slope 2/sqrt(pi) exp(-x^2)."""
        q, flip = self._record("erf", "erf", x)
        value = np.where(q == 0, 0, _mixed(q, 13))
        scale = self.number(2 / sp.sqrt(sp.pi))
        return x.lift(np.where(flip, -value % PRIME, value), lambda x, y: self.exp(-(x * x), of="gauss") * scale)


def _root(x: int) -> int:
    """A square root of a constant. Raises Unsupported where there is none mod p."""
    root = pow(x, (PRIME + 1) // 4, PRIME)
    if root * root % PRIME != x:
        raise Unsupported("modular: a constant under a root is no square mod p.")
    return root


def _rotate(x: Jet, s: Array, c: Array) -> tuple[Jet, Jet]:
    """(sin x, cos x) from the values at the points."""
    if x.order == 0:
        return Jet(s[None, :]), Jet(c[None, :])
    half = len(x.data) // 2
    low_s, low_c = _rotate(Jet(x.data[:half]), s, c)
    top = Jet(x.data[half:])
    return (
        Jet(np.concatenate([low_s.data, (low_c * top).data])),
        Jet(np.concatenate([low_c.data, (-(low_s * top)).data])),
    )
