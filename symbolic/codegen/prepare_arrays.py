"""An equation of arrays made ready for the engine: text of loops, and the table of numbers that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from symbolic.arrays import calls
from symbolic.arrays.building import array
from symbolic.arrays.expression import Array, Noise, walk
from symbolic.codegen.array_text import Function, Table, Target
from symbolic.codegen.emit import GROUP, Module, lane_count, module
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.step_map import h, t
from symbolic.errors import InputError
from symbolic.language import names as known_names
from symbolic.schemes import ArrayStep, array_step


def observed(problem: ArraySDE, where: str, value: Any) -> Array:
    """An observable as a node of states, time and parameters. Raises InputError."""
    (node,) = problem.resolved(where, [array(value, where)])
    return node


def emitted(
    problem: ArraySDE, scheme: str, observables: Mapping[str, Any], dtype: str
) -> tuple[Module, dict[str, tuple[int, ...]], ArrayStep]:
    """Text and manifest, the shape of each output, and the step. Raises
    InputError."""
    step = array_step(problem, scheme)
    outputs = {s.data[0]: s for s in problem.states}
    for name, value in observables.items():
        where = f"observables[{name}]"
        if known_names.variable("observables", name) in outputs:
            raise InputError(f"{where}: a name must be new text; got one in use. Rename it; states are always saved.")
        outputs[name] = observed(problem, where, value)
    places = {s: ("x", row) for s, row in zip(problem.states, _rows(problem.states), strict=True)}
    noises = {n: ("n", n.data[0]) for u in step.updates for n in u.reads if isinstance(n, Noise)}
    names: dict[sp.Basic, str] = {h: "h", t: "t", **{s: f"p[{k}]" for k, s in enumerate(step.parameters)}}
    table = Table(len(step.parameters))
    moves = [Target("x", places[s][1], u) for s, u in zip(problem.states, step.updates, strict=True)]
    shown = [Target("out", row, o) for o, row in zip(outputs.values(), _rows(list(outputs.values())), strict=True)]
    parts = [
        Function("step(x, n, h, t, p)", moves, {**places, **noises}, names, table, dtype).text,
        Function("observe(x, t, p, out)", shown, places, names, table, dtype).text,
    ]
    lanes = lane_count(2 * problem.dimension + 2 * step.inputs, dtype)
    labels = [label for name, o in outputs.items() for label in _labels(name, o.shape)]
    manifest: dict[str, Any] = {
        "name": step.name,
        "states": [label for s in problem.states for label in _labels(s.data[0], s.shape)],
        "inputs": step.inputs,
        "data": 0,
        "parameters": [str(s) for s in step.parameters],
        "observables": labels,
        "lanes": lanes,
        "group": GROUP,
        "dtype": dtype,
        "clock": "shared",
    }
    own = calls.functions(walk([*step.updates, *outputs.values()]))
    made = module(parts, {**manifest, "functions": sorted(own)}, table.numbers())
    return replace(made, functions=own), {name: o.shape for name, o in outputs.items()}, step


def _rows(nodes: Sequence[Array]) -> list[int]:
    return np.cumsum([0, *(n.size for n in nodes)])[:-1].tolist()


def _labels(name: str, shape: tuple[int, ...]) -> list[str]:
    return [f"{name}[{','.join(map(str, index))}]" if index else name for index in np.ndindex(shape)]
