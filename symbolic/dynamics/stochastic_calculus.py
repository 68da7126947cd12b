"""Stochastic calculus on formulas: Jacobians, the Ito-Stratonovich correction, and which noises commute."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import sympy as sp

from symbolic.functions.registry import derivatives

POINTS = 3
"""Random states at which a commutator must vanish before a proof is tried."""


def jacobian(vector: sp.Matrix, states: Sequence[sp.Symbol]) -> sp.ImmutableMatrix:
    """d vector / d states, (len(vector), len(states)), almost everywhere: a jump's own derivative counts as 0."""
    return sp.ImmutableMatrix([derivatives(e, states) for e in vector])


def correction(diffusion: sp.Matrix, states: Sequence[sp.Symbol]) -> sp.ImmutableMatrix:
    """(1/2) sum_j (grad b_j) b_j, (D, 1): the Ito drift minus the Stratonovich drift (Kloeden and Platen 1992, eq.
    4.9.11)."""
    total = sp.zeros(diffusion.rows, 1)
    for j in range(diffusion.cols):
        b = diffusion[:, j]
        total += jacobian(b, states) * b / 2
    return sp.ImmutableMatrix(total)


def is_diagonal(diffusion: sp.Matrix, states: Sequence[sp.Symbol]) -> bool:
    """Whether noise j drives state j alone, with a strength that depends on no other state."""
    own = set(states)
    return (
        diffusion.rows == diffusion.cols
        and diffusion.is_diagonal()
        and all(not diffusion[i, i].free_symbols & (own - {states[i]}) for i in range(diffusion.rows))
    )


def class_of_noise(diffusion: sp.Matrix, states: Sequence[sp.Symbol]) -> str:
    """The first of "additive", "scalar", "diagonal", "commutative", "general" that holds identically."""
    if not diffusion.free_symbols & set(states):
        return "additive"
    if diffusion.cols == 1:
        return "scalar"
    if is_diagonal(diffusion, states):
        return "diagonal"
    return "commutative" if commutes(diffusion, states) else "general"


def commutes(diffusion: sp.Matrix, states: Sequence[sp.Symbol]) -> bool:
    """Whether L^i b_kj = L^j b_ki identically (Kloeden and Platen 1992, eq. 10.3.13). False where it cannot be
    shown."""
    columns = [diffusion[:, j] for j in range(diffusion.cols)]
    slopes = [jacobian(b, states) for b in columns]
    entries = [
        e
        for i in range(len(columns))
        for j in range(i)
        for e in slopes[j] * columns[i] - slopes[i] * columns[j]
        if e != 0
    ]
    if any(_differs_from_zero(e) for e in entries):
        return False
    return all(sp.expand(e) == 0 or sp.simplify(e) == 0 for e in entries)


def _differs_from_zero(e: sp.Expr) -> bool:
    """Found nonzero at a random point, in 30 digits."""
    symbols = sorted(e.free_symbols, key=str)
    for k in range(POINTS):
        point = {s: sp.Rational(Fraction(113 * (k + 1) + 37 * i * i + 61 * i, 211)) for i, s in enumerate(symbols)}
        value = e.xreplace(point)
        try:
            number = complex(sp.N(value, 30))
        except TypeError:
            continue
        if abs(number) > 1e-20:
            return True
    return False
