"""One-step stochastic maps, one formula a file, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from symbolic.schemes import euler_maruyama, sgd, sgd_momentum
from symbolic.sde import SDE, LossDynamics, weight_decay
from symbolic.stepmap import StepMap, h, t

beta = sp.Symbol(":momentum", real=True)


@dataclass(frozen=True)
class Scheme:
    """A scheme's table row and formula. calculus: "ito", "stratonovich" or "discrete"; strong and weak: orders as text."""

    name: str
    calculus: str
    noise: str
    strong: str
    weak: str
    reference: str
    step: Callable[..., Any]


SCHEMES: dict[str, Scheme] = {
    m.NAME: Scheme(m.NAME, m.CALCULUS, m.NOISE, m.STRONG, m.WEAK, m.REFERENCE, m.step)
    for m in (euler_maruyama, sgd, sgd_momentum)
}


def step_map(problem: SDE | LossDynamics, scheme: str) -> StepMap:
    """The one-step map of a problem under a scheme. Raises ValueError for an unknown name or a wrong pairing."""
    if scheme not in SCHEMES:
        known = ", ".join(name for name, s in SCHEMES.items() if s.calculus != "discrete")
        raise ValueError(
            f"scheme: must be one of {known}; got {scheme!r} ({type(scheme).__name__}). See `noetherflow schemes`."
        )
    chosen = SCHEMES[scheme]
    x = sp.ImmutableMatrix(problem.states)
    if isinstance(problem, SDE):
        if chosen.calculus == "discrete":
            raise ValueError(f"scheme: {scheme} is a minibatch optimiser; got a general SDE. Use euler-maruyama.")
        if chosen.calculus != problem.interpretation and problem.noise_class != "additive":
            raise ValueError(
                f"scheme: {scheme} integrates {chosen.calculus} equations; got one written in the {problem.interpretation} sense. "
                "Convert the drift (add or subtract half of the sum of B_j . grad B_j), or choose a scheme of that calculus."
            )
        dW = sp.ImmutableMatrix([sp.Symbol(f":dW_{j}", real=True) for j in range(problem.noises)])
        updates = chosen.step(problem, x, t, h, dW)
        return StepMap(f"{problem.name}:{scheme}", problem.states, tuple(dW), (), (), tuple(updates))
    inputs = sp.ImmutableMatrix(problem.inputs)
    if scheme == sgd_momentum.NAME:
        v = sp.ImmutableMatrix([sp.Symbol(f":v_{s.name}", real=True) for s in problem.states])
        position, velocity = chosen.step(problem, x, v, beta, t, h, inputs)
        return StepMap(
            f"{problem.name}:{scheme}",
            (*problem.states, *v),
            problem.inputs,
            (weight_decay, beta),
            problem.statements,
            (*position, *velocity),
        )
    updates = chosen.step(problem, x, t, h, inputs)
    return StepMap(
        f"{problem.name}:map", problem.states, problem.inputs, (weight_decay,), problem.statements, tuple(updates)
    )
