"""Text of equations of arrays whose paths stop, jump or are reset: `hybrid_text`'s functions, as loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from symbolic.arrays.adjoint import spread_of
from symbolic.arrays.building import array, elementwise, mapped
from symbolic.arrays.expression import Array, State, broadcast, constant
from symbolic.codegen.array_text import Target
from symbolic.dynamics.array_bridge import ArrayWay, bent
from symbolic.dynamics.array_equation import CLOCK, ArraySDE
from symbolic.dynamics.array_past import LATER, STEP, CarriedArray

Write = Callable[[str, Sequence[Target], Mapping[Array, tuple[str, int]]], str]
"""(signature, targets, rows of what else is read) as text."""


def _row(name: str) -> Array:
    return State.of((), (), (f":{name}",))


OWN = {CLOCK: _row("time"), STEP: _row("step")}
"""Time and step of each lane's own."""
RARE = ("arrive", "change")
"""What is called where a path meets a level or jumps."""
ROWS = {OWN[CLOCK]: ("t", 0), OWN[STEP]: ("h", 0)}


@dataclass(frozen=True)
class WatchedArrays:
    """What is watched along a path, in states and time.

    levels: excesses, positive beyond; acting: at which of them paths stop or are changed; bridged: which of them are
    seen between steps; rates: of Poisson clocks; changes: {state: value} each, in states, time and `sizes`, base
    variables.
    """

    levels: tuple[Array, ...]
    acting: tuple[bool, ...] = ()
    bridged: tuple[bool, ...] = ()
    rates: tuple[Array, ...] = ()
    changes: tuple[Mapping[Array, Array], ...] = ()
    sizes: tuple[Array, ...] = ()

    @property
    def expressions(self) -> list[Array]:
        """All that may name functionals of the path."""
        return [*self.levels, *self.rates, *(e for c in self.changes for e in c.values())]

    def instead(self, of: Mapping[Array, Array]) -> WatchedArrays:
        """The same where something is seen in the place of a node."""
        changes = [dict(zip(c, mapped(list(c.values()), of.get), strict=True)) for c in self.changes]
        levels, rates = (tuple(mapped(nodes, of.get)) for nodes in (self.levels, self.rates))
        return replace(self, levels=levels, rates=rates, changes=tuple(changes))

    def bent(self, problem: ArraySDE) -> list[int]:
        """By level, its number among those whose bridge their ends do not say, -1 for others."""
        found = [seen and bent(problem, g) for g, seen in zip(self.levels, self.bridged, strict=True)]
        return [sum(found[:k]) if is_bent else -1 for k, is_bent in enumerate(found)]

    def carrying(self, carried: Sequence[CarriedArray]) -> WatchedArrays:
        """The same where the path's functionals are states."""
        if not carried:
            return self
        shown = self.instead({c.node: c.value for c in carried})
        extremes, changes = [c for c in carried if c.noise], list[Mapping[Array, Array]]()
        for made in shown.changes:
            then = mapped([c.f for c in extremes], made.get)
            after = [elementwise("Max", c.value, f) for c, f in zip(extremes, then, strict=True)]
            changes.append({**made, **{c.state: value for c, value in zip(extremes, after, strict=True)}})
        return replace(shown, changes=tuple(changes))


def functions(
    problem: ArraySDE,
    strengths: Sequence[Array],
    watched: WatchedArrays,
    carried: Sequence[CarriedArray],
    places: Mapping[Array, int],
    write: Write,
) -> list[str]:
    """The texts of watch, arrive and change. strengths: the diffusion as it is seen; places: rows of the states, those
    of functionals among them."""
    spread = partial(spread_of, states=problem.states, strengths=strengths, shared=bool(problem.shared))
    between = zip(watched.levels, watched.bridged, strict=True)
    spreads = [spread(g) if seen else ({}, constant(0.0)) for g, seen in between]
    shown = [*watched.levels, *(v for _, v in spreads), *watched.rates]
    parts = [write("watch(x, t, p, out)", [Target("out", k, node) for k, node in enumerate(shown)], {})]
    if any(watched.bridged):
        begin = {s: State.of(s.shape, (), (f":begin_{k}",)) for k, s in enumerate(places)}
        at_first = {b: ("y", places[s]) for s, b in begin.items()}
        ways = _ways(problem, watched, strengths, begin, STEP)
        if ways:
            results, rows = _furthest(ways)
            targets = [Target("out", k, node) for k, node in enumerate(results)]
            parts.append(write("reach(y, x, e, h, t, p, out)", targets, {**rows, **at_first}))
        length, place = _row("length"), _row("place")
        ways = _ways(problem, watched, strengths, begin, length)
        moved, level, share = _arrival(problem, watched, carried, spreads, begin, ways, place)
        rows = {level: ("e", 0), share: ("e", 1), place: ("e", 2), length: ("e", 3)} | at_first
        targets = [Target("x", places[s], m) for s, m in moved.items()] if any(watched.acting) else []
        parts.append(write("arrive(y, x, e, h, t, p)", targets, rows))
    if watched.changes:
        which, at, rows = _row("change"), 0, dict[Array, tuple[str, int]]()
        for size in watched.sizes:
            rows[size], at = ("m", at), at + size.size
        values: dict[Array, Array] = {}
        for k, change in enumerate(watched.changes):
            for s, value in change.items():
                values[s] = elementwise("where", _is(which, k + 1), value, values.get(s, s))
        targets = [Target("x", places[s], _filled(v, s)) for s, v in values.items()]
        parts.append(write("change(x, e, m, t, p)", targets, rows | {which: ("e", 0)}))
    return parts


def _ways(
    problem: ArraySDE, watched: WatchedArrays, strengths: Sequence[Array], begin: Mapping[Array, Array], length: Array
) -> dict[int, ArrayWay]:
    """By number of a bent level, the way of its bridge from `begin`."""
    first, last = {s: begin[s] for s in problem.states}, {s: s for s in problem.states}
    numbers = [k for k, row in enumerate(watched.bent(problem)) if row >= 0]
    return {k: ArrayWay(problem, strengths, watched.levels[k], first, last, length) for k in numbers}


def _furthest(ways: Mapping[int, ArrayWay]) -> tuple[list[Array], dict[Array, tuple[str, int]]]:
    """As `bridge_text.furthest`: six numbers each, and where the rows are that they go by."""
    own, results, rows = _row("own"), list[Array](), dict[Array, tuple[str, int]]()
    given_places = elementwise("greater", own, 0.5)
    for k, way in enumerate(ways.values()):
        given = _row(f"given_{k}")
        rows[given] = ("e", k)
        for sign in (1, -1):
            place = way.furthest(elementwise("Max", given, 0), sign)
            at = elementwise("where", given_places, given, place)
            results += [way.value(at), at]
        results += [way.end, elementwise("sqrt", way.variance)]
    return results, {**rows, own: ("e", len(ways))}


def _is(code: Array, number: int) -> Array:
    """Where a row of whole numbers has this one."""
    above, below = elementwise("greater", code, number - 0.5), elementwise("less", code, number + 0.5)
    return elementwise("logical_and", above, below)


def _filled(value: Array, state: Array) -> Array:
    return value if value.shape == state.shape else broadcast(value, state.shape)


def _arrival(
    problem: ArraySDE,
    watched: WatchedArrays,
    carried: Sequence[CarriedArray],
    spreads: Sequence[tuple[Mapping[Array, Array], Array]],
    begin: Mapping[Array, Array],
    ways: Mapping[int, ArrayWay],
    place: Array,
) -> tuple[dict[Array, Array], Array, Array]:
    """The state on the line from `begin` to where the step ends, moved along the noise onto the level: the mean of the
    bridge there (docs/theory.md eq. (6.8)); and the rows of level and share that it goes by. A bent level is met where
    the way of the bridge meets it."""
    level, share = _row("level"), _row("share")
    at = {s: begin[s] + (s - begin[s]) * share for s in problem.states}
    for k, way in ways.items():
        there = way.onto(place, share, LATER)
        at = {s: elementwise("where", _is(level, k + 1), there[s], x) for s, x in at.items()}
    acting = [(k, of) for k, of in enumerate(zip(watched.levels, spreads, strict=True)) if watched.acting[k]]
    acting = [(k, of) for k, of in acting if k not in ways]
    curved = [(k, of) for k, of in acting if any(c.reads for c in of[1][0].values())]
    for levels in (acting, curved):
        here, moved = {**at, CLOCK: LATER}, dict(at)
        for k, (g, (spread, v)) in levels:
            excess, variance = mapped([g, v], here.get)
            noisy = elementwise("greater", variance, 0)
            over = elementwise("where", noisy, excess / elementwise("where", noisy, variance, 1), 0)
            for s, c in zip(spread, mapped(list(spread.values()), here.get), strict=True):
                moved[s] = elementwise("where", _is(level, k + 1), at[s] - c * over, moved[s])
        at = moved
    ends = at | {c.state: c.after(dict(begin), at) for c in carried}
    arrived = elementwise("greater", level, 0)
    return {s: _filled(elementwise("where", arrived, e, s), s) for s, e in ends.items()}, level, share


def clocked(nodes: Sequence[Array]) -> list[Array]:
    """Nodes where time and step are each lane's own."""
    return mapped([array(n) for n in nodes], OWN.get)
