"""Why paths were lost: the state before the fatal step, and the function that has no value there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import sympy as sp

from sde.api.formulas_at import formulas_at, values_of
from sde.engine.dataset import Explain
from sde.engine.plan import Plan
from sde.engine.rerun import state_at, step_of
from sde.kernels.drivers import Halved
from sde.kernels.hybrid.turns import MOST_TURNS
from symbolic.codegen.prepare import Prepared
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.jump import excess
from symbolic.dynamics.step_map import h, t
from symbolic.functions.domains import Evaluator, Finding
from symbolic.problem.loss import Loss
from symbolic.schemes import find, step_map

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
    if isinstance(problem, SDE) and problem.jumps and (found := _of_rates(problem, prepared, plan, entry, step, until)):
        return found
    gave_up = find(scheme)[0].estimates and np.isnan(entry["value"])  # it is where a step begins that cannot be taken
    if gave_up and step < plan.clock.steps and plan.clock.at(np.array([step]))[0] <= entry["time"]:
        step += 1
    if step == 0:
        made = _of_changes(problem, prepared, plan, entry, state_at(plan, int(entry["path"]), 0, until), 0.0)
        return made or {
            "reason": "the start itself is beyond the bound",
            "advice": "Start elsewhere, or give a larger bound",
        }
    state = state_at(plan, int(entry["path"]), step - 1, until)
    begin, end = (float(v) for v in plan.clock.at(np.array([step - 1, step])))
    position = f"in the step from time {begin:.6g}"
    if state is not None:
        position += f", where {_shown_state(prepared, state)}"
    if isinstance(problem, SDE) and problem.arrays and state is not None:
        found = formulas_at(problem, prepared, plan, state, begin).coefficients()
        if found:
            return {"reason": f"{found.text}, {position}", "advice": found.advice or _smaller(problem, scheme)}
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
    if made := _of_conditions(problem, prepared, plan, known, position):
        return made
    if gave_up:
        assert isinstance(plan.driver, Halved)
        missed = f"its steps became shorter than dt/2**21 and still missed the tolerance, {plan.driver.tolerance:g}"
        found = next(iter(suspects), None)
        near = f", perhaps by {found.function}, whose {found.argument} was {found.value:.6g} before" if found else ""
        advice = "Give a larger tolerance, or a scheme whose steps are dt (euler-maruyama, milstein)"
        advice = f"{found.advice}. {advice}" if found and found.advice else advice
        return {"reason": f"{missed}{near}, {position}", "advice": advice}
    if state is None:
        reason = f"{position}; its steps before would take more than {SECONDS:g} s again"
        return {"reason": reason, "advice": "See the states before by keep='paths' with the same seed"}
    if made := _of_changes(problem, prepared, plan, entry, state, begin):
        return made
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
    many = ", or the path needed more than 2**20 of them," if own else ""
    return {"reason": f"{stage} gave no number{many} {position}", "advice": _smaller(problem, scheme)}


def _of_rates(
    problem: SDE, prepared: Prepared, plan: Plan, entry: Mapping[str, Any], step: int, until: float
) -> dict[str, Any] | None:
    """What is said of a path whose rate of jumps is no finite number where a step begins, or has too many in it."""
    times = plan.clock.at(np.arange(max(step - 1, 0), min(step + 2, plan.clock.steps + 1)))
    here = [(k, float(time)) for k, time in zip(range(max(step - 1, 0), step + 1), times, strict=False)]
    for number, time in reversed([one for one in here if one[1] <= entry["time"] * (1 + 1e-12)]):
        state = state_at(plan, int(entry["path"]), number, until)
        if state is None or not np.isfinite(state[: len(state) - plan.program.carried]).all():
            continue
        formulas, position = formulas_at(problem, prepared, plan, state, time), _shown_state(prepared, state)
        for k, j in enumerate(problem.jumps):
            if j.rate is None:
                continue
            found, value = formulas.rate(j)
            if found:
                reason = f"jumps[{k}].rate is no finite number: {found.text}, at time {time:.6g}, where {position}"
                return {"reason": reason, "advice": found.advice or "Give a rate that is finite wherever paths go"}
            length = float(plan.clock.at(np.array([min(number + 1, plan.clock.steps)]))[0]) - time
            if value is not None and value * length > MOST_TURNS / 2:
                reason = f"jumps[{k}].rate = {value:.6g} would make about {value * length:.3g} jumps in the step from"
                more = f"{reason} time {time:.6g}, where {position}; there may be {MOST_TURNS}"
                return {"reason": more, "advice": "Take a smaller dt, or many jumps as one"}
    return None


def _of_changes(
    problem: Loss | SDE,
    prepared: Prepared,
    plan: Plan,
    entry: Mapping[str, Any],
    state: np.ndarray | None,
    time: float,
) -> dict[str, Any] | None:
    """What is said of a path that a jump may have lost, of the state where a step began."""
    if not isinstance(problem, SDE) or state is None or not problem.jumps:
        return None
    formulas = formulas_at(problem, prepared, plan, state, time)
    for k, j in enumerate(problem.jumps):
        if j.at is None or np.isclose(j.at, entry["time"], rtol=1e-9, atol=0).any():
            for s, found in formulas.changes(k, j):
                if found:
                    reason = f"jumps[{k}].changes[{s}] has no finite value: {found.text}, at time {entry['time']:.6g},"
                    more = f"{reason} as it is where {_shown_state(prepared, state)}"
                    return {"reason": more, "advice": found.advice or "Give what is finite wherever paths jump"}
    return None


def _of_conditions(
    problem: Loss | SDE, prepared: Prepared, plan: Plan, state: np.ndarray, position: str
) -> dict[str, Any] | None:
    """What is said of a path that a change may have lost which leaves its own condition true, where it is met."""
    if not isinstance(problem, SDE) or problem.arrays:
        return None
    values = {s: v for s, v in values_of(problem, prepared, plan, state).items() if s in problem.parameters}
    for k, j in enumerate(problem.jumps):
        if j.when is None or not set(j.changes) & (before := sp.sympify(excess(j.when), strict=True)).free_symbols:
            continue
        after = sp.expand(before.xreplace({s: sp.sympify(e, strict=True) for s, e in j.changes.items()}))
        before, after = before.xreplace(values), after.xreplace(values)
        share = after if after.is_number else sp.cancel(after / before)
        if share.is_number and share.is_nonnegative:
            reason = f"jumps[{k}] leaves its condition {j.when} at its edge or true, so that it is made for ever,"
            return {"reason": f"{reason} {position}", "advice": "Let the change take the path away from its condition"}
    return None


def _shown_state(prepared: Prepared, state: np.ndarray) -> str:
    named = [(n, v) for n, v in zip(_names(prepared), state, strict=False) if n.partition("[")[0].isidentifier()]
    shown = ", ".join(f"{n} = {v:.6g}" for n, v in named[:6])
    return shown + (f" and {len(named) - 6} more" if len(named) > 6 else "")


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
    dynamics = prepared.dynamics
    if isinstance(problem, SDE):
        values = values_of(problem, prepared, plan, state) | {t: time, h: length}
        yield values, _formulas(problem)
        if len(problem.states) > MOST_STATES:
            return
        made = step_map(problem, scheme)
        yield from _statements(values, made.first, made.ends, plan)
        return
    values = dict(zip(dynamics.states, map(float, state), strict=False)) | {t: time, h: length}
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
