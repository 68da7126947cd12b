"""Numbers beyond Q that a loss names: Q(alpha)(tau_1, ...), alpha algebraic and every tau a transcendental constant.

A number is a polynomial in alpha modulo its minimal polynomial, its coefficients fractions or rational functions of the
taus, which are taken as independent symbols. Rational results are plain ints and Fractions, so that fields over Q never
meet these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import mpmath
import sympy as sp

DIGITS = 60
"""Decimals in which signs and floats are read."""


class NumberField:
    """Q(alpha)(taus).

    root: alpha as a real expression; minimal: its monic minimal polynomial's coefficients below the leading one, lowest
    first; taus: the transcendental constants as real expressions.
    """

    def __init__(self, root: sp.Expr, minimal: Sequence[Fraction], taus: Sequence[sp.Expr]) -> None:
        self.root, self.minimal, self.taus = root, tuple(minimal), tuple(taus)
        self.symbols = tuple(sp.Dummy(f"tau{k}") for k in range(len(taus)))
        self.base = sp.QQ.frac_field(*self.symbols) if taus else None

    @property
    def degree(self) -> int:
        """Of alpha."""
        return len(self.minimal)

    def coefficient(self, value: int | Fraction) -> Any:
        """A rational number as a coefficient."""
        value = Fraction(value)
        return value if self.base is None else self.base(sp.QQ(value.numerator, value.denominator))

    def number(self, coefficients: Sequence[Any]) -> int | Fraction | Irrational:
        """sum_k coefficients_k alpha^k, a rational as such."""
        first = coefficients[0]
        if not any(coefficients[1:]):
            if self.base is None:
                return int(first) if first.denominator == 1 else first
            if first.numer.is_ground and first.denom.is_ground:
                value = sp.QQ.to_sympy(first.numer.LC / first.denom.LC if first else sp.QQ(0))
                return int(value) if value.is_Integer else Fraction(int(value.p), int(value.q))
        return Irrational(self, tuple(coefficients))

    def algebraic(self, coefficients: Sequence[Fraction]) -> int | Fraction | Irrational:
        """The number with rational coefficients in alpha."""
        padded = [*coefficients, *[Fraction(0)] * (self.degree - len(coefficients))]
        return self.number([self.coefficient(c) for c in padded])

    def tau(self, k: int) -> Irrational:
        """The k-th transcendental constant."""
        assert self.base is not None
        zero = [self.coefficient(0)] * (self.degree - 1)
        return Irrational(self, (self.base(self.symbols[k]), *zero))

    def lift(self, value: Any) -> tuple[Any, ...] | None:
        """The coefficients of a number; None for what is none of this field."""
        if isinstance(value, Irrational):
            return value.coefficients if value.field is self else None
        if isinstance(value, (int, Fraction)):
            return (self.coefficient(value), *[self.coefficient(0)] * (self.degree - 1))
        return None

    def reduced(self, long: list[Any]) -> list[Any]:
        """A polynomial in alpha, lowest coefficient first, modulo the minimal polynomial."""
        n = self.degree
        while len(long) > n:
            top = long.pop()
            if top:
                for k, c in enumerate(self.minimal):
                    if c:
                        at = len(long) - n + k
                        long[at] = long[at] - top * self.coefficient(c)
        return long

    def product(self, a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
        """Coefficients of a product."""
        long = [self.coefficient(0)] * (2 * self.degree - 1)
        for i, x in enumerate(a):
            if x:
                for j, y in enumerate(b):
                    if y:
                        long[i + j] = long[i + j] + x * y
        return self.reduced(long)

    def inverse(self, a: Sequence[Any]) -> list[Any]:
        """Coefficients of 1/a, by elimination on multiplication by a."""
        n = self.degree
        columns = [list(a)]
        for _ in range(n - 1):
            columns.append(self.reduced([self.coefficient(0), *columns[-1]]))
        rows = [[columns[j][i] for j in range(n)] + [self.coefficient(int(i == 0))] for i in range(n)]
        for k in range(n):
            pivot = next(r for r in range(k, n) if rows[r][k])
            rows[k], rows[pivot] = rows[pivot], rows[k]
            scale = rows[k][k]
            rows[k] = [x / scale for x in rows[k]]
            for r in range(n):
                if r != k and (factor := rows[r][k]):
                    rows[r] = [x - factor * y for x, y in zip(rows[r], rows[k], strict=True)]
        return [row[n] for row in rows]

    @cached_property
    def numeric(self) -> tuple[mpmath.mpf, list[mpmath.mpf]]:
        """alpha and the taus in many digits."""
        with mpmath.workdps(DIGITS):
            root, *taus = (mpmath.mpf(sp.N(e, DIGITS)) for e in (self.root, *self.taus))
        return root, taus

    def value(self, coefficients: Sequence[Any]) -> mpmath.mpf:
        """A number in many digits."""
        root, taus = self.numeric
        with mpmath.workdps(DIGITS):
            total = mpmath.mpf(0)
            for c in reversed(coefficients):
                total = total * root + self._real(c, taus)
        return total

    def _real(self, c: Any, taus: Sequence[Any]) -> Any:
        if self.base is None:
            return mpmath.mpf(c.numerator) / c.denominator
        parts = []
        for p in (c.numer, c.denom):
            terms = [
                mpmath.mpf(int(k.numerator))
                / int(k.denominator)
                * mpmath.fprod(t**e for t, e in zip(taus, powers, strict=True))
                for powers, k in p.terms()
            ]
            parts.append(mpmath.fsum(terms))
        return parts[0] / parts[1]

    def expression(self, coefficients: Sequence[Any]) -> sp.Expr:
        """A number as SymPy's."""
        if self.base is None:
            parts = [sp.Rational(c.numerator, c.denominator) for c in coefficients]
            return sp.expand(sp.Add(*(c * self.root**k for k, c in enumerate(parts))))
        named = dict(zip(self.symbols, self.taus, strict=True))
        parts = [self.base.to_sympy(c).xreplace(named) for c in coefficients]
        return sp.Add(*(sp.expand(c * self.root**k) for k, c in enumerate(parts)))

    def residue(self, coefficients: Sequence[Any], prime: int, root: int, taus: Sequence[int]) -> int:
        """A number mod p, for a root of the minimal polynomial mod p and values of the taus."""
        total = 0
        for c in reversed(coefficients):
            total = (total * root + self._residue(c, prime, taus)) % prime
        return total

    def _residue(self, c: Any, prime: int, taus: Sequence[int]) -> int:
        if self.base is None:
            return c.numerator * pow(c.denominator, -1, prime) % prime
        parts = []
        for p in (c.numer, c.denom):
            total = 0
            for powers, k in p.terms():
                term = int(k.numerator) * pow(int(k.denominator), -1, prime)
                for t, e in zip(taus, powers, strict=True):
                    term = term * pow(t, e, prime) % prime
                total += term
            parts.append(total % prime)
        return parts[0] * pow(parts[1], -1, prime) % prime


class Irrational:
    """A number of a field that is not rational; arithmetic with ints, Fractions and its own kind."""

    __slots__ = ("_value", "coefficients", "field")

    def __init__(self, field: NumberField, coefficients: tuple[Any, ...]) -> None:
        self.field, self.coefficients = field, coefficients
        self._value: mpmath.mpf | None = None

    def __add__(self, other: Any) -> Any:
        b = self.field.lift(other)
        if b is None:
            return NotImplemented
        return self.field.number([x + y for x, y in zip(self.coefficients, b, strict=True)])

    __radd__ = __add__

    def __neg__(self) -> Irrational:
        return Irrational(self.field, tuple(-x for x in self.coefficients))

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, (int, Fraction)):
            factor = self.field.coefficient(other)
            return self.field.number([x * factor for x in self.coefficients])
        b = self.field.lift(other)
        return NotImplemented if b is None else self.field.number(self.field.product(self.coefficients, b))

    __rmul__ = __mul__

    def __rtruediv__(self, other: Any) -> Any:
        return self.field.number(self.field.inverse(self.coefficients)) * other

    def __truediv__(self, other: Any) -> Any:
        return self * (1 / other if isinstance(other, Irrational) else Fraction(1) / other)

    def __pow__(self, n: int) -> Any:
        out: Any = 1
        for _ in range(abs(n)):
            out = out * self
        return out if n >= 0 else 1 / out

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Irrational) and self.field is other.field and self.coefficients == other.coefficients

    def __hash__(self) -> int:
        return hash(self.coefficients)

    @property
    def value(self) -> mpmath.mpf:
        """It in many digits."""
        if self._value is None:
            self._value = self.field.value(self.coefficients)
        return self._value

    def __float__(self) -> float:
        return float(self.value)

    def __lt__(self, other: Any) -> bool:
        return _positive(other - self)

    def __gt__(self, other: Any) -> bool:
        return _positive(self - other)

    def __abs__(self) -> Irrational:
        return self if self.value > 0 else -self

    @property
    def expression(self) -> sp.Expr:
        """It as SymPy's."""
        return self.field.expression(self.coefficients)

    def __str__(self) -> str:
        return str(self.expression)

    __repr__ = __str__


Number = int | Fraction | Irrational
"""An exact entry of a generator."""


def _positive(value: Number) -> bool:
    return bool((value.value if isinstance(value, Irrational) else value) > 0)


def quotient(a: Number, b: Number) -> Number:
    """a / b, whole where it is."""
    value: Any = a / b if isinstance(a, Irrational) or isinstance(b, Irrational) else Fraction(a) / b
    return tidy(value)


def tidy(value: Number) -> Number:
    """A whole Fraction as an int."""
    return int(value) if isinstance(value, Fraction) and value.denominator == 1 else value


def rational(value: Number) -> sp.Expr:
    """A number as SymPy's."""
    return value.expression if isinstance(value, Irrational) else sp.Rational(value.numerator, value.denominator)


def written(value: Number, latex: bool = False) -> str:
    """A number as a factor in a text, in brackets where it is a sum."""
    if not isinstance(value, Irrational):
        return str(value)
    e = value.expression
    text = sp.latex(e) if latex else str(e)
    return f"({text})" if e.is_Add else text


def real(value: Number) -> mpmath.mpf:
    """A number in many digits."""
    return value.value if isinstance(value, Irrational) else mpmath.mpf(value.numerator) / value.denominator


def has_irrational(values: Mapping[Any, Number]) -> bool:
    """Whether a sparse vector holds a number beyond Q."""
    return any(isinstance(c, Irrational) for c in values.values())


def denominators(value: Number) -> list[int]:
    """Those of a number's rational coefficients; 1 where it has transcendental parts."""
    if not isinstance(value, Irrational):
        return [value.denominator]
    return [c.denominator for c in value.coefficients] if value.field.base is None else [1]
