"""Where paths begin, from what a user gives for each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sde.engine.initial_states import InitialStates, of_part
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError
from symbolic.problem.parameter import Parameter, assign


def reader(parts: Sequence[Parameter], start: Mapping[Any, Any], paths: int, seed: int, width: int) -> InitialStates:
    """start as a function of path numbers, (first, n) -> (n, width); columns past the parameters (velocities) are 0.

    Values are numbers or arrays of the parameter's shape (all paths alike), arrays (paths, *shape), or laws (Normal,
    Uniform, Laplace, Bernoulli with numbers). Raises InputError with all problems at once.
    """
    columns, at = {}, 0
    for p in parts:
        columns[p.name] = at
        at += len(p.symbols)

    def read(p: Parameter, here: str, value: Any) -> Any:
        at = columns[p.name]
        return at, len(p.symbols), of_part(p.symbols, p.shape, value, paths, seed, at, here)

    return InitialStates(width, tuple(assign("start", parts, start, read)))


def check_domains(problem: Any, states: np.ndarray) -> None:
    """Raise InputError where paths (n, width) begin outside the domains of an SDE's states."""
    kept = problem.states if isinstance(problem, SDE) and problem.domain else ()
    ends = np.cumsum([0, *(s.size if problem.arrays else 1 for s in kept)])
    for s, first, end in zip(kept, ends[:-1], ends[1:], strict=True):
        domain, column = problem.domain.get(s), states[:, first:end]
        if domain is not None and not domain.holds(float(column.min()), float(column.max())):
            outside = column[(column < float(domain.low)) | (column > float(domain.high))]
            where, rule = f"start[{s.name}]", f"must be in the state's domain, {domain}"
            raise InputError.of(where, rule, float(outside[0]) if len(outside) else float("nan"), "Start within it.")
