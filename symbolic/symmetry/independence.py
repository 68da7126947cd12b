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

from symbolic.evaluation.lie_brackets import Fields, rank
from symbolic.evaluation.prime_field import PRIME, power
from symbolic.problem.loss import Loss

Array = np.ndarray
POINTS = 40


def free_functions(loss: Loss, apart: bool = False) -> bool:
    """Whether the exponential, trigonometric and algebraic functions in a loss are independent, also as functions of z
    at one theta.

    apart: whether functions of different names must be independent too, as exp(2q) and tanh(q) are not. Raises
    Unsupported for functions that have no value mod p.
    """
    fields = Fields(loss)
    if not any(op == "call" or (op == "power" and not extra.is_Integer) for op, _, _, extra in fields.tape.steps):
        return True
    return _apart(fields, apart) and _logs_do_not_matter(fields)


def _distinct(rows: Sequence[Array]) -> list[int]:
    """Which arguments to keep: up to sign each once, no constants."""
    seen: dict[bytes, int] = {}
    for k, row in enumerate(rows):
        if (row != row[0]).any():
            seen.setdefault(min(row.tobytes(), (-row % PRIME).tobytes()), k)
    return list(seen.values())


def _apart(fields: Fields, by_name: bool) -> bool:
    at, beside = fields.arguments(POINTS)
    most = sum(len(rows) for family in at.arguments.values() for rows in family.values())
    if most > POINTS // 2:
        at, beside = fields.arguments(2 * most)
    for family, members in at.arguments.items():
        groups = [(rows, beside.arguments[family][of]) for of, rows in members.items()]
        if not by_name:
            groups = [([*chain(*(g[0] for g in groups))], [*chain(*(g[1] for g in groups))])]
        pairs = [(rows[k], others[k]) for rows, others in groups for k in _distinct(rows)]
        here = [row for row, _ in pairs]
        moved = [step for row, other in pairs if (step := (other - row) % PRIME).any()]
        if not all(_independent(values) for values in (here, moved)):
            return False
    return _roots_apart(at.squares)


def _independent(values: Sequence[Array]) -> bool:
    """Whether functions, by their values, are independent of each other and of constants."""
    return not values or rank(np.array([*values, np.ones_like(values[0])])) > len(values)


def _roots_apart(squares: Sequence[Array]) -> bool:
    """Whether no product of radicands is a square: their quadratic characters at random points are independent over
    F_2."""
    rows = [squares[k] for k in _distinct(squares)]
    if not rows:
        return True
    characters = [power(row, (PRIME - 1) // 2) != 1 for row in rows]
    left = [sum(int(c) << k for k, c in enumerate(row)) for row in characters]
    count = 0
    while left:
        pivot = left.pop()
        if not pivot:
            return False
        low = pivot & -pivot
        left = [row ^ pivot if row & low else row for row in left]
        count += 1
    return count == len(rows)


def _logs_do_not_matter(fields: Fields) -> bool:
    """Whether the gradient is free of the values of logarithms (only their slopes occur)."""
    if not any(op == "call" and extra.function is sp.log for op, _, _, extra in fields.tape.steps):
        return True
    rest = fields.draw(3)
    theta, gradients = fields.start(rest.shape[1]), []
    for salt in (5, 6):
        fields.salt_log = salt
        gradients.append(np.array([g.data for g in fields.gradient(rest, theta)]))
    return bool((gradients[0] == gradients[1]).all())
