"""Why paths were lost: the state before the fatal step, and the function that has no value there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import sympy as sp

from sde.engine.dataset import Explain
from sde.engine.plan import Plan
from sde.engine.rerun import state_at, step_of
from symbolic.codegen.prepare import Prepared
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.step_map import h, t
from symbolic.functions.domains import Evaluator, Finding
from symbolic.problem.loss import Loss
from symbolic.schemes import find, size, step_map

EXPLAINED, SECONDS, ROWS, MOST_STATES = 3, 1.0, 64, 64
"""How many paths are explained, how long that may take in all, how many rows of data are tried for a sample that did
it, and of how many states a step's own formulas are looked at (they are made again)."""


def explainer(problem: Loss | SDE, prepared: Prepared, scheme: str, plan: Plan) -> Explain:
    """What explains the losses of a run: one short run again per path, and its formulas in plain floats."""

    def explain(exploded: list[dict[str, Any]]) -> None:
        until = perf_counter() + SECONDS
        for entry in exploded[:EXPLAINED]:
            if perf_counter() < until:
                entry.update(_why(problem, prepared, scheme, plan, entry, until))

    return explain


def _why(
    problem: Loss | SDE, prepared: Prepared, scheme: str, plan: Plan, entry: dict[str, Any], until: float
) -> dict[str, Any]:
    step = step_of(plan, entry["time"])
    if step == 0:
        start = "the start itself is beyond the bound" if np.isfinite(entry["value"]) else "the start is not a number"
        return {"reason": start, "advice": "Start elsewhere, or give a larger bound"}
    state = state_at(plan, int(entry["path"]), step - 1, until)
    begin, end = (float(v) for v in plan.clock.at(np.array([step - 1, step])))
    position = f"in the step from time {begin:.6g}"
    if state is not None:
        names = _names(prepared)
        before = ", ".join(f"{n} = {v:.6g}" for n, v in list(zip(names, state, strict=False))[:6])
        position += f", where {before}" + (f" and {len(state) - 6} more" if len(state) > 6 else "")
    suspects, stage = list[Finding](), ""
    known = np.empty(0) if state is None else state
    for values, expressions in _points(problem, prepared, scheme, plan, known, begin, end - begin):
        evaluator = Evaluator(values, plan.program.dtype.name, _shown(problem))
        found = evaluator.find(expressions)
        if found is not None and any(s.name.startswith(":") for s in found.node.free_symbols - {t}):
            found = evaluator.as_written(found, _formulas(problem))
            stage = f" at a stage of {scheme}"
        if found is not None:
            return {"reason": f"{found.text}{stage}, {position}", "advice": found.advice or _smaller(problem, scheme)}
        suspects = suspects or list(evaluator.suspects())
        if perf_counter() > until:
            break
    if state is None:
        again = "are not taken again" if plan.hybrid else f"would take more than {SECONDS:g} s again"
        reason = f"{position}; its steps before {again}"
        return {"reason": reason, "advice": "See the states before by keep='paths' with the same seed"}
    if not np.isnan(entry["value"]):
        where = "the bound" if np.isfinite(entry["value"]) else "the number range"
        return {"reason": f"it grew beyond {where} {position}", "advice": _smaller(problem, scheme)}
    own = find(scheme)[0].own_clock
    stage = "a step of the path's own" if own else f"a stage of {scheme}" if isinstance(problem, SDE) else "a sample"
    if suspects:
        near = suspects[0]
        reason = (
            f"{stage} gave no number, perhaps {near.function}, whose {near.argument} was {near.value:.6g} before,"
            f" {position}"
        )
        return {"reason": reason, "advice": near.advice}
    least = "shorter ones than dt/2**21" if find(scheme)[0].estimates else "more than 2**20 of them"
    gave_up = f", or the path needed {least}," if own else ""
    return {"reason": f"{stage} gave no number{gave_up} {position}", "advice": _smaller(problem, scheme)}


def _smaller(problem: Loss | SDE, scheme: str) -> str:
    """What to do about growth."""
    chosen = find(scheme)[0]
    if chosen.calculus == "discrete":
        return "Take a smaller learning rate"
    if chosen.own_clock and not chosen.estimates:
        return "Look whether the solution itself stays finite; if so, give a larger bound"
    return 'Take a smaller dt, or scheme="adaptive-euler", where the solution itself stays finite'


def _formulas(problem: Loss | SDE) -> tuple[sp.Basic, ...]:
    """The user's own formulas."""
    if isinstance(problem, SDE):
        return () if problem.arrays else (*problem.drift_vector, *problem.diffusion_matrix)
    return (problem.expression,)


def _names(prepared: Prepared) -> list[str]:
    return [str(s) for s in prepared.module.manifest["states"]]


def _shown(problem: Loss | SDE) -> dict[sp.Basic, sp.Basic]:
    clock = problem.time if isinstance(problem, SDE) and problem.time is not None else sp.Symbol("t", real=True)
    return {t: clock}


def _points(
    problem: Loss | SDE, prepared: Prepared, scheme: str, plan: Plan, state: np.ndarray, time: float, length: float
) -> Iterator[tuple[dict[sp.Symbol, float], Sequence[sp.Basic]]]:
    """Formulas of the step, the user's own first, with all that is known of their symbols."""
    if isinstance(problem, SDE) and problem.arrays:
        return
    dynamics, parameters = prepared.dynamics, [float(p) for p in plan.parameters]
    values: dict[sp.Symbol, float] = dict(zip(dynamics.states, map(float, state), strict=False))
    values |= {t: time, h: length}
    if isinstance(problem, SDE):
        rows = _names(prepared)
        own = {p: float(state[rows.index(p.name)]) for p in problem.parameters if p.name in rows}
        shared = (p for p in (*problem.parameters, size) if p not in own)
        values |= dict(zip(shared, parameters, strict=False)) | own
        yield values, _formulas(problem)
        if len(problem.states) > MOST_STATES:
            return
        made = step_map(problem, scheme)
        yield from _statements(values, made.first, made.ends, plan)
        return
    assert isinstance(dynamics, LossDynamics)
    rows = [(b.symbols, b.table) for b in problem.blocks if b.table is not None]
    samples: list[dict[sp.Symbol, float]] = [{}]
    if len(rows) == 1 and dynamics.features is None:
        symbols, table = rows[0]
        samples += [dict(zip(symbols, map(float, row), strict=True)) for row in table[:ROWS]]
    for sample in samples:
        yield values | sample, (problem.expression,)
    yield from _statements(values, dynamics.statements, tuple(dynamics.gradient), plan)
    accumulation = dynamics.accumulation
    for sample in samples[1:]:
        yield from _statements(values | sample, accumulation.statements, accumulation.terms, plan)


def _statements(
    values: dict[sp.Symbol, float], statements: Any, segment_ends: Sequence[sp.Basic], plan: Plan
) -> Iterator[tuple[dict[sp.Symbol, float], Sequence[sp.Basic]]]:
    """Named values in order, then what is made of them."""
    known = dict(values)
    for name, value in statements:
        yield known, (value,)
        made = Evaluator(known, plan.program.dtype.name)
        if made.find((value,)) is None and (number := made.value(value)) is not None:
            known[name] = number
    yield known, segment_ends
