"""The one-step map of an equation, or of a loss, under a scheme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from symbolic.dynamics.equation import SDE
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.step_map import StepMap, h, t
from symbolic.errors import InputError
from symbolic.schemes import walls
from symbolic.schemes.choice import check_pairing, find
from symbolic.schemes.noise_inputs import Naming
from symbolic.schemes.scheme import Scheme

beta = sp.Symbol(":momentum", real=True)
SIZE = ":size"
size = sp.Symbol(SIZE, real=True, positive=True)
"""The root mean square of |x| in a run, for formulas that must not depend on the states' unit."""
MOST_INPUTS = 4096


def step_map(problem: SDE | LossDynamics, scheme: str) -> StepMap:
    """The one-step map of a problem under a scheme. Raises InputError for an unknown name or a wrong pairing."""
    chosen, terms = find(scheme)
    if isinstance(problem, SDE):
        check_pairing(problem, chosen)
        return _of_equation(problem, scheme, chosen, terms)
    if not chosen.steps_losses:
        raise InputError(
            f"scheme: {scheme} needs drift and diffusion as formulas; got a loss, whose noise is in its inputs. "
            "Use euler-maruyama, or SDE.from_loss(loss, sgd)."
        )
    return _of_loss(problem, chosen)


def _of_equation(problem: SDE, scheme: str, chosen: Scheme, terms: int | None) -> StepMap:
    own = chosen.auxiliary(problem)
    noise = chosen.noise_inputs(problem.noises, terms, own + walls.draws(problem))
    let, x = Naming(), sp.ImmutableMatrix(problem.states)
    if len(noise.inputs) > MOST_INPUTS:
        raise InputError(
            f"scheme: a step takes at most {MOST_INPUTS} normals; got {len(noise.inputs)} for {scheme} with"
            f" {problem.noises} noises. Take fewer terms, or another scheme."
        )
    offered: dict[str, Callable[[], Any]] = {
        "sde": lambda: problem,
        "x": lambda: x,
        "t": lambda: t,
        "dt": lambda: h,
        "dW": lambda: noise.coefficients[0],
        "dZ": lambda: noise.dZ,
        "squares": lambda: noise.squares,
        "integrals": lambda: let(noise.integrals),
        "auxiliary": lambda: noise.extra[:own, :],
        "let": lambda: let,
        "size": lambda: size,
    }
    updates = chosen.step(**{name: offered[name]() for name in chosen.inputs})
    if problem.domain:
        updates = walls.kept(problem, updates, iter(noise.extra[own:]), let)
    pace = chosen.pace(problem, x, t, h, size) if chosen.pace else None
    sized = "size" in chosen.inputs or pace is not None
    return StepMap(
        f"{problem.name}:{scheme}",
        problem.states,
        noise.inputs,
        (*problem.parameters, *((size,) if sized else ())),
        tuple(let.statements),
        tuple(updates),
        pace,
        chosen.seen(problem),
        let.solved,
        let.modal,
    )


def _of_loss(problem: LossDynamics, chosen: Scheme) -> StepMap:
    x, inputs = sp.ImmutableMatrix(problem.states), sp.ImmutableMatrix(problem.inputs)
    offered = {"x": x, "t": t, "beta": beta}
    offered |= dict.fromkeys(("sde", "loss"), problem) | dict.fromkeys(("dt", "eta"), h)
    offered |= dict.fromkeys(("dW", "minibatch"), inputs)
    if "v" not in chosen.inputs:
        updates = chosen.step(**{name: offered[name] for name in chosen.inputs})
        name, states, parameters = f"{problem.name}:map", problem.states, problem.parameters
        return StepMap(name, states, problem.inputs, parameters, problem.statements, tuple(updates))
    v = sp.ImmutableMatrix([sp.Symbol(f":v_{s.name}", real=True) for s in problem.states])
    position, velocity = chosen.step(**{name: (offered | {"v": v})[name] for name in chosen.inputs})
    return StepMap(
        f"{problem.name}:{chosen.name}",
        (*problem.states, *v),
        problem.inputs,
        (*problem.parameters, beta),
        problem.statements,
        (*position, *velocity),
    )
