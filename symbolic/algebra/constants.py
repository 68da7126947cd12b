"""The irrational constants that expressions name, as numbers of one field: sqrt(2), cos(2 pi/7), the golden ratio, and
pi, e, log(2) as independent symbols (docs/theory.md section 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cached_property, lru_cache
from math import lcm, prod
from typing import Any

import sympy as sp

from symbolic.algebra.number_field import Irrational, Number, NumberField, quotient, tidy

LARGEST = 24
"""Degree of a field beyond which constants stay opaque."""
X = sp.Dummy("x")


class Constants:
    """values: {leaf: number}; a leaf is a maximal constant that is no sum, product or whole power of others. opaque:
    leaves that are in no field here. independent: whether all constants are known to be what they are taken for: with
    two transcendental ones or more, or one not known to be, that is an open question."""

    def __init__(self, leaves: Iterable[sp.Expr]) -> None:
        self.opaque: set[sp.Expr] = set()
        roots: dict[sp.Expr, dict[sp.Expr, Fraction]] = {}
        powers: dict[sp.Expr, dict[sp.Expr, Fraction]] = {}
        for leaf in sorted(leaves, key=sp.default_sort_key):
            if leaf.is_real is not True or _nested(leaf):
                self.opaque.add(leaf)
            else:
                key, power = _as_power(leaf)
                (roots if leaf.is_algebraic else powers).setdefault(key, {})[leaf] = power
        algebraic, of = _simplest(roots)
        root, minimal, parts = _primitive(algebraic)
        if minimal is None:
            self.opaque.update(of)
            root, minimal, parts, of = sp.S.Zero, [Fraction(0)], [], {}
        taus, exponents = _simplest(powers)
        self.independent = not self.opaque and len(powers) <= 1 and all(key.is_algebraic is False for key in powers)
        self.field = NumberField(root, minimal, taus)
        self.values: dict[sp.Expr, Number] = {
            leaf: self.field.algebraic(parts[k]) ** power for leaf, (k, power) in of.items()
        } | {leaf: self.field.tau(k) ** power for leaf, (k, power) in exponents.items()}

    @cached_property
    def name(self) -> str:
        """The field in words: "Q", "Q(sqrt(2))", "Q(sqrt(2), pi)"."""
        named = [str(e) for e in (*self._generators, *self.field.taus)]
        return f"Q({', '.join(named)})" if named else "Q"

    @property
    def _generators(self) -> list[sp.Expr]:
        if self.field.degree == 1:
            return []
        return sorted(
            (e for e, v in self.values.items() if not isinstance(v, (int, Fraction)) and e.is_algebraic), key=str
        )

    def read(self, e: sp.Expr) -> Number | None:
        """A constant made of these; None for any other."""
        if e in self.values:
            return self.values[e]
        if e.is_Rational:
            return tidy(Fraction(int(e.p), int(e.q)))  # type: ignore[attr-defined]
        if isinstance(e, sp.Pow) and not isinstance(e, sp.exp) and e.exp.is_Integer:
            base = self.read(e.base)
            return None if base is None else base ** int(e.exp) if int(e.exp) > 0 else quotient(1, base ** -int(e.exp))
        if not isinstance(e, (sp.Add, sp.Mul)):
            return None
        parts = [self.read(a) for a in e.args]
        total: Number = int(isinstance(e, sp.Mul))
        for part in parts:
            if part is None:
                return None
            total = total * part if isinstance(e, sp.Mul) else total + part
        return tidy(total)

    def residues(self, prime: int, seed: int = 0) -> dict[sp.Expr, int] | None:
        """{leaf: its value mod p}, transcendental ones pseudo-random; None where a constant does not exist mod p."""
        place = self.place(prime, seed)
        return None if place is None else {leaf: place(v) for leaf, v in self.values.items()}

    def place(self, prime: int, seed: int = 0) -> Any:
        """The map of the field's numbers to F_p, for taus at random; None where alpha does not exist mod p."""
        return place(self.field, prime, seed)


def place(field: NumberField, prime: int, seed: int = 0) -> Any:
    """The map of a field's numbers to F_p, for taus at random; None where alpha does not exist mod p."""
    root = _root_of(field.minimal, prime)
    if root is None:
        return None
    taus = [pow(0x9E3779B97F4A7C15 * (k + 3 + 7919 * seed), 5, prime) for k in range(len(field.taus))]

    def residue(value: Number) -> int:
        if isinstance(value, Irrational):
            return field.residue(value.coefficients, prime, root, taus)
        return value.numerator * pow(value.denominator, -1, prime) % prime

    return residue


def _nested(leaf: sp.Expr) -> bool:
    """Whether it is a root of a sum or product with transcendental parts, as sqrt(1 + pi): no number of the field."""
    base, exponent = leaf.as_base_exp()
    return exponent.is_Rational is True and bool(base.is_Add or base.is_Mul) and not leaf.is_algebraic


def _as_power(leaf: sp.Expr) -> tuple[sp.Expr, Fraction]:
    """(tau, n) with leaf = tau**n and one tau for all powers of a constant: exp(sqrt(2)) for exp(2*sqrt(2))."""
    base, exponent = leaf.as_base_exp()
    if not base.is_positive or exponent == 1:
        return leaf, Fraction(1)
    whole, n = sp.perfect_power(base) or (base, 1) if base.is_Integer else (base, 1)
    content, rest = (n * exponent).as_content_primitive()
    if rest.could_extract_minus_sign():
        content, rest = -content, -rest
    return sp.sympify(whole, strict=True) ** rest, Fraction(int(content.p), int(content.q))


def _simplest(
    found: Mapping[sp.Expr, Mapping[sp.Expr, Fraction]],
) -> tuple[list[sp.Expr], dict[sp.Expr, tuple[int, int]]]:
    """The roots of the keys of which all leaves are whole powers, and {leaf: (which root, power)}."""
    steps = [lcm(*(power.denominator for power in leaves.values())) for leaves in found.values()]
    simplest = [key ** sp.Rational(1, step) for key, step in zip(found, steps, strict=True)]
    return simplest, {
        leaf: (k, int(power * steps[k])) for k, leaves in enumerate(found.values()) for leaf, power in leaves.items()
    }


def _root_of(minimal: tuple[Fraction, ...], prime: int) -> int | None:
    """The smallest root mod p of a monic polynomial, lowest coefficients given."""
    from flint import nmod_poly

    poly = nmod_poly([c.numerator * pow(c.denominator, -1, prime) % prime for c in minimal] + [1], prime)
    roots = sorted(-int(f[0]) * pow(int(f[1]), -1, prime) % prime for f, _ in poly.factor()[1] if f.degree() == 1)
    return roots[0] if roots else None


def _primitive(leaves: list[sp.Expr]) -> tuple[sp.Expr, list[Fraction] | None, list[list[Fraction]]]:
    """(alpha, its minimal polynomial below the leading term, each leaf in powers of alpha, lowest first); None for the
    polynomial of a field that is too large."""
    if not leaves:
        return sp.S.Zero, [Fraction(0)], []
    try:
        if prod(sp.degree(sp.minimal_polynomial(e, X), X) for e in leaves[:6]) > 4 * LARGEST or len(leaves) > 6:
            return sp.S.Zero, None, []
        minimal, mix, parts = sp.primitive_element(leaves, X, ex=True)
    except (NotImplementedError, ValueError):
        return sp.S.Zero, None, []
    coefficients = [Fraction(int(c.p), int(c.q)) for c in reversed(sp.Poly(minimal, X).monic().all_coeffs())]
    if len(coefficients) > LARGEST + 1:
        return sp.S.Zero, None, []
    root = sp.Add(*(c * e for c, e in zip(mix, leaves, strict=True)))
    written = [[Fraction(int(c.numerator), int(c.denominator)) for c in reversed(p)] for p in parts]
    return root, coefficients[:-1], written


def leaves_of(expressions: Iterable[sp.Expr]) -> set[sp.Expr]:
    """The irrational constants in expressions."""
    found: set[sp.Expr] = set()
    seen: set[Any] = set()
    waiting: list[Any] = list(expressions)
    while waiting:
        e = waiting.pop()
        if e in seen or e.is_Symbol or e.is_Rational or e.is_Float:
            continue
        seen.add(e)
        whole = isinstance(e, sp.Pow) and not isinstance(e, sp.exp) and e.exp.is_Integer
        if isinstance(e, (sp.Add, sp.Mul)) or whole or not getattr(e, "is_number", False):
            if (
                isinstance(e, sp.Pow)
                and not whole
                and not isinstance(e, sp.exp)
                and not e.exp.is_number
                and e.base.is_number
            ):
                waiting.append(sp.log(e.base))
            waiting += [e.base] if whole else e.args
        else:
            found.add(e)
    return found


@lru_cache(maxsize=64)
def constants_of(*expressions: sp.Expr) -> Constants:
    """The constants of expressions, in one field."""
    return Constants(leaves_of(expressions))
