"""Affine vector fields A theta + b as dense rows of Fractions [A | b], by the definitions."""

from __future__ import annotations

from fractions import Fraction

Rows = list[list[Fraction]]


def apply(v: Rows, theta: list[Fraction]) -> list[Fraction]:
    """A theta + b."""
    return [sum((c * x for c, x in zip(row, [*theta, Fraction(1)], strict=True)), Fraction(0)) for row in v]


def derivative(v: Rows, w: Rows, theta: list[Fraction]) -> list[Fraction]:
    """(Dv) w at theta: v is affine, so a difference of step 1 is exact."""
    ahead = apply(v, [x + y for x, y in zip(theta, apply(w, theta), strict=True)])
    return [x - y for x, y in zip(ahead, apply(v, theta), strict=True)]


def bracket(v: Rows, w: Rows, theta: list[Fraction]) -> list[Fraction]:
    """[v, w] = (Dw) v - (Dv) w at theta."""
    return [x - y for x, y in zip(derivative(w, v, theta), derivative(v, w, theta), strict=True)]


def charge(v: Rows, theta: list[Fraction]) -> Fraction:
    """theta^T A theta + 2 b^T theta."""
    return sum((x * (y + row[-1]) for x, y, row in zip(theta, apply(v, theta), v, strict=True)), Fraction(0))


def has_zero(v: Rows) -> bool:
    """Whether A theta + b = 0 has a solution: elimination leaves no row (0 ... 0 | c)."""
    rows = [list(row) for row in v]
    for column in range(len(v)):
        pivot = next((row for row in rows if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows = [[c - row[column] / pivot[column] * p for c, p in zip(row, pivot, strict=True)] for row in rows]
    return not any(row[-1] for row in rows)
