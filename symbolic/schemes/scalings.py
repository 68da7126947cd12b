"""Where an SDE only rescales: coordinates y with dy = y (drift dt + sum_j noise_j dW_j), the brackets free of any division by y.

A loss of the product u w moves (u, w) along q (w, u), and weight decay along (u, w): the sum and the difference of the pair are
rescaled. A loss of u^2, or the equation of a price, rescales the state itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy as sp


@dataclass(frozen=True)
class Block:
    """One state, or a pair of them, and the coefficients of what moves it: drift first, then every noise, J + 1 of each.

    One state x is moved by r x; a pair (u, w) by q (w, u) + r (u, w). members: places among the states.
    """

    members: tuple[int, ...]
    q: tuple[sp.Expr, ...]
    r: tuple[sp.Expr, ...]


@lru_cache(maxsize=32)
def blocks(states: tuple[sp.Symbol, ...], drift: Any, diffusion: Any) -> tuple[Block, ...] | sp.Symbol:
    """The states in blocks, or the first state that has no place in one. drift (D, 1), diffusion (D, J): immutable matrices.

    Coefficients count as polynomials in the states and in whatever functions of them stand there, and are divided exactly. Pairs
    go before single states: u and w in (u w x)^2 keep their charge.
    """
    rows, hidden = _polynomials(sp.ImmutableMatrix.hstack(drift, diffusion))
    free, found = list(range(len(states))), []
    while free:
        i = free.pop(0)
        k, made = next(((k, b) for k in free if (b := _pair(i, k, states, rows))), (None, _single(i, states, rows)))
        if made is None:
            return states[i]
        if k is not None:
            free.remove(k)
        found.append(Block(made.members, *(tuple(e.xreplace(hidden) for e in part) for part in (made.q, made.r))))
    return tuple(found)


def _pair(i: int, k: int, states: Sequence[sp.Symbol], rows: sp.Matrix) -> Block | None:
    """f = q w + r u, g = q u + r w: q = (w f - u g)/(w^2 - u^2), r = (w g - u f)/(w^2 - u^2)."""
    u, w = states[i], states[k]
    q, r = [], []
    for f, g in zip(rows[i, :], rows[k, :], strict=True):
        for part, above in ((q, w * f - u * g), (r, w * g - u * f)):
            part.append(_quotient(above, w**2 - u**2))
            if part[-1] is None:
                return None
    return Block((i, k), tuple(q), tuple(r)) if any(q) else None


def _single(i: int, states: Sequence[sp.Symbol], rows: sp.Matrix) -> Block | None:
    r = [_quotient(f, states[i]) for f in rows[i, :]]
    return None if None in r else Block((i,), (sp.S.Zero,) * len(r), tuple(r))


def _quotient(above: sp.Expr, below: sp.Expr) -> Any:
    """above/below where that is a polynomial, else None."""
    if above == 0:
        return above
    symbols = sorted(above.free_symbols | below.free_symbols, key=lambda s: (s not in below.free_symbols, str(s)))
    whole, rest = sp.div(sp.Poly(above, *symbols), sp.Poly(below, *symbols))
    return whole.as_expr() if rest.is_zero else None


def _polynomials(entries: sp.Matrix) -> tuple[sp.Matrix, dict[sp.Symbol, sp.Expr]]:
    """Entries with exact numbers for floats and a symbol for every part that is no polynomial, and what the symbols stand for."""
    names: dict[sp.Expr, sp.Symbol] = {}

    def clear(e: Any) -> Any:
        if e.is_Float:
            return sp.Rational(e)
        if e.is_Rational or e.is_Symbol:
            return e
        if e.is_Add or e.is_Mul or (e.is_Pow and e.exp.is_Integer and e.exp.is_positive):
            return e.func(*(clear(a) for a in e.args))
        return names.setdefault(e, sp.Symbol(f":part_{len(names)}", real=True))

    return entries.applyfunc(clear), {s: e for e, s in names.items()}
