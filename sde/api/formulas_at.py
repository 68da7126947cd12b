"""What of an SDE's own formulas has no finite value at a state: of scalars, or of arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import sympy as sp

from sde.engine.plan import Plan
from symbolic.arrays import domains
from symbolic.arrays.building import array
from symbolic.arrays.evaluation import evaluate
from symbolic.arrays.expression import Past, walk
from symbolic.codegen.prepare import Prepared
from symbolic.dynamics import array_jump
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.jump import Jump
from symbolic.dynamics.step_map import t
from symbolic.functions.domains import Evaluator, Finding
from symbolic.schemes import size


class FormulasAt(Protocol):
    """Formulas at one state of a path."""

    def coefficients(self) -> Finding | None:
        """Of drift and diffusion."""
        ...

    def rate(self, j: Jump) -> tuple[Finding | None, float | None]:
        """Of a jump's rate, and its value, None where that is not known."""
        ...

    def changes(self, k: int, j: Jump) -> Iterable[tuple[Any, Finding | None]]:
        """Of what each state becomes by jump number k, as far as that hangs on no size."""
        ...


def formulas_at(problem: SDE, prepared: Prepared, plan: Plan, state: np.ndarray, time: float) -> FormulasAt:
    """The formulas at a state, rows of the program, at a time."""
    return (_Arrays if isinstance(problem, ArraySDE) else _Scalars)(problem, prepared, plan, state, time)


class _Scalars:
    def __init__(self, problem: SDE, prepared: Prepared, plan: Plan, state: np.ndarray, time: float) -> None:
        self.problem, self.values = problem, values_of(problem, prepared, plan, state) | {t: time}
        self.clock = {} if problem.time is None else {problem.time: t}
        self.evaluator = Evaluator(self.values, plan.program.dtype.name, {b: a for a, b in self.clock.items()})

    def coefficients(self) -> Finding | None:
        return self.evaluator.find((*self.problem.drift_vector, *self.problem.diffusion_matrix))

    def _find(self, e: Any) -> tuple[Finding | None, float | None]:
        e = sp.sympify(e, strict=True).xreplace(self.clock)
        found = self.evaluator.find((e,))
        return found, None if found else self.evaluator.value(e)

    def rate(self, j: Jump) -> tuple[Finding | None, float | None]:
        return self._find(j.rate)

    def changes(self, k: int, j: Jump) -> Iterable[tuple[Any, Finding | None]]:
        for state, value in j.changes.items():
            yield state, self._find(value)[0]


class _Arrays:
    def __init__(self, problem: SDE, prepared: Prepared, plan: Plan, state: np.ndarray, time: float) -> None:
        assert isinstance(problem, ArraySDE)
        self.problem, self.dtype, at = problem, plan.program.dtype.name, 0
        self.values: dict[Any, Any] = dict(zip(problem.parameters, map(float, plan.parameters), strict=False)) | {
            t: time
        }
        for s in problem.states:
            self.values[s], at = state[at : at + s.size].astype(float).reshape(1, *s.shape), at + s.size

    def coefficients(self) -> Finding | None:
        return domains.find([*self.problem.forces, *self.problem.strengths], self.values, self.dtype)

    def rate(self, j: Jump) -> tuple[Finding | None, float | None]:
        (node,) = self.problem.in_states([array(j.rate)])
        found = domains.find([node], self.values, self.dtype)
        if found or any(isinstance(n, Past) for n in walk([node])):
            return found, None
        return None, float(np.maximum(evaluate([node], self.values, 1)[0], 0).sum())

    def changes(self, k: int, j: Jump) -> Iterable[tuple[Any, Finding | None]]:
        for state, node in array_jump.changes(self.problem, f"jumps[{k}]", j).items():
            yield state, domains.find([node], self.values, self.dtype)


def values_of(problem: SDE, prepared: Prepared, plan: Plan, state: np.ndarray) -> dict[sp.Symbol, float]:
    """Values of an SDE's states and parameters, {symbol: number}."""
    parameters = [float(p) for p in plan.parameters]
    rows = [str(s) for s in prepared.module.manifest["states"]]
    values: dict[sp.Symbol, float] = dict(zip(problem.states, map(float, state), strict=False))
    own = {p: float(state[rows.index(p.name)]) for p in problem.parameters if p.name in rows and len(state)}
    shared = (p for p in (*problem.parameters, size) if p not in own)
    return values | dict(zip(shared, parameters, strict=False)) | own
