"""When in a run something jumps by time alone: coefficients, rates, levels, and what is added up along paths."""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from sde.api.timed import Timed
from symbolic.dynamics import discontinuities
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.optimizer import t as learning_time


def of_problem(
    problem: Loss | SDE, timed: Timed, time: float, began: float, values: Mapping[sp.Symbol, float]
) -> list[float]:
    """Times, of a run of length `time` from `began`, at which steps are to end. values: numbers of parameters. Raises
    InputError."""
    if isinstance(problem, SDE) and problem.arrays:
        return []
    looked = [*timed.rates.values(), *timed.levels.values()]
    if isinstance(problem, SDE) and time_symbol in problem.scalars:
        looked += [*problem.drift_vector, *problem.diffusion_matrix]
    closed = [*timed.integrands.values(), *timed.extremes.values()]
    return discontinuities.jumps(looked, time_symbol, time, values, began, closed)


def of_schedule(sgd: SGD | None, time: float, began: float) -> list[float]:
    """The same of a schedule."""
    if sgd is None or sgd.schedule is None:
        return []
    return discontinuities.jumps([sgd.schedule], learning_time, time, {}, began)
