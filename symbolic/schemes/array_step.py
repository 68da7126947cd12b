"""The one-step map of an equation of arrays under a scheme: the scheme's own formula, of whole arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from symbolic.arrays.bundle import Bundle
from symbolic.arrays.expression import Array, Noise
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.domain import ABSORB
from symbolic.dynamics.step_map import h, t
from symbolic.errors import InputError
from symbolic.schemes import walls
from symbolic.schemes.choice import check_pairing, find
from symbolic.schemes.one_step import size

MOST_INPUTS = 16_384
"""Normals of a step: 2**14 of them, and as many states, are a megabyte or more per array of a block."""


@dataclass(frozen=True)
class ArrayStep:
    """One step. updates: of each state. inputs: rows of normals, `modes` coefficients of each of `noises` first.
    parameters: symbols of the constants of a run. seen: {state: what is saved and watched in its place}."""

    name: str
    updates: tuple[Array, ...]
    inputs: int
    modes: int
    parameters: tuple[sp.Symbol, ...]
    seen: Mapping[Array, Array]

    def carrying(self, inputs: Sequence[Array], updates: Sequence[Array]) -> ArrayStep:
        """The step that makes more than the states, of more normals. Raises InputError for too many."""
        total = self.inputs + sum(n.size for n in inputs)
        _check_inputs(total)
        return replace(self, updates=(*self.updates, *updates), inputs=total)


def array_step(problem: ArraySDE, scheme: str) -> ArrayStep:
    """The step. Raises InputError for a wrong pairing."""
    chosen, _ = find(scheme)
    check_pairing(problem, chosen)
    names = chosen.inputs
    modes = 2 if "dZ" in names else 1
    inputs = modes * problem.noises
    _check_inputs(inputs)
    x, dW = Bundle(problem.states), problem.noise(0)
    offered: dict[str, Any] = {
        "sde": problem,
        "x": x,
        "t": t,
        "dt": h,
        "dW": dW,
        "let": lambda value: value,
        "size": size,
        "squares": (dW**2 - h) / 2,
        "auxiliary": (),
    }
    if modes > 1:
        offered["dZ"] = (dW - problem.noise(problem.noises) / sp.sqrt(3)) * h / 2
    updates = chosen.step(**{name: offered[name] for name in names}).parts
    extra = list[Noise]()
    for s, domain in problem.domain.items():
        if domain.kind == ABSORB:
            extra.append(Noise.of(s.shape, (), (inputs,)))
            inputs += s.size
    _check_inputs(inputs)
    updates = tuple(walls.kept(problem, updates, iter(extra), lambda value: value))
    parameters = (*problem.parameters, *((size,) if "size" in names else ()))
    return ArrayStep(f"{problem.name}:{scheme}", updates, inputs, modes, parameters, chosen.seen(problem))


def _check_inputs(inputs: int) -> None:
    if inputs > MOST_INPUTS:
        rule = f"a step takes at most {MOST_INPUTS} normals"
        raise InputError.of("scheme", rule, inputs, "Take fewer states, or a scheme that takes one normal a noise.")
