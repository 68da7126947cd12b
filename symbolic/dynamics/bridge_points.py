"""Where the bridge between the ends of a step is furthest along a level's own direction, or at some place on the way
there, and what the level is at that state (docs/theory.md eq. (6.16)-(6.18)).

The extreme is drawn of the states, in which the bridge is Brownian, and never of the level: a formula of one state has
it on either side of the step, so that it does not matter how the level is written; of several states, along their
noise's share in the slope. Places are counted in standard deviations of the step, from its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import sympy as sp

from symbolic.dynamics.autodiff import Statement
from symbolic.dynamics.domain import ABSORB, NONNEGATIVE, PERIODIC, REFLECT, Domain
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.extremes import Extreme, led, slope
from symbolic.dynamics.path_functionals import Carried
from symbolic.dynamics.step_map import h, t
from symbolic.functions.reached import Reached

LEAST = sp.Rational(1, 10**30)
HUGE = sp.Float(1.79e308)
"""What finite numbers are below: of float32 it is infinite, and above each."""


@dataclass(frozen=True)
class Noise:
    """rows: (J,) of the diffusion by state; domain: of states; geometric: those whose logarithm is stepped."""

    rows: Mapping[sp.Symbol, Sequence[sp.Expr]]
    domain: Mapping[sp.Symbol, Domain] = field(default_factory=dict[sp.Symbol, Domain])
    geometric: Set[sp.Symbol] = frozenset()

    def seen(self, instead: Mapping[sp.Symbol, sp.Expr]) -> Noise:
        """The same where something is seen in the place of a state."""
        rows = {s: [sp.sympify(b, strict=True).xreplace(dict(instead)) for b in row] for s, row in self.rows.items()}
        return replace(self, rows=rows)

    @property
    def moving(self) -> set[sp.Symbol]:
        """The states that have noise."""
        return {s for s, row in self.rows.items() if any(b != 0 for b in row)}

    def spread(self, f: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
        """Covariance per unit time of each state with an expression, where it is not 0."""
        slopes = {s: slope(f, s) for s in self.rows if f.has(s)}
        width = max((len(row) for row in self.rows.values()), default=0)
        along = [sp.Add(*(g * self.rows[s][j] for s, g in slopes.items())) for j in range(width)]
        found = {s: sp.Add(*(b * a for b, a in zip(row, along, strict=True))) for s, row in self.rows.items()}
        return {s: c for s, c in found.items() if c != 0}

    def variance(self, f: sp.Expr) -> sp.Expr:
        """Of an expression, per unit time."""
        return sp.Add(*(slope(f, s) * c for s, c in self.spread(f).items()))

    def bent(self, f: sp.Expr) -> bool:
        """Whether the ends of an expression do not say all of its bridge: it is not linear in the states that have
        noise, or rises towards an end of a domain."""
        logarithms = {s: sp.Dummy(real=True) for s in self.geometric if f.has(sp.log(s))}
        inner = f.xreplace({sp.log(s): own for s, own in logarithms.items()})
        if not inner.free_symbols & set(logarithms):
            f, rows = inner, {own: self.rows[s] for s, own in logarithms.items()}
            return replace(self, rows={**self.rows, **rows}, geometric=frozenset()).bent(f) if rows else self._bent(f)
        return self._bent(f)

    def _bent(self, f: sp.Expr) -> bool:
        moving = self.moving & f.free_symbols
        return bool(moving) and (not _straight(f, moving) or any(self._walled(f, s) for s in moving))

    def _walled(self, f: sp.Expr, s: sp.Symbol) -> bool:
        domain, rise = self.domain.get(s), slope(f, s)
        if domain is None:
            return False
        apart = (rise.is_positive and domain.high == sp.oo) or (rise.is_negative and domain.low == -sp.oo)
        return domain.kind == PERIODIC or not apart


def noise_of(problem: SDE, scheme: str = "") -> Noise:
    """That of an equation, the Brownian motions' own among it. scheme: what steps it."""
    b, unit = problem.diffusion_matrix, sp.eye(problem.noises)
    rows = {s: list(b.row(i)) for i, s in enumerate(problem.states)}
    logarithms = {s for s, d in problem.domain.items() if d.kind == NONNEGATIVE and scheme == "log-euler"}
    kept = {s for s in logarithms if not any(sp.cancel(e / s).has(s) for e in rows[s])}
    return Noise(rows | {w: list(unit.row(j)) for j, w in enumerate(problem.W)}, problem.domain, frozenset(kept))


def largest(
    c: Carried, noise: Noise, then: Mapping[sp.Symbol, sp.Expr], number: int
) -> tuple[list[Statement], sp.Expr]:
    """What a step makes of a running extreme, and the statements that this needs: where f asks for all of an extreme
    and another entry has become it, the larger end, as the bridge of the first does not see that one. then: the states
    at the step's end."""
    square = sp.Add(*(n**2 for n in c.extra)) * led(c.f, noise.moving, then)
    if not noise.bent(c.f):
        return [], c.after({}, then, noise.variance(c.f) * square)
    let = Names(f"furthest{number}")
    way = Way(c.f, noise, {s: s for s in then}, then, let)
    last = let(c.f.xreplace({**then, t: t + h}))
    found = [way.value(place) for place in way.sides(let(square / (2 * h)))]
    known = [sp.Piecewise((f, f < HUGE), (last, True)) for f in found]
    return let.statements, sp.Max(c.value, last, *known)


def _straight(f: sp.Basic, moving: Set[sp.Symbol]) -> bool:
    """Whether f is linear in states, but for extremes of several that all move, and |f|."""
    own = f.free_symbols & moving
    if not own or f.is_Symbol:
        return True
    if isinstance(f, Extreme):
        return all(a.free_symbols & moving and _straight(a, moving) for a in f.args)
    if isinstance(f, sp.Add | sp.Abs | Reached):
        return all(_straight(a, moving) for a in f.args)
    if isinstance(f, sp.Mul):
        factors = [a for a in f.args if a.free_symbols & moving]
        return len(factors) == 1 and _straight(factors[0], moving)
    if isinstance(f, sp.Piecewise):
        return all(_straight(value, moving) and not c.free_symbols & moving for value, c in f.args)
    return False


class Names:
    """Statements under names of their own."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.statements = prefix, list[Statement]()

    def __call__(self, value: sp.Expr) -> sp.Expr:
        if value.is_Atom and value is not h:  # which is 0 where a path stands still
            return value
        name = sp.Symbol(f":{self.prefix}_{len(self.statements)}", real=True)
        self.statements.append((name, value))
        return name


class Way:
    """From a step's beginning to where its bridge is furthest from it.

    Parameters
    ----------
    f
        The level.
    before, then
        Symbols or expressions of the states at both ends of the step.
    let
        What names intermediate values.
    """

    def __init__(
        self,
        f: sp.Expr,
        noise: Noise,
        before: Mapping[sp.Symbol, sp.Expr],
        then: Mapping[sp.Symbol, sp.Expr],
        let: Names,
    ) -> None:
        self.f, self.noise, self.before, self.then, self.let = f, noise, before, then, let
        own = sorted(noise.moving & f.free_symbols, key=str)
        self.lone = own[0] if len(own) == 1 else None
        """The only state that has noise, where there is only one."""
        self.gaps = {s: self._gap(s) for s in before}
        variance, change = self._lone() if self.lone is not None else self._several()
        self.variance = let(variance * h)
        self.root = let(sp.sqrt(self.variance))
        self.end = let(change / let(sp.sqrt(sp.Piecewise((self.variance, self.variance > 0), (1, True)))))
        """Where the step ends."""

    def _gap(self, s: sp.Symbol) -> sp.Expr:
        gap, domain = self.then[s] - self.before[s], self.noise.domain.get(s)
        if domain is None or domain.kind != PERIODIC:
            return gap
        width = domain.high - domain.low
        gap = self.let(gap)
        return gap - width * sp.floor(gap / width + sp.Rational(1, 2))

    def _lone(self) -> tuple[sp.Expr, sp.Expr]:
        s, rise = self.lone, self.before
        assert s is not None
        variance = sp.Add(*(b**2 for b in self.noise.rows[s])).xreplace(dict(rise))
        if s not in self.noise.geometric:
            return variance, self.gaps[s]
        positive = sp.And(self.before[s] > 0, self.then[s] > 0)
        safe = [self.let(sp.Piecewise((of[s], of[s] > 0), (1, True))) for of in (self.before, self.then)]
        return sp.Piecewise((variance / safe[0] ** 2, positive), (0, True)), sp.log(safe[1] / safe[0])

    def _several(self) -> tuple[sp.Expr, sp.Expr]:
        at = dict(self.before)
        rises = {s: slope(self.f, s).xreplace(at) for s in self.before if self.f.has(s)}
        change = sp.Add(*(rise * self.gaps[s] for s, rise in rises.items()))
        if self.f.has(t):
            change += sp.diff(self.f, t).xreplace(at) * h
        return self.noise.variance(self.f).xreplace(at), change

    def sides(self, exponent: sp.Expr) -> list[sp.Expr]:
        """The furthest places, by an exponential variable of mean 1, on either side; of one state with a level that
        rises or falls, on its side."""
        if self.lone is None:
            return [self._furthest(exponent, sign) for sign in (1, -1)]
        rise, domain = slope(self.f, self.lone), self.noise.domain.get(self.lone)
        wanted = [1] if rise.is_positive else [-1] if rise.is_negative else [1, -1]
        wanted = [1, -1] if domain is not None and domain.kind == PERIODIC else wanted
        return [self._furthest(self._conditioned(exponent, sign), sign) for sign in wanted]

    def _furthest(self, exponent: sp.Expr, sign: int) -> sp.Expr:
        return self.let((self.end + sign * self.let(sp.sqrt(self.end**2 + 2 * exponent))) / 2)

    def _conditioned(self, exponent: sp.Expr, sign: int) -> sp.Expr:
        """Given what the wall on that side has made of the step: of what it has not absorbed, that it was not met; of
        what it may have reflected, that this may have been."""
        assert self.lone is not None
        s, let = self.lone, self.let
        domain = self.noise.domain.get(s)
        wall = sp.oo if domain is None else domain.high if sign > 0 else -domain.low
        if domain is None or domain.kind not in (ABSORB, REFLECT) or wall == sp.oo:
            return exponent
        first, last = (let(sp.Max(wall - sign * of[s], 0)) for of in (self.before, self.then))
        some = let(sp.Piecewise((self.variance, self.variance > 0), (1, True)))
        met, share = let(sp.exp(-2 * first * last / some)), let(sp.exp(-exponent))
        if domain.kind == ABSORB:
            kept = let(-sp.log(let(sp.Max(met + (1 - met) * share, LEAST))))
            return let(sp.Piecewise((kept, last > 0), (exponent, True)))
        return let(-sp.log(let(sp.Max(share * (1 + met) - met, LEAST))))

    def states(self, place: sp.Expr, share: sp.Expr | None = None) -> dict[sp.Symbol, sp.Expr]:
        """The states at a place. share: of the step's time that has gone, its mean where it is left out."""
        let, out = self.let, dict[sp.Symbol, sp.Expr]()
        if share is None:
            away = let(sp.Abs(place))
            whole = let(away + let(sp.Abs(place - self.end)))
            share = let(sp.Piecewise((away / whole, whole > 0), (1, True)))
        self.share = share
        pull: dict[sp.Symbol, sp.Expr] = {}
        if self.lone is None:
            some = let(sp.Piecewise((self.root, self.variance > 0), (1, True)))
            off = let(sp.Piecewise((h * (place - share * self.end) / some, self.variance > 0), (0, True)))
            pull = {s: c.xreplace(dict(self.before)) * off for s, c in self.noise.spread(self.f).items()}
        for s, begin in self.before.items():
            line = begin + share * self.gaps[s]
            if s == self.lone and s in self.noise.geometric:
                line = sp.Piecewise((begin * sp.exp(self.root * place), self.variance > 0), (line, True))
            elif s == self.lone:
                line = sp.Piecewise((begin + self.root * place, self.variance > 0), (line, True))
            out[s] = self.inside(s, let(line + pull.get(s, 0)))
        return out

    def inside(self, s: sp.Symbol, x: sp.Expr) -> sp.Expr:
        domain = self.noise.domain.get(s)
        if domain is None:
            return x
        x = sp.Max(x, domain.low) if domain.low != -sp.oo else x
        return self.let(sp.Min(x, domain.high) if domain.high != sp.oo else x)

    def value(self, place: sp.Expr) -> sp.Expr:
        """The level at a place, where that is beyond an end of a period the greater of those at both ends."""
        at = self.states(place)
        seen = {**at, t: t + self.share * h}
        found = self.f.xreplace(seen)
        domain = None if self.lone is None else self.noise.domain.get(self.lone)
        if domain is not None and domain.kind == PERIODIC:
            assert self.lone is not None
            x = at[self.lone]
            other = sp.Piecewise((domain.low, x >= domain.high), (domain.high, x <= domain.low), (x, True))
            found = sp.Max(found, self.f.xreplace({**seen, self.lone: self.let(other)}))
        return self.let(found)
