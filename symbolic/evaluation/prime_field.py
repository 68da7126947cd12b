"""Numbers mod a prime with nilpotent parts: F_p[e_1, ..., e_k]/(e_i^2), the arithmetic in which nested derivatives are
exact.

A jet is an int64 array (2^k, n): entry S holds the coefficient of prod_{i in S} e_i at each of n points. Any tape of +
* / and the functions below runs on them. exp, tanh, log, sin ... have no values mod p: they get pseudo-random ones that
obey f' and the parity of f, which is right where their arguments are independent (Ax's theorem; `independence` decides
it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any
from zlib import crc32

import numpy as np
import sympy as sp

from symbolic.functions.registry import Elementary

Array = np.ndarray
PRIME = (1 << 31) - 1
"""The first prime tried."""


def primes(start: int = PRIME) -> Iterator[int]:
    """Primes p = 3 mod 4, where a square's root is a power of it, from `start` downwards."""
    from flint import fmpz

    p = start - (start + 1) % 4
    while p > 1 << 30:
        if fmpz(p).is_prime():
            yield p
        p -= 4


@dataclass(frozen=True)
class Modulus:
    """A prime p = 3 mod 4 below 2^31, with the residues of the irrational constants in use; `key` tells them apart."""

    prime: int = PRIME
    known: Mapping[sp.Expr, int] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> tuple[Any, ...]:
        """What its constants are."""
        return self.prime, *self.known.items()


def modular(c: Any, prime: int = PRIME) -> int:
    """An integer or fraction in F_p."""
    return int(c.numerator) * pow(int(c.denominator), -1, prime) % prime


def power(x: Array, n: int, prime: int = PRIME) -> Array:
    """x**n for entries of F_p, n >= 0."""
    out, base = np.ones_like(x), x
    while n:
        if n & 1:
            out = out * base % prime
        base, n = base * base % prime, n >> 1
    return out


def inverse(x: Array, prime: int = PRIME) -> Array:
    """1/x in F_p, 0 for 0."""
    return power(x, prime - 2, prime)


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

    __slots__ = ("data", "prime")

    __array_ufunc__ = None

    def __init__(self, data: Array, prime: int = PRIME) -> None:
        self.data, self.prime = data, prime

    @property
    def order(self) -> int:
        """k, the number of nilpotent elements."""
        return len(self.data).bit_length() - 1

    def _constant(self, c: Any) -> int:
        return int(c) % self.prime if isinstance(c, (int, np.integer)) else modular(c, self.prime)

    def __add__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            return Jet((self.data + other.data) % self.prime, self.prime)
        data = self.data.copy()
        data[0] = (data[0] + self._constant(other)) % self.prime
        return Jet(data, self.prime)

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return Jet(-self.data % self.prime, self.prime)

    def __sub__(self, other: Any) -> Jet:
        return self + -other

    def __rsub__(self, other: Any) -> Jet:
        return -self + other

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.data * self._constant(other) % self.prime, self.prime)
        k = self.order
        if k == 0:
            return Jet(self.data * other.data % self.prime, self.prime)
        left, right, starts = _pairs(k)
        products = self.data[left] * other.data[right] % self.prime
        return Jet(np.add.reduceat(products, starts, axis=0) % self.prime, self.prime)

    __rmul__ = __mul__

    def __rtruediv__(self, other: Any) -> Jet:
        return self.inverse() * other

    def __truediv__(self, other: Any) -> Jet:
        return self * (other.inverse() if isinstance(other, Jet) else pow(self._constant(other), -1, self.prime))

    def __pow__(self, n: int) -> Jet:
        if n < 0:
            return self.inverse() ** -n
        out, base = None, self
        while n:
            if n & 1:
                out = base if out is None else out * base
            n >>= 1
            base = base * base if n else base
        return Jet(np.zeros_like(self.data), self.prime) + 1 if out is None else out

    def inverse(self) -> Jet:
        """1/x, by Newton steps from the value's own inverse."""
        value = np.zeros_like(self.data)
        value[0] = inverse(self.data[0], self.prime)
        out, precision = Jet(value, self.prime), 1
        while precision <= self.order:
            out, precision = out * (2 - self * out), 2 * precision
        return out

    def lift(self, value: Array, slope: Callable[[Jet, Jet], Jet]) -> Jet:
        """f(x) from f at the values and its slope as a map of (x, f(x)): built part by part, f(a + e b) = f(a) + e
        f'(a) b."""
        if self.order == 0:
            return Jet(value[None, :], self.prime)
        half = len(self.data) // 2
        low = Jet(self.data[:half], self.prime)
        below = low.lift(value, slope)
        return Jet(np.concatenate([below.data, (slope(low, below) * Jet(self.data[half:])).data]), self.prime)


def _canonical(q: Array, prime: int) -> tuple[Array, Array]:
    """(the smaller of q and -q, whether it was -q)."""
    flip = q > prime // 2
    return np.where(flip, prime - q, q), flip


def _mixed(x: Array, salt: int, prime: int) -> Array:
    """A pseudo-random non-zero element of F_p per entry of x (a 64-bit mixing function)."""
    h = x.astype(np.uint64) + np.uint64((salt * 0x9E3779B97F4A7C15) & (2**64 - 1))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor)
    h ^= h >> np.uint64(31)
    return (h % np.uint64(prime - 1)).astype(np.int64) + 1


class Unsupported(ValueError):
    """A function without a faithful value mod p."""


class JetArithmetic:
    """The functions of a tape on jets.

    arguments: what transcendental functions were taken of, as values (n,) mod p, by family (functions of one family may
    depend on each other) and then by function; squares: what roots were taken of; absent: where these do not exist.
    bad: points where a root or an inverse does not exist mod p. logs: what logarithms were taken of. salt seeds the
    kinks, salt_log the made-up values of log. gates (calls, n): the sides of the kinks in the order in which a tape
    asks for them, None for random ones.
    """

    digits = None

    def __init__(
        self,
        points: int = 0,
        salt: int = 0,
        salt_log: int = 5,
        modulus: Modulus | None = None,
        gates: Array | None = None,
    ) -> None:
        self.salt, self.salt_log, self.modulus = salt, salt_log, modulus or Modulus()
        self.prime, self.gates, self.asked = self.modulus.prime, gates, 0
        self.bad = np.zeros(points, dtype=bool)
        self.arguments: dict[str, dict[str, list[Array]]] = {}
        self.squares: list[Array] = []
        self.absent: list[Array] = []
        self.logs: list[Array] = []

    @property
    def key(self) -> tuple[Any, ...]:
        """What its numbers are."""
        return self.modulus.key

    def plain(self) -> JetArithmetic:
        """Such arithmetic at no point, for a formula's constants."""
        return JetArithmetic(modulus=self.modulus)

    def at(self, points: Array) -> None:
        """Keep what was noted at these points alone."""
        for members in self.arguments.values():
            for name, rows in members.items():
                members[name] = [row[points] for row in rows]
        self.squares, self.logs, self.absent = (
            [row[points] for row in rows] for rows in (self.squares, self.logs, self.absent)
        )

    def call(self, row: Elementary, x: Jet) -> Jet:
        """A function of one argument. Raises Unsupported for one without a faithful value mod p."""
        if row.gates is not None:
            return row.gates(self.positive, x)
        if row.modular is None:
            raise Unsupported(f"modular: no value mod p for the function {row.name}.")
        return row.modular(self, x)

    def number(self, e: Any) -> int:
        """A constant: algebraic ones exactly, others (pi, e, ...) as fixed pseudo-random squares."""
        if e in self.modulus.known:
            return self.modulus.known[e]
        if e.is_Rational:
            return modular(e, self.prime)
        if e.is_Float:
            return modular(sp.Rational(str(e)), self.prime)
        if e.is_Add:
            return sum(map(self.number, e.args)) % self.prime
        if e.is_Mul:
            return int(prod(map(self.number, e.args))) % self.prime
        if e.is_Pow and e.exp.is_Integer:
            return pow(self.number(e.base), int(e.exp), self.prime)
        if e.is_Pow and e.exp.is_Rational and e.exp.q == 2:
            return pow(_root(self.number(e.base), self.prime), int(e.exp.p), self.prime)
        if e.is_algebraic:
            raise Unsupported(f"modular: no value mod p for the number {e}.")
        return int(_mixed(np.array([crc32(str(e).encode())]), 77, self.prime)[0]) ** 2 % self.prime

    def positive(self, x: Jet) -> Jet:
        """The side of the kink at x = 0 that is given, else a pseudo-random one, the other for -x."""
        data = np.zeros_like(x.data)
        if self.gates is not None:
            data[0] = np.where(x.data[0] == 0, 0, self.gates[self.asked])
            self.asked += 1
        else:
            q, flip = _canonical(x.data[0], self.prime)
            data[0] = np.where(q == 0, 0, (_mixed(q, 101 + self.salt, self.prime) & 1) ^ flip)
        return Jet(data, self.prime)

    def ahead(self, x: Jet) -> Jet:
        """`positive`: at random points, nothing ties."""
        return self.positive(x)

    def _record(self, family: str, of: str, x: Jet, factor: int = 1) -> tuple[Array, Array]:
        q = x.data[0] * factor % self.prime
        self.arguments.setdefault(family, {}).setdefault(of, []).append(q)
        return _canonical(q, self.prime)

    def exp(self, x: Jet, factor: int = 1, of: str = "exp") -> Jet:
        """exp(factor x), with exp(-q) exp(q) = 1; `of` says which function needs it."""
        q, flip = self._record("exp", of, x, factor)
        value = np.where(q == 0, 1, _mixed(q, 3, self.prime))
        value = np.where(flip, inverse(value, self.prime), value)
        return (x * factor).lift(value, lambda x, y: y)

    def circle(self, x: Jet) -> tuple[Jet, Jet]:
        """(sin x, cos x), a rational point of the circle."""
        q, flip = self._record("trig", "trig", x)
        t = np.where(q == 0, 0, _mixed(q, 9, self.prime))
        scale = inverse((1 + t * t) % self.prime, self.prime)
        s, c = 2 * t % self.prime * scale % self.prime, (1 - t * t) % self.prime * scale % self.prime
        return _rotate(x, np.where(flip, -s % self.prime, s), c)

    def log(self, x: Jet) -> Jet:
        """log x, its value made up."""
        self.logs.append(x.data[0])
        self.bad |= x.data[0] == 0
        value = np.where(x.data[0] == 1, 0, _mixed(x.data[0], self.salt_log, self.prime))
        return x.lift(value, lambda x, y: x.inverse())

    def sqrt(self, x: Any) -> Any:
        """A square root where there is one mod p."""
        if not isinstance(x, Jet):
            return _root(x % self.prime, self.prime)
        self.squares.append(x.data[0])
        root = power(x.data[0], (self.prime + 1) // 4, self.prime)
        self.absent.append((root * root % self.prime != x.data[0]) | (x.data[0] == 0))
        self.bad |= self.absent[-1]
        return x.lift(root, lambda x, y: (y * 2).inverse())

    def erf(self, x: Jet) -> Jet:
        """erf x, its value made up, its slope 2/sqrt(pi) exp(-x^2)."""
        q, flip = self._record("erf", "erf", x)
        value = np.where(q == 0, 0, _mixed(q, 13, self.prime))
        scale = self.number(2 / sp.sqrt(sp.pi))
        return x.lift(np.where(flip, -value % self.prime, value), lambda x, y: self.exp(-(x * x), of="gauss") * scale)


def _root(x: int, prime: int) -> int:
    """A square root of a constant. Raises Unsupported where there is none mod p."""
    root = pow(x, (prime + 1) // 4, prime)
    if root * root % prime != x:
        raise Unsupported("modular: a constant under a root is no square mod p.")
    return root


def _rotate(x: Jet, s: Array, c: Array) -> tuple[Jet, Jet]:
    """(sin x, cos x) from the values at the points."""
    if x.order == 0:
        return Jet(s[None, :], x.prime), Jet(c[None, :], x.prime)
    half = len(x.data) // 2
    low_s, low_c = _rotate(Jet(x.data[:half], x.prime), s, c)
    top = Jet(x.data[half:], x.prime)
    return (
        Jet(np.concatenate([low_s.data, (low_c * top).data]), x.prime),
        Jet(np.concatenate([low_c.data, (-(low_s * top)).data]), x.prime),
    )
