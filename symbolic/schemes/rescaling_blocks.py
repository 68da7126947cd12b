"""Where an SDE only rescales: coordinates y with dy = y (drift dt + sum_j noise_j dW_j), the brackets free of any
division by y.

A loss of the product u w moves (u, w) along q (w, u), and weight decay along (u, w): the sum and the difference of the
pair are rescaled. A loss of u^2, or the equation of a price, rescales the state itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.polys.rings import PolyElement, PolyRing


@dataclass(frozen=True)
class Block:
    """One state, or a pair of them, and the rates of what moves it: drift first, then every noise, J + 1 of each.

    One state x is moved by r x; a pair (u, w) by q (w, u) + r (u, w). members: places among the states.
    """

    members: tuple[int, ...]
    q: tuple[sp.Expr, ...]
    r: tuple[sp.Expr, ...]


@lru_cache(maxsize=32)
def blocks(states: tuple[sp.Symbol, ...], drift: Any, diffusion: Any) -> tuple[Block, ...] | sp.Symbol:
    """The states in blocks, or the first state that has no place in one. drift (D, 1), diffusion (D, J): immutable
    matrices.

    Coefficients count as polynomials in the states and in whatever functions of them stand there, and are divided
    exactly. Pairs go before single states: u and w in (u w x)^2 keep their charge.
    """
    rows, hidden = _polynomials(states, sp.Matrix.hstack(drift, diffusion))
    free, found = list(range(len(states))), []
    while free:
        i = free.pop(0)
        partners = _partners(i, len(states), rows[i])
        k, rates = next(((k, b) for k in free if k in partners and (b := _pair(i, k, rows))), (None, _single(i, rows)))
        if rates is None:
            return states[i]
        if k is not None:
            free.remove(k)
        q, r = (tuple(e.as_expr().xreplace(hidden) for e in part) for part in rates)
        found.append(Block((i,) if k is None else (i, k), q, r))
    return tuple(found)


Row = list[PolyElement]
Rates = tuple[Row, Row]


def _partners(i: int, size: int, row: Row) -> set[int]:
    """States k that stand in row i, and in all its terms without state i: others make no pair with it."""
    used, always = set(), set(range(size))
    for f in row:
        for powers in f.itermonoms():
            here = {k for k in range(size) if powers[k]}
            used |= here
            always = always if powers[i] else always & here
            if not always:
                return always
    return (used & always) - {i}


def _pair(i: int, k: int, rows: list[Row]) -> Rates | None:
    """f = q w + r u, g = q u + r w: q = (w f - u g)/(w^2 - u^2), r = (w g - u f)/(w^2 - u^2)."""
    ring = rows[i][0].ring
    u, w = ring.gens[i], ring.gens[k]
    q, r = [], []
    for f, g in zip(rows[i], rows[k], strict=True):
        for part, above in ((q, w * f - u * g), (r, w * g - u * f)):
            whole, rest = above.div(w**2 - u**2)
            if rest:
                return None
            part.append(whole)
    return (q, r) if any(q) else None


def _single(i: int, rows: list[Row]) -> Rates | None:
    ring = rows[i][0].ring
    r = [f.div(ring.gens[i]) for f in rows[i]]
    return None if any(rest for _, rest in r) else ([ring.zero] * len(r), [whole for whole, _ in r])


def _polynomials(states: tuple[sp.Symbol, ...], entries: sp.Matrix) -> tuple[list[Row], dict[sp.Symbol, sp.Expr]]:
    """Entries with exact numbers for floats and a symbol for every part that is no polynomial, and what the symbols
    stand for."""
    names: dict[sp.Expr, sp.Symbol] = {}

    def clear(e: Any) -> Any:
        if e.is_Float:
            return sp.Rational(e)
        if e.is_Rational or e.is_Symbol:
            return e
        if e.is_Add or e.is_Mul or (e.is_Pow and e.exp.is_Integer and e.exp.is_positive):
            return e.func(*(clear(a) for a in e.args))
        return names.setdefault(e, sp.Symbol(f":part_{len(names)}", real=True))

    cleared = entries.applyfunc(clear)
    others = sorted(cleared.free_symbols - set(states), key=str)
    ring = PolyRing((*states, *others), sp.QQ, "lex")
    rows = [[ring.from_expr(e) for e in cleared[i, :]] for i in range(len(states))]
    return rows, {s: e for e, s in names.items()}
