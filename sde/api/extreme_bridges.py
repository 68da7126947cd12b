"""Which running extremes of a run have their bridge in every step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from sde.settings import Gather
from symbolic.arrays.building import array
from symbolic.arrays.expression import Past, walk
from symbolic.arrays.extremes import concave as concave_array
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.bridge_points import noise_of
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.extremes import concave
from symbolic.dynamics.path_functionals import RunningMax
from symbolic.problem.loss import Loss


def description(problem: Loss | SDE, gather: Gather) -> str | None:
    """What a result says of its running extremes: "bridge", or "bridge; in part: " and the names of observables, events
    and jumps whose extremes have it only in steps in which one entry leads; None where there are no extremes."""
    found, partly = False, list[str]()
    if isinstance(problem, Loss):
        return None
    for name, value in _named(problem, gather):
        extremes = list(_extremes(problem, value))
        found = found or bool(extremes)
        if any(in_part(problem, f) for f in extremes):
            partly.append(name)
    return f"bridge; in part: {', '.join(dict.fromkeys(partly))}" if partly else "bridge" if found else None


def in_part(problem: SDE, f: Any) -> bool:
    """Whether the largest value of f has its bridge only in steps in which one entry leads."""
    if isinstance(problem, ArraySDE):
        return concave_array(f, problem.noisy)
    return concave(f, noise_of(problem).moving)


def _named(problem: SDE, gather: Gather) -> Iterator[tuple[str, Any]]:
    yield from (gather.observables or {}).items()
    yield from (gather.events or {}).items()
    for k, j in enumerate(problem.jumps):
        for value in (*j.changes.values(), *(v for v in (j.rate, j.when) if v is not None)):
            yield f"jumps[{k}]", value


def _extremes(problem: SDE, value: Any) -> Iterator[Any]:
    """What the running extremes in an expression, or an array of them, are of."""
    if isinstance(problem, ArraySDE):
        nodes = walk(problem.in_states([array(value)]))
        yield from (n.args[0] for n in nodes if isinstance(n, Past) and n.data == ("running_max",))
        return
    for e in np.array(value.tolist() if isinstance(value, sp.NDimArray) else value, dtype=object).ravel():
        for node in sp.sympify(e, strict=True).atoms(RunningMax):
            yield node.args[0]
