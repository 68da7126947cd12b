"""Where coefficients jump in time, and whether they are singular at a time that a scheme looks at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import sympy as sp

from symbolic.dynamics.step_map import StepMap, h, t
from symbolic.errors import InputError
from symbolic.functions import registry as functions
from symbolic.functions.numeric import Numeric
from symbolic.functions.tables import Table

SAMPLES = 1 << 16
"""Places at which a switch that is not linear in time is looked at for a change of sign."""
MOST = 4096
"""Most jumps that steps are fitted to."""
ROUNDING, NEAR = 1e-12, 2.0**-24
"""How far, as a share of a run's times, a zero may lie from its edge and be there, and what is right inside of it."""


def jumps(
    expressions: Iterable[sp.Expr],
    clock: sp.Symbol,
    time: float,
    values: Mapping[sp.Symbol, float],
    begin: float = 0.0,
    closed: Iterable[sp.Expr] = (),
) -> list[float]:
    """Times of a run of length `time` from `begin` at which a Piecewise or a function that jumps (Heaviside, sign,
    floor, ...) in the expressions does so by time alone: those inside, and the beginning where the value there is not
    that right after it; of expressions `closed`, which are looked at when a step ends too, also the end.

    clock: the symbol of time; values: numbers of the parameters. Raises ValueError for more than MOST.
    """
    closed, found, end = list(closed), set[float](), begin + time
    numbers = {k: sp.Float(v) for k, v in values.items()}
    at_end = {pair for e in closed for pair in _switches(e)}
    pairs = {pair for e in expressions for pair in _switches(e)} | at_end
    by_switch: dict[sp.Expr, list[tuple[sp.Expr, sp.Expr]]] = {}
    for pair in pairs:
        if clock in pair[1].free_symbols and pair[1].free_symbols <= {clock, *values}:
            by_switch.setdefault(pair[1], []).append(pair)
    for switch in sorted(by_switch, key=str):
        here, known = by_switch[switch], dict[float, bool]()
        for x in _roots(switch.xreplace(numbers), clock, begin, end):
            first, last = (abs(x - e) <= ROUNDING * (time + abs(begin)) for e in (begin, end))
            if first or last:
                looked = here if first else [pair for pair in here if pair in at_end]
                edge, inward = (begin, time * NEAR) if first else (end, -time * NEAR)
                if edge not in known:
                    known[edge] = any(_differs(node.xreplace(numbers), clock, edge, inward) for node, _ in looked)
                found.update([edge] if known[edge] else [])
            elif begin < x < end:
                found.add(x)
    if len(found) > MOST:
        raise InputError(
            f"steps_at: steps are fitted to at most {MOST} jumps of the coefficients in time; got {len(found)} (int)."
            " Write a smooth coefficient, or a shorter run."
        )
    return sorted(found)


def _switches(e: sp.Basic) -> set[tuple[sp.Expr, sp.Expr]]:
    """What jumps, and the expressions at whose zeros it does."""
    found = functions.jumping(e)
    for table in e.atoms(Table):
        if table.kind == "previous" and len(table.times) <= MOST:
            found |= {(table, table.args[0] - sp.Float(x)) for x in table.times}
    for piece in e.atoms(sp.Piecewise):
        for _, condition in piece.args:
            for r in condition.atoms(sp.core.relational.Relational):
                found.add((sp.Piecewise((1, r), (0, True)), r.lhs - r.rhs))
    return found


def _differs(node: sp.Expr, clock: sp.Symbol, edge: float, inward: float) -> bool:
    """Whether what jumps has another value at an edge of the run than right inside."""
    if node.free_symbols - {clock}:
        return True
    there, near, nearer = (float(v) for v in Numeric([node], [clock])([edge + inward * np.array([0.0, 2.0, 1.0])])[0])
    return abs(there - nearer) > 4 * abs(near - nearer) + ROUNDING * abs(nearer)


def _roots(e: sp.Expr, clock: sp.Symbol, begin: float, end: float) -> list[float]:
    """Zeros of an expression of time in (begin, end): exact where it is linear, else between samples of unlike sign."""
    slope = sp.diff(e, clock)
    if not slope.free_symbols:
        return [float(-e.xreplace({clock: sp.S.Zero}) / slope)] if slope != 0 else []
    from scipy.optimize import brentq  # slow to load

    value = Numeric([e], [clock])
    at = np.linspace(begin, end, SAMPLES + 1)
    sign = np.sign(value([at])[0])
    between = np.flatnonzero(sign[:-1] * sign[1:] < 0)
    exact = at[np.flatnonzero(sign == 0)]
    return [
        float(brentq(lambda x: value([x])[0], at[k], at[k + 1], xtol=1e-14 * max(abs(begin), abs(end))))
        for k in between
    ] + [float(x) for x in exact]


def singular_at_end(step: StepMap, time: float, last: float, values: Mapping[sp.Symbol, float]) -> sp.Expr | None:
    """A part of the step's formula that depends on time alone and is not finite in the last step, of length `last`;
    None where all are.

    In rational numbers, decimals as they are written: a rounded end would hide the pole behind a large number.
    """
    numbers = {h: _rational(last), t: _rational(time) - _rational(last), **{k: _rational(v) for k, v in values.items()}}
    return _not_finite([*(e for _, e in step.first), *step.ends], numbers)


def _rational(value: float | sp.Float) -> sp.Rational:
    return sp.Rational(repr(float(value)))


def _not_finite(expressions: Iterable[sp.Expr], numbers: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr | None:
    seen: set[sp.Basic] = set()
    stack: list[sp.Basic] = list(expressions)
    while stack:
        e = stack.pop()
        if e in seen or not isinstance(e, sp.Expr) or e.is_Atom:
            continue
        seen.add(e)
        if (
            t in e.free_symbols
            and e.free_symbols <= numbers.keys()
            and _value(e, numbers).has(sp.zoo, sp.nan, sp.oo, -sp.oo)
        ):
            inner = _not_finite(e.args, numbers)
            return inner if inner is not None else e
        stack.extend(e.args)
    return None


def _value(e: sp.Expr, numbers: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr:
    return e.xreplace({**numbers, **{f: _rational(f) for f in e.atoms(sp.Float)}})
