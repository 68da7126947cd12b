"""Text of equations whose paths stop, jump or are reset.

Every lane has a clock of its own, and beside step and observe there are

    watch(x, t, p, out)         excesses over levels, their variances per unit time, rates of Poisson clocks
    reach(y, x, e, h, t, p, out)    of levels that are bent: what they are where the bridge is furthest, and that place
    arrive(y, x, e, h, t, p)    the state where a step meets a level (docs/theory.md eq. (6.8))
    change(x, e, m, t, p)       the state that a change leaves behind; m: base variables of its sizes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from symbolic.codegen.bridge_text import Meeting, arrival, furthest
from symbolic.codegen.emit import Module, function_text, lane_count, manifest_of, module
from symbolic.codegen.lookup_text import Numbers
from symbolic.codegen.row_loops import averages
from symbolic.codegen.solve_text import step_text
from symbolic.dynamics.bridge_points import Noise
from symbolic.dynamics.path_functionals import Carried, values
from symbolic.dynamics.step_map import Accumulation, RowSlopes, StepMap, h, t


@dataclass(frozen=True)
class Watched:
    """What is watched along a path, in states and time.

    levels: excesses, positive beyond; noise: None where all levels are looked at after steps only; bridged: by level,
    whether it is seen between steps; rates: of Poisson clocks; changes: {state: value} each, in states, time and
    `sizes`, base variables.
    """

    levels: tuple[sp.Expr, ...]
    noise: Noise | None = None
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
        return replace(
            self,
            levels=tuple(e.xreplace(instead) for e in self.levels),
            noise=None if self.noise is None else self.noise.seen(instead),
            rates=tuple(e.xreplace(instead) for e in self.rates),
            changes=tuple({s: e.xreplace(instead) for s, e in change.items()} for change in self.changes),
        )

    @property
    def variances(self) -> list[sp.Expr]:
        """By level, 0 where it is looked at after steps."""
        pairs = zip(self.levels, self.bridged, strict=True)
        return [self.noise.variance(g) if seen and self.noise else sp.S.Zero for g, seen in pairs]

    @property
    def bent(self) -> list[int]:
        """By level, its number among those whose bridge their ends do not say, -1 for others."""
        found = [
            bool(seen and self.noise and self.noise.bent(g)) for g, seen in zip(self.levels, self.bridged, strict=True)
        ]
        return [sum(found[:k]) if is_bent else -1 for k, is_bent in enumerate(found)]


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
        meeting = Meeting(*(sp.Symbol(f":{name}", real=True) for name in ("level", "share", "place", "length")))
        statements, results = arrival(step, watched, y, meeting)
        at = places(x=step.states, y=y, e=(meeting.level, meeting.share, meeting.place, meeting.length))
        parts.append(function("arrive(y, x, e, h, t, p)", "x", results, at, statements=statements))
        if any(row >= 0 for row in watched.bent):
            statements, results, rows_of = furthest(step, watched, y)
            at = places(x=step.states, y=y, e=rows_of)
            parts.append(function("reach(y, x, e, h, t, p, out)", "out", results, at, statements=statements))
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
    return module(parts, {**described, "bent": watched.bent}, numbers.numbers())
