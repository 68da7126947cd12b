"""What the text of paths that stop, jump or are reset says of bridges: how far they go beyond bent levels, and where
the state is that is put on a level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import sympy as sp

from symbolic.dynamics.autodiff import Statement
from symbolic.dynamics.bridge_points import Names, Noise, Way
from symbolic.dynamics.extremes import slope
from symbolic.dynamics.step_map import StepMap, h, t

if TYPE_CHECKING:
    from symbolic.codegen.hybrid_text import Watched

POLISHED, NEAR = 2, sp.Rational(1, 1000)
"""Turns of Newton's that put a state on its level, and what they must leave of the excess at the step's beginning."""


class Meeting(NamedTuple):
    """Rows that an arrival goes by: 1 + the level's number, 0 for none; the share of the step that has gone, and its
    place on the way (`dynamics.bridge_points`); the step's length."""

    level: sp.Symbol
    share: sp.Symbol
    place: sp.Symbol
    length: sp.Symbol


def furthest(
    step: StepMap, watched: Watched, y: Sequence[sp.Symbol]
) -> tuple[list[Statement], list[sp.Expr], list[sp.Symbol]]:
    """Of each bent level six numbers: what it is where the bridge is furthest ahead, this place, the same behind, where
    the step ends, and the root of its variance; and the rows that they go by, an exponential variable of each such
    level, then whether (1, else 0) these are the places themselves."""
    assert watched.noise is not None
    before, then = dict(zip(step.states, y, strict=True)), {s: s for s in step.states}
    own = sp.Symbol(":own", real=True)
    statements, results, rows = list[Statement](), list[sp.Expr](), list[sp.Symbol]()
    for g, row in zip(watched.levels, watched.bent, strict=True):
        if row < 0:
            continue
        given, let = sp.Symbol(f":given_{row}", real=True), Names(f"reach{row}")
        way = Way(g, watched.noise, before, then, let)
        found = list[sp.Expr]()
        for place in way.sides(let(sp.Max(given, 0))):
            at = let(sp.Piecewise((given, own > sp.Rational(1, 2)), (place, True)))
            found += [way.value(at), at]
        results += [*found, *([sp.S.NegativeOne, sp.S.Zero] if len(found) < 4 else []), way.end, way.root]
        statements += let.statements
        rows.append(given)
    return statements, results, [*rows, own]


def arrival(
    step: StepMap, watched: Watched, y: Sequence[sp.Symbol], meeting: Meeting
) -> tuple[list[Statement], list[sp.Expr]]:
    """The state on the line from y to x, moved along the noise onto the level: the mean of the bridge there."""
    noise = watched.noise
    assert noise is not None
    line = [a + (b - a) * meeting.share for a, b in zip(y, step.states, strict=True)]
    statements: list[Statement] = []
    seen = [(k, g) for k, g in enumerate(watched.levels) if watched.bridged[k] and watched.bent[k] < 0]
    now = line
    for turn in range(2 if _curved(step, seen, noise) else 1):
        here = [sp.Symbol(f":z{turn}_{j}", real=True) for j in range(len(y))]
        statements += zip(here, now, strict=True)
        at = {**dict(zip(step.states, here, strict=True)), t: t + h}
        pulls: list[tuple[int, dict[sp.Symbol, sp.Expr]]] = []
        for k, g in seen:
            variance = sp.Symbol(f":spread{turn}_{k}", real=True)
            excess = sp.Symbol(f":excess{turn}_{k}", real=True)
            statements += [(variance, noise.variance(g).xreplace(at)), (excess, g.xreplace(at))]
            over = sp.Piecewise((excess / variance, variance > 0), (0, True))
            pulls.append((k, {s: c.xreplace(at) * over for s, c in noise.spread(g).items()}))
        now = []
        for s, z in zip(step.states, here, strict=True):
            own = [(z - p[s], sp.Eq(meeting.level, k + 1)) for k, p in pulls if s in p]
            now.append(sp.Piecewise(*own, (z, True)) if own else z)
    for k, row in enumerate(watched.bent):
        if row >= 0:
            bent = _onto(step, watched.levels[k], noise, y, meeting, Names(f"onto{row}"), statements)
            now = [
                sp.Piecewise((bent[s], sp.Eq(meeting.level, k + 1)), (z, True)) for s, z in zip(bent, now, strict=True)
            ]
    final = [sp.Symbol(f":there_{j}", real=True) for j in range(len(y))]
    statements += zip(final, now, strict=True)
    begin, there = (dict(zip(step.states, of, strict=True)) for of in (y, final))
    ends = there | {c.symbol: c.after(begin, there) for c in watched.carried}
    moved = [sp.Piecewise((ends[s], meeting.level > 0), (s, True)) for s in step.states]
    return statements, moved


def _onto(
    step: StepMap,
    g: sp.Expr,
    noise: Noise,
    y: Sequence[sp.Symbol],
    meeting: Meeting,
    let: Names,
    statements: list[Statement],
) -> Mapping[sp.Symbol, sp.Expr]:
    """The state where a step is on a bent level: on the line at the share of time that has gone, moved along the noise;
    where that does not bring it there, where the way meets the level."""
    begin = dict(zip(step.states, y, strict=True))
    way = Way(g, noise, begin, {s: s for s in step.states}, let)
    met = way.states(meeting.place)
    at, first = way.states(meeting.place, meeting.share), let(g.xreplace(begin))
    statements += [(name, value.xreplace({h: meeting.length})) for name, value in let.statements]
    let.statements.clear()
    let.prefix += "_on"
    spread, variance = noise.spread(g), noise.variance(g)
    excess = let(g.xreplace({**at, t: t + h}))
    for _ in range(POLISHED):
        now = {**at, t: t + h}
        own = let(variance.xreplace(now))
        over = let(sp.Piecewise((excess / let(sp.Piecewise((own, own > 0), (1, True))), own > 0), (0, True)))
        moved = {s: way.inside(s, let(at[s] - c.xreplace(now) * over)) for s, c in spread.items() if s in at}
        after = let(g.xreplace({**now, **moved}))
        nearer = let(sp.Abs(after)) < let(sp.Abs(excess))
        at = at | {s: let(sp.Piecewise((x, nearer), (at[s], True))) for s, x in moved.items()}
        excess = let(sp.Piecewise((after, nearer), (excess, True)))
    there = let(sp.Abs(excess)) <= let(NEAR * sp.Abs(first))
    at = {s: let(sp.Piecewise((x, there), (met[s], True))) for s, x in at.items()}
    statements += let.statements
    return at


def _curved(step: StepMap, seen: Sequence[tuple[int, sp.Expr]], noise: Noise) -> bool:
    """Whether slopes or noises follow states."""
    states = set(step.states)
    return any(set(slope(g, s).free_symbols) & states for _, g in seen for s in step.states if g.has(s)) or any(
        sp.sympify(b, strict=True).free_symbols & states for row in noise.rows.values() for b in row
    )
