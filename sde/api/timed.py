"""What a run looks at in time beside its coefficients: rates of jumps, levels, and what is added up or has its extreme
along paths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp

from sde.settings import Gather
from symbolic.arrays.building import mapped
from symbolic.arrays.expression import Array, Past, constant, walk
from symbolic.codegen.prepare import in_states
from symbolic.codegen.prepare_arrays import observed
from symbolic.dynamics import array_jump
from symbolic.dynamics.array_equation import CLOCK, ArraySDE
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.path_functionals import PathFunctional, RunningMax, TimeIntegral
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.problem.loss import Loss


@dataclass(frozen=True)
class Timed:
    """By name, in the time of a run: rates of jumps and levels (of events and of jumps' conditions), and what integrals
    and running extremes in any formula of it are of."""

    rates: dict[str, Any] = field(default_factory=dict[str, Any])
    levels: dict[str, Any] = field(default_factory=dict[str, Any])
    integrands: dict[str, Any] = field(default_factory=dict[str, Any])
    extremes: dict[str, Any] = field(default_factory=dict[str, Any])

    def summed(self) -> dict[str, Any]:
        """What adds up over time and moves with it, paths' pasts aside."""
        return _moving(self.rates | self.integrands)

    def reaching(self) -> dict[str, Any]:
        """What counts by its largest value and moves with time, paths' pasts aside."""
        return _moving(self.levels | self.extremes)


NOTHING = Timed()


def of_problem(problem: Loss | SDE, gather: Gather) -> Timed:
    """What a run of a problem looks at. Raises InputError."""
    jumps = problem.jumps if isinstance(problem, SDE) else ()
    levels = {f"events[{name}]": e for name, e in (gather.events or {}).items()}
    levels |= {f"jumps[{k}].when": j.when for k, j in enumerate(jumps) if j.when is not None}
    rates = {f"jumps[{k}].rate": j.rate for k, j in enumerate(jumps) if j.rate is not None}
    seen = {f"observables[{name}]": value for name, value in (gather.observables or {}).items()}
    if isinstance(problem, ArraySDE):
        rates = {where: array_jump.rates(problem, where, e).sum() for where, e in rates.items()}
        levels = {where: array_jump.single(problem, where, array_jump.excess(e)) for where, e in levels.items()}
        others = {where: observed(problem, where, e) for where, e in seen.items()}
        past = [n for n in walk([*rates.values(), *levels.values(), *others.values()]) if isinstance(n, Past)]
        of = {kind: {str(n): n.args[0] for n in past if (n.data[0] == "integral") == kind} for kind in (True, False)}
        return Timed(rates, levels, of[True], of[False])
    rates = {where: in_states(where, e, problem) for where, e in rates.items()}
    levels = {where: in_states(where, array_jump.excess(e), problem) for where, e in levels.items()}
    others = {
        f"jumps[{k}].changes[{s}]": in_states(f"jumps[{k}]", e, problem, j.drawn)
        for k, j in enumerate(jumps)
        for s, e in j.changes.items()
    }
    for where, value in seen.items():
        entries = np.array(value, dtype=object).ravel()
        others |= {f"{where}[{k}]": in_states(where, e, problem) for k, e in enumerate(entries)}
    nodes = {n for e in (*rates.values(), *levels.values(), *others.values()) for n in e.atoms(PathFunctional)}
    clock = problem.time if isinstance(problem, SDE) else None
    words = {} if clock is None else {time_symbol: clock}
    sums, extremes = (
        {str(n.xreplace(words)): n.args[0] for n in sorted(nodes, key=str) if isinstance(n, kind)}
        for kind in (TimeIntegral, RunningMax)
    )
    return Timed(rates, levels, sums, extremes)


def _moving(named: dict[str, Any]) -> dict[str, Any]:
    now = {where: _now(e) for where, e in named.items()}
    return {where: e for where, e in now.items() if _follows_time(e)}


def _now(e: Any) -> Any:
    """As at a path's beginning: extremes are what they are of, integrals 0."""
    if not isinstance(e, Array):
        return e.replace(RunningMax, lambda f: f).replace(TimeIntegral, lambda f: sp.S.Zero)
    while past := [n for n in walk([e]) if isinstance(n, Past)]:
        first = past[0]
        here = first.args[0] * constant(0.0) if first.data[0] == "integral" else first.args[0]
        instead: dict[Array, Array] = {first: here}
        (e,) = mapped([e], instead.get)
    return e


def _follows_time(e: Any) -> bool:
    nodes: Iterable[Any] = walk([e]) if isinstance(e, Array) else e.free_symbols
    return (CLOCK if isinstance(e, Array) else time_symbol) in set(nodes)
