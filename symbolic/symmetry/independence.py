"""Whether the functions in a loss are independent of each other: what makes an identity in them, taken as free
variables, necessary.

exp, tanh, sin ... of arguments that are linearly independent over Q up to constants are algebraically independent (Ax
1971, the structure theorem of Risch and Rosenlicht for towers); square roots are when no product of their radicands is
a square (Kummer). Both are ranks of values at random points mod p.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import sympy as sp

from symbolic.evaluation.field_mixtures import Mixtures
from symbolic.evaluation.kink_sides import reached
from symbolic.evaluation.lie_brackets import Fields, rank
from symbolic.evaluation.prime_field import power
from symbolic.functions.registry import KINKED
from symbolic.problem.loss import Loss

Array = np.ndarray
POINTS = 40
PATTERNS, SEEN = 16, 600
"""Patterns of kinks inside functions that are looked at, and samples that show which there are."""


def free_functions(loss: Loss, apart: bool = False) -> bool:
    """Whether the exponential, trigonometric and algebraic functions in a loss are independent, also as functions of z
    at one theta.

    apart: whether functions of different names must be independent too, as exp(2q) and tanh(q) are not. Raises
    Unsupported for functions that have no value mod p.
    """
    fields = Fields(loss)
    if not any(op == "call" or (op == "power" and not extra.is_Integer) for op, _, _, extra in fields.tape.steps):
        return True
    if not fields.inside.kinks:
        return _apart(fields, apart) and _logs_do_not_matter(fields)
    patterns = _patterns(loss)
    if apart and len(patterns) > PATTERNS:
        return False
    return all(_apart(fields, apart, sides) and _logs_do_not_matter(fields, sides) for sides in patterns[:PATTERNS])


def _patterns(loss: Loss) -> list[Array]:
    """Sides of the kinks that occur together, where kinks stand inside functions: |q| and q depend on each other on
    each side."""
    mixtures = Mixtures(loss, beyond=reached(loss).points)
    sides = mixtures.draw(-(-SEEN // mixtures.width)).gates
    assert sides is not None
    return [*np.unique(sides, axis=1).T]


def _distinct(rows: Sequence[Array], p: int) -> list[int]:
    """Which arguments to keep: up to sign each once, no constants."""
    seen: dict[bytes, int] = {}
    for k, row in enumerate(rows):
        if (row != row[0]).any():
            seen.setdefault(min(row.tobytes(), (-row % p).tobytes()), k)
    return list(seen.values())


def _apart(fields: Fields, by_name: bool, sides: Array | None = None) -> bool:
    p = fields.prime
    at, beside = fields.arguments(POINTS, sides)
    most = sum(len(rows) for family in at.arguments.values() for rows in family.values())
    if most > POINTS // 2:
        at, beside = fields.arguments(2 * most, sides)
    for family, members in at.arguments.items():
        groups = [(rows, beside.arguments[family][of]) for of, rows in members.items()]
        if not by_name:
            groups = [([*chain(*(g[0] for g in groups))], [*chain(*(g[1] for g in groups))])]
        pairs = [(rows[k], others[k]) for rows, others in groups for k in _distinct(rows, p)]
        here = [row for row, _ in pairs]
        moved = [step for row, other in pairs if (step := (other - row) % p).any()]
        if not all(_independent(values, p) for values in (here, moved)):
            return False
    return _roots_apart(fields, at.squares, sides)


def _independent(values: Sequence[Array], p: int) -> bool:
    """Whether functions, by their values, are independent of each other and of constants."""
    return not values or rank(np.array([*values, np.ones_like(values[0])]), p) > len(values)


def _roots_apart(fields: Fields, squares: Sequence[Array], sides: Array | None) -> bool:
    """Whether no product of radicands is a square, times a constant: their quadratic characters at random points are
    independent over F_2 of each other and of constants. Radicands with roots inside, and those beside them, are looked
    at where these exist; with roots inside these in turn nothing is decided."""
    inside, p = fields.inside, fields.prime
    if inside.roots & inside.over:
        return False
    levels = [squares]
    if inside.roots:
        plain = fields.arguments(2 * POINTS, sides, anywhere=True)[0].squares
        levels = [
            [row for k, row in enumerate(plain) if k not in inside.over],
            [row for k, row in enumerate(squares) if k not in inside.roots],
        ]
    kept = [[rows[k] for k in _distinct(rows, p)] for rows in levels]
    return all(_apart_mod_squares(rows, p, constant=True) for rows in kept if rows)


def _apart_mod_squares(rows: Sequence[Array], p: int, constant: bool = False) -> bool:
    """Whether no product of functions, by their values, is a square; constant: nor a constant times a square."""
    characters = [power(row, (p - 1) // 2, p) != 1 for row in rows]
    left = [sum(int(c) << k for k, c in enumerate(row)) for row in characters]
    left += [(1 << len(rows[0])) - 1] if constant else []
    while left:
        pivot = left.pop()
        if not pivot:
            return False
        low = pivot & -pivot
        left = [row ^ pivot if row & low else row for row in left]
    return True


def _logs_do_not_matter(fields: Fields, sides: Array | None = None) -> bool:
    """Whether the gradient is free of the values of logarithms (only their slopes occur), or these are independent."""
    if not any(op == "call" and extra.function is sp.log for op, _, _, extra in fields.tape.steps):
        return True
    rest = fields.draw(3)
    theta, gradients = fields.start(rest.shape[1]), []
    for salt in (5, 6):
        fields.salt_log = salt
        gradients.append(np.array([g.data for g in fields.gradient(rest, theta)]))
    return bool((gradients[0] == gradients[1]).all()) or _logs_apart(fields, sides)


def _logs_apart(fields: Fields, sides: Array | None) -> bool:
    """Whether logarithms of algebraic functions are independent, also as functions of z at one theta: no product of
    powers of what they are taken of is constant (Ax). Enough for that: none of odd powers is a constant times a
    square."""
    for f in fields.loss.expression.atoms(sp.log):
        if any(not isinstance(g, KINKED) for g in f.args[0].atoms(sp.Function)):
            return False
    at, beside = fields.arguments(POINTS, sides)
    if 2 * len(at.logs) > POINTS:
        at, beside = fields.arguments(4 * len(at.logs), sides)
    p = fields.prime
    here = [at.logs[k] for k in _distinct(at.logs, p)]
    moved = [a * b % p for a, b in zip(at.logs, beside.logs, strict=True) if (a != b).any()]
    moved = [moved[k] for k in _distinct(moved, p)]
    return all(_apart_mod_squares(rows, p, constant=True) for rows in (here, moved) if rows)
