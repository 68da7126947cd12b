"""Text of equations whose paths stop, jump or are reset.

Every lane has a clock of its own, and beside step and observe there are

    watch(x, t, p, out)         excesses over levels, their variances per unit time, rates of Poisson clocks
    arrive(y, x, e, h, t, p)    the state where a step meets a level (docs/theory.md eq. (6.8))
    change(x, e, m, t, p)       the state that a change leaves behind; m: base variables of its sizes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from symbolic.codegen.emit import Module, function_text, lane_count, manifest_of, module
from symbolic.codegen.lookup_text import Numbers
from symbolic.codegen.row_loops import averages
from symbolic.codegen.solve_text import step_text
from symbolic.dynamics.autodiff import Statement
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.extremes import led, slope
from symbolic.dynamics.path_functionals import Carried, values
from symbolic.dynamics.step_map import Accumulation, RowSlopes, StepMap, h, t


@dataclass(frozen=True)
class Watched:
    """What is watched along a path, in states and time.

    levels: excesses, positive beyond; noise: rows (J,) of the diffusion by state, None where all levels are looked at
    after steps only; bridged: by level, whether it is seen between steps; rates: of Poisson clocks; changes: {state:
    value} each, in states, time and `sizes`, base variables.
    """

    levels: tuple[sp.Expr, ...]
    noise: Mapping[sp.Symbol, Sequence[sp.Expr]] | None = None
    bridged: tuple[bool, ...] = ()
    rates: tuple[sp.Expr, ...] = ()
    changes: tuple[Mapping[sp.Symbol, sp.Expr], ...] = ()
    sizes: tuple[sp.Symbol, ...] = ()
    carried: tuple[Carried, ...] = ()

    @property
    def expressions(self) -> list[sp.Expr]:
        """All that may name functionals of the path."""
        return [*self.levels, *self.rates, *(e for c in self.changes for e in c.values())]

    def carrying(self, carried: tuple[Carried, ...]) -> Watched:
        """The same where the path's functionals are states."""
        if not carried:
            return self
        shown = values(carried)
        changes = []
        for change in self.changes:
            made = {s: sp.sympify(e, strict=True).xreplace(shown) for s, e in change.items()}
            largest = [c for c in carried if c.largest]
            changes.append(made | {c.symbol: sp.Max(c.value, c.f.xreplace(made)) for c in largest})
        levels, rates = (tuple(e.xreplace(shown) for e in of) for of in (self.levels, self.rates))
        return replace(self, levels=levels, rates=rates, changes=tuple(changes), carried=carried)

    def seen(self, instead: Mapping[sp.Symbol, sp.Expr]) -> Watched:
        """The same where something is seen in the place of a state."""
        noise = {s: [b.xreplace(instead) for b in row] for s, row in (self.noise or {}).items()}
        return replace(
            self,
            levels=tuple(e.xreplace(instead) for e in self.levels),
            noise=noise if self.noise is not None else None,
            rates=tuple(e.xreplace(instead) for e in self.rates),
            changes=tuple({s: e.xreplace(instead) for s, e in change.items()} for change in self.changes),
        )

    def spread(self, level: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
        """Covariance per unit time of each state with an excess, where it is not 0."""
        assert self.noise is not None
        slopes = {s: slope(level, s) for s in self.noise if level.has(s)}
        width = max((len(row) for row in self.noise.values()), default=0)
        along = [sp.Add(*(g * self.noise[s][j] for s, g in slopes.items())) for j in range(width)]
        found = {s: sp.Add(*(b * a for b, a in zip(row, along, strict=True))) for s, row in self.noise.items()}
        return {s: c for s, c in found.items() if c != 0}

    @property
    def variances(self) -> list[sp.Expr]:
        """By level, 0 where it is looked at after steps."""
        return [self.variance(g) if seen else sp.S.Zero for g, seen in zip(self.levels, self.bridged, strict=True)]

    def variance(self, level: sp.Expr) -> sp.Expr:
        """Of an excess, per unit time."""
        return sp.Add(*(slope(level, s) * c for s, c in self.spread(level).items()))

    def bridge(self, f: sp.Expr, moving: Set[sp.Symbol], then: Mapping[sp.Basic, sp.Expr]) -> sp.Expr:
        """The variance of f over a step to the states `then`: 0 where f asks for all of an extreme and another entry
        has become it, as the bridge of the first does not see that one. moving: the states that have noise."""
        return self.variance(f) * led(f, moving, then)


def noise_rows(problem: SDE) -> dict[sp.Symbol, list[sp.Expr]]:
    """Rows of the diffusion by state, the Brownian motions' own among them."""
    b, unit = problem.diffusion_matrix, sp.eye(problem.noises)
    rows = {s: list(b.row(i)) for i, s in enumerate(problem.states)}
    return rows | {w: list(unit.row(j)) for j, w in enumerate(problem.W)}


def noisy(problem: SDE) -> set[sp.Symbol]:
    """The states that have noise, the Brownian motions among them."""
    return {s for s, row in noise_rows(problem).items() if any(b != 0 for b in row)}


def emit_hybrid(
    step: StepMap,
    observables: Mapping[str, sp.Expr],
    watched: Watched,
    accumulation: Accumulation | RowSlopes | None = None,
    dtype: str = "float64",
    shared_rows: bool = False,
) -> Module:
    """Text and manifest, as `emit` has them."""
    rows = len(step.states) * 2 + len(step.inputs) * 2 + (len(accumulation.z) if accumulation else 0)
    lanes = lane_count(rows, dtype)
    numbers = Numbers(len(step.parameters) + sum(a.table.size for a in averages(observables.values())))
    fixed = {s: f"p[{j}]" for j, s in enumerate(step.parameters)} | {h: "h[{0}]", t: "t[{0}]"}

    def places(**arrays: Sequence[sp.Symbol]) -> dict[sp.Symbol, str]:
        return {s: f"{name}[{{{j}}}]" for name, all_ in arrays.items() for j, s in enumerate(all_)} | fixed

    def function(signature: str, target: str, results: Sequence[sp.Expr], at: Any, **more: Any) -> str:
        statements = more.pop("statements", ())
        return function_text(signature, lanes, statements, at, target, results, dtype=dtype, numbers=numbers, **more)

    def write(signature: str, statements: Any, at: Any, target: str, results: Sequence[sp.Expr]) -> str:
        return function(signature, target, results, at, statements=statements)

    x = places(x=step.states)
    watch = [*watched.levels, *watched.variances, *watched.rates]
    parts = [
        step_text(write, step, lanes, dtype, places(x=step.states, n=step.inputs), step.updates, numbers),
        function("observe(x, t, p, out)", "out", tuple(observables.values()), x, tables=len(step.parameters)),
        function("watch(x, t, p, out)", "out", watch, x),
    ]
    if any(watched.bridged):
        y = [sp.Symbol(f":y_{j}", real=True) for j in range(len(step.states))]
        level, share = sp.Symbol(":level", real=True), sp.Symbol(":share", real=True)
        statements, results = _arrival(step, watched, y, level, share)
        at = places(x=step.states, y=y, e=(level, share))
        parts.append(function("arrive(y, x, e, h, t, p)", "x", results, at, statements=statements))
    if watched.changes:
        which = sp.Symbol(":change", real=True)
        results = [
            sp.Piecewise(*((c[s], sp.Eq(which, j + 1)) for j, c in enumerate(watched.changes) if s in c), (s, True))
            for s in step.states
        ]
        at = places(x=step.states, e=(which,), m=watched.sizes)
        parts.append(function("change(x, e, m, t, p)", "x", results, at))
    if accumulation:
        at = places(x=step.states, z=accumulation.z)
        more = {"statements": accumulation.statements, "weight": "w", "shared_rows": shared_rows}
        signature = "sweep(x, z, w, n, p, rows)" if shared_rows else "accumulate(x, z, w, n, p)"
        parts.append(function(signature, "n", accumulation.terms, at, **more))
    described = manifest_of(step, observables, accumulation, lanes, dtype, "hybrid")
    return module(parts, described, numbers.numbers())


def _arrival(
    step: StepMap, watched: Watched, y: Sequence[sp.Symbol], level: sp.Symbol, share: sp.Symbol
) -> tuple[list[Statement], list[sp.Expr]]:
    """The state on the line from y to x, moved along the noise onto the level: the mean of the bridge there."""
    line = [a + (b - a) * share for a, b in zip(y, step.states, strict=True)]
    statements: list[Statement] = []
    seen = [(k, g) for k, g in enumerate(watched.levels) if watched.bridged[k]]
    curved = any(
        set(slope(g, s).free_symbols) & set(step.states) for _, g in seen for s in step.states if g.has(s)
    ) or any(
        sp.sympify(b, strict=True).free_symbols & set(step.states)
        for row in (watched.noise or {}).values()
        for b in row
    )
    now = line
    for turn in range(2 if curved else 1):
        here = [sp.Symbol(f":z{turn}_{j}", real=True) for j in range(len(y))]
        statements += zip(here, now, strict=True)
        at = {**dict(zip(step.states, here, strict=True)), t: t + h}
        pulls: list[tuple[int, dict[sp.Symbol, sp.Expr]]] = []
        for k, g in seen:
            variance = sp.Symbol(f":spread{turn}_{k}", real=True)
            excess = sp.Symbol(f":excess{turn}_{k}", real=True)
            statements += [(variance, watched.variance(g).xreplace(at)), (excess, g.xreplace(at))]
            over = sp.Piecewise((excess / variance, variance > 0), (0, True))
            pulls.append((k, {s: c.xreplace(at) * over for s, c in watched.spread(g).items()}))
        now = []
        for s, z in zip(step.states, here, strict=True):
            own = [(z - p[s], sp.Eq(level, k + 1)) for k, p in pulls if s in p]
            now.append(sp.Piecewise(*own, (z, True)) if own else z)
    final = [sp.Symbol(f":there_{j}", real=True) for j in range(len(y))]
    statements += zip(final, now, strict=True)
    begin, there = (dict(zip(step.states, of, strict=True)) for of in (y, final))
    ends = there | {c.symbol: c.after(begin, there) for c in watched.carried}
    moved = [sp.Piecewise((ends[s], level > 0), (s, True)) for s in step.states]
    return statements, moved
