"""When in a run something jumps by time alone: coefficients, rates, levels, and what is added up along paths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp

from sde.settings import Gather
from symbolic.codegen.prepare import in_states
from symbolic.dynamics import discontinuities
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.jump import excess
from symbolic.dynamics.path_functionals import PathFunctional
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.optimizer import t as learning_time


def of_problem(
    problem: Loss | SDE, gather: Gather, time: float, began: float, values: Mapping[sp.Symbol, float]
) -> list[float]:
    """Times, of a run of length `time` from `began`, at which steps are to end. values: numbers of parameters. Raises
    InputError."""
    if isinstance(problem, SDE) and problem.arrays:
        return []
    looked, named = list[sp.Expr](), list[sp.Expr]()
    jumps = problem.jumps if isinstance(problem, SDE) else ()
    if isinstance(problem, SDE) and time_symbol in problem.scalars:
        looked += [*problem.drift_vector, *problem.diffusion_matrix]
    levels = [(f"events[{name}]", e) for name, e in (gather.events or {}).items()]
    levels += [(f"jumps[{k}]", j.when if j.rate is None else j.rate) for k, j in enumerate(jumps) if j.at is None]
    looked += [in_states(where, excess(e), problem) for where, e in levels]
    for k, j in enumerate(jumps):
        named += [in_states(f"jumps[{k}]", e, problem, j.drawn) for e in j.changes.values()]
    for name, value in (gather.observables or {}).items():
        named += [in_states(f"observables[{name}]", e, problem) for e in np.array(value, dtype=object).ravel()]
    added = [node.args[0] for e in (*looked, *named) for node in e.atoms(PathFunctional)]
    return discontinuities.jumps(looked, time_symbol, time, values, began, [e for e in added if isinstance(e, sp.Expr)])


def of_schedule(sgd: SGD | None, time: float, began: float) -> list[float]:
    """The same of a schedule."""
    if sgd is None or sgd.schedule is None:
        return []
    return discontinuities.jumps([sgd.schedule], learning_time, time, {}, began)
