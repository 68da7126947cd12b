"""`dynamics.bridge_points` of equations of arrays: along the noise's share in a level's slope, on either side, or entry
by entry of one state; states are kept inside their domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from symbolic.arrays.adjoint import gradient, spread_of
from symbolic.arrays.building import array, elementwise, mapped, reduced
from symbolic.arrays.expression import Array, Elementwise, Join, Past, Reduce, Reshape, Scalar, Take, View, walk
from symbolic.dynamics.array_equation import CLOCK, ArraySDE
from symbolic.dynamics.domain import ABSORB, PERIODIC
from symbolic.dynamics.step_map import h

STEP = Scalar.of((), (), (h,))
POLISHED, NEAR = 2, 1 / 1000
"""As those of `codegen.bridge_text`."""
INSIDE = 2.0**-20
"""How far from an absorbing wall a path is kept that has not been absorbed, of its place or of 1."""


def bent(problem: ArraySDE, g: Array) -> bool:
    """Whether the ends of a level do not say all of its bridge: it is not linear in the states that have noise, or
    names such as have a domain."""
    moving = {s for s in problem.noisy if s in g.reads}
    return bool(moving) and (
        not all(_straight(n, moving) for n in walk([g])) or any(s in problem.domain for s in moving)
    )


def _straight(node: Array, moving: Set[Array]) -> bool:
    """Whether a node is linear in what it is made of."""
    own = [a for a in node.args if a.reads & moving]
    if not own or isinstance(node, View | Reshape | Join | Take):
        return not isinstance(node, Past) or not own
    if isinstance(node, Reduce):
        return node.data[0] in ("sum", "max", "min")
    kind = node.data[0] if isinstance(node, Elementwise) else ""
    if kind in ("Max", "Min"):
        return len(own) == len(node.args)
    if kind in ("multiply", "divide", "where"):
        alone = {"multiply": len(own) == 1, "divide": own == [node.args[0]], "where": node.args[0] not in own}
        return alone[kind]
    return kind in ("add", "subtract", "negative", "Abs", "Reached")


@dataclass(frozen=True)
class ArrayWay:
    """From a step's beginning to where its bridge is furthest along a level; strengths: the diffusion as it is seen."""

    problem: ArraySDE
    strengths: Sequence[Array]
    g: Array
    before: Mapping[Array, Array]
    then: Mapping[Array, Array]
    length: Array = STEP

    def gap(self, s: Array) -> Array:
        """How far a step takes a state."""
        gap, domain = self.then[s] - self.before[s], self.problem.domain.get(s)
        if domain is None or domain.kind != PERIODIC:
            return gap
        width = float(domain.high - domain.low)
        return gap - width * elementwise("floor", gap / width + 0.5)

    @property
    def variance(self) -> Array:
        """Of the level, over the step."""
        found = spread_of(self.g, self.problem.states, self.strengths, bool(self.problem.shared))[1]
        return mapped([found], self.before.get)[0] * self.length

    @property
    def end(self) -> Array:
        """Where the step ends, in standard deviations."""
        slopes = {s: d for s, d in gradient(self.g).items() if s in self.before}
        rises = dict(zip(slopes, mapped(list(slopes.values()), self.before.get), strict=True))
        total: Any = array(0.0)
        for s, rise in rises.items():
            total = total + reduced("sum", rise * self.gap(s))
        return total / elementwise("sqrt", _positive(self.variance))

    def furthest(self, exponent: Array, sign: int) -> Array:
        """The furthest place on a side, by an exponential variable of mean 1."""
        end = self.end
        return (end + sign * elementwise("sqrt", end * end + 2 * exponent)) / 2

    def states(self, place: Array, share: Array | None = None) -> tuple[dict[Array, Array], Array]:
        """The states at a place, and the share of the step's time that has gone."""
        end, variance = self.end, self.variance
        if share is None:
            away = elementwise("Abs", place)
            whole = away + elementwise("Abs", place - end)
            some = elementwise("greater", whole, 0)
            share = elementwise("where", some, away / elementwise("where", some, whole, 1), 1)
        root = elementwise("sqrt", _positive(variance))
        off = elementwise("where", elementwise("greater", variance, 0), self.length * (place - share * end) / root, 0)
        spread = spread_of(self.g, self.problem.states, self.strengths, bool(self.problem.shared))[0]
        pulls = dict(zip(spread, mapped(list(spread.values()), self.before.get), strict=True))
        out = dict[Array, Array]()
        for s, begin in self.before.items():
            at = begin + share * self.gap(s)
            out[s] = self.inside(s, at + pulls[s] * off if s in pulls else at)
        return out, share

    def value(self, place: Array) -> Array:
        """The level at a place, where that is beyond an end of a period the greater of those at both ends."""
        at, share = self.states(place)
        return _at_ends(self.problem, self.g, {**at, CLOCK: CLOCK + share * self.length})

    def onto(self, place: Array, share: Array, later: Array) -> dict[Array, Array]:
        """As `codegen.bridge_text`: the state on the level at a share of the step's time, moved along the noise; where
        that does not bring it there, where the way meets the level. later: the time then."""
        states, shared = self.problem.states, bool(self.problem.shared)
        spread, variance = spread_of(self.g, states, self.strengths, shared)
        met, at = self.states(place)[0], self.states(place, share)[0]
        (first,) = mapped([self.g], self.before.get)
        (excess,) = mapped([self.g], {**at, CLOCK: later}.get)
        for _ in range(POLISHED):
            now = {**at, CLOCK: later}
            own, *pulls = mapped([variance, *spread.values()], now.get)
            over = elementwise("where", elementwise("greater", own, 0), excess / _positive(own), 0)
            moved = {s: self.inside(s, at[s] - c * over) for s, c in zip(spread, pulls, strict=True)}
            (after,) = mapped([self.g], {**now, **moved}.get)
            nearer = elementwise("less", elementwise("Abs", after), elementwise("Abs", excess))
            at = at | {s: elementwise("where", nearer, x, at[s]) for s, x in moved.items()}
            excess = elementwise("where", nearer, after, excess)
        there = elementwise("less_equal", elementwise("Abs", excess), NEAR * elementwise("Abs", first))
        return {s: elementwise("where", there, x, met[s]) for s, x in at.items()}

    def inside(self, s: Array, x: Array) -> Array:
        """A state kept in its domain, and away from an absorbing wall where the step has not ended on it."""
        return kept(self.problem, s, x, self.then[s])


def kept(problem: ArraySDE, s: Array, x: Array, last: Array) -> Array:
    """A state kept in its domain, and away from an absorbing wall where the step's end, `last`, is not on it."""
    domain = problem.domain.get(s)
    if domain is None:
        return x
    for wall, sign in ((domain.low, 1), (domain.high, -1)):
        if wall in (sp.oo, -sp.oo):
            continue
        end = float(wall)
        if domain.kind == ABSORB:
            apart = sign * INSIDE * max(1.0, abs(end))
            end = elementwise("where", elementwise("greater", sign * (last - end), 0), end + apart, end)
        x = elementwise("Max" if sign > 0 else "Min", x, end)
    return x


def _at_ends(problem: ArraySDE, f: Array, at: Mapping[Array, Array]) -> Array:
    """f at states; where entries are at an end of a period, the greater of that and f at the other end."""
    others = dict(at)
    for s, domain in problem.domain.items():
        if s in at and domain.kind == PERIODIC:
            low, high, x = float(domain.low), float(domain.high), at[s]
            down = elementwise("where", elementwise("less_equal", x, low), high, x)
            others[s] = elementwise("where", elementwise("greater_equal", x, high), low, down)
    (found,) = mapped([f], dict(at).get)
    return found if others == dict(at) else elementwise("Max", found, mapped([f], others.get)[0])


def _positive(variance: Array) -> Array:
    return elementwise("where", elementwise("greater", variance, 0), variance, 1)


def furthest_values(
    problem: ArraySDE, strengths: Sequence[Array], f: Array, then: Mapping[Array, Array], square: Array
) -> list[Array]:
    """What f, a number or made entry by entry of one state, is where the bridge is furthest on either side. then: the
    states at the step's end; square: twice an exponential variable of mean 1, times the step."""
    before = {s: s for s in problem.states}
    if not f.shape:
        way = ArrayWay(problem, strengths, f, before, then)
        return [way.value(way.furthest(square / (2 * STEP), sign)) for sign in (1, -1)]
    (s,) = (s for s in problem.states if s in f.reads)
    way = ArrayWay(problem, strengths, f, before, then)
    b, gap = strengths[problem.states.index(s)], way.gap(s)
    total: Any = np.sum(b * b, axis=-1) if problem.shared else b * b
    width = elementwise("sqrt", gap * gap + total * square)
    places = [kept(problem, s, s + (gap + sign * width) / 2, then[s]) for sign in (1, -1)]
    return [_at_ends(problem, f, {s: x, CLOCK: CLOCK + STEP}) for x in places]
