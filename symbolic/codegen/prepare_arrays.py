"""An equation of arrays made ready for the engine: text of loops, and the table of numbers that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from symbolic.arrays import calls
from symbolic.arrays.building import array, mapped
from symbolic.arrays.expression import Array, Noise, walk
from symbolic.codegen import array_hybrid
from symbolic.codegen.array_hybrid import WatchedArrays
from symbolic.codegen.array_text import Function, Table, Target
from symbolic.codegen.emit import GROUP, Module, lane_count, module
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.array_past import carried_of, moved
from symbolic.dynamics.path_functionals import by_words
from symbolic.dynamics.step_map import h, t
from symbolic.errors import InputError
from symbolic.language import names as known_names
from symbolic.schemes import ArrayStep, array_step


def observed(problem: ArraySDE, where: str, value: Any) -> Array:
    """An observable as a node of states, time and parameters. Raises InputError."""
    (node,) = problem.resolved(where, [array(value, where)])
    return node


def emitted(
    problem: ArraySDE,
    scheme: str,
    observables: Mapping[str, Any],
    dtype: str,
    watched: WatchedArrays | None = None,
    begin: float = 0.0,
) -> tuple[Module, dict[str, tuple[int, ...]], ArrayStep]:
    """Text and manifest, the shape of each output, and the step. watched: levels and changes of paths with clocks of
    their own; begin: when paths begin. Raises InputError."""
    step = array_step(problem, scheme)
    if problem.jumps and (watched is None or not watched.changes):
        raise InputError.of("jumps", "only simulate runs them", list(problem.jumps), "Leave them out, or simulate.")
    outputs = {s.data[0]: s for s in problem.states}
    for name, value in observables.items():
        where = f"observables[{name}]"
        if known_names.variable("observables", name) in outputs:
            raise InputError(f"{where}: a name must be new text; got one in use. Rename it; states are always saved.")
        outputs[name] = observed(problem, where, value)
    outputs = dict(zip(outputs, mapped(list(outputs.values()), step.seen.get), strict=True))
    watched = watched.instead(step.seen) if watched and step.seen else watched
    strengths = mapped(problem.strengths, step.seen.get)
    named = [*outputs.values(), *(watched.expressions if watched else ())]
    carried = carried_of(named, float(np.dtype(dtype).type(begin)), step.inputs)
    shown = dict(zip(outputs, mapped(list(outputs.values()), {c.node: c.value for c in carried}.get), strict=True))
    step = step.carrying([n for c in carried for n in c.noise], moved(problem, strengths, carried, step.updates))
    states = [*problem.states, *(c.state for c in carried)]
    places = dict(zip(states, _rows(states), strict=True))
    held: dict[Array, tuple[str, int]] = {s: ("x", row) for s, row in places.items()}
    held |= {n: ("n", n.data[0]) for u in step.updates for n in u.reads if isinstance(n, Noise)}
    names: dict[sp.Basic, str] = {h: "h", t: "t", **{s: f"p[{k}]" for k, s in enumerate(step.parameters)}}
    table, read = Table(len(step.parameters)), list[Array]()

    def write(signature: str, targets: Sequence[Target], more: Mapping[Array, tuple[str, int]] | None = None) -> str:
        rows = {**held, **(more or {})}
        if watched is not None:
            nodes = array_hybrid.clocked([target.node for target in targets])
            targets = [replace(target, node=node) for target, node in zip(targets, nodes, strict=True)]
            rows |= array_hybrid.ROWS
        read.extend(target.node for target in targets)
        brief = signature.startswith(array_hybrid.RARE)
        return Function(signature, targets, rows, names, table, dtype, brief=brief).text

    parts = [
        write("step(x, n, h, t, p)", [Target("x", r, u) for r, u in zip(places.values(), step.updates, strict=True)]),
        write("observe(x, t, p, out)", [Target("out", r, o) for o, r in _placed(list(shown.values()))]),
    ]
    if watched is not None:
        watched = watched.carrying(carried)
        parts += array_hybrid.functions(problem, strengths, watched, carried, places, write)
    past = by_words(repr(c.node) for c in carried)
    written = [*(s.data[0] for s in problem.states), *past]
    labels = [label for name, o in shown.items() for label in _labels(name, o.shape)]
    manifest: dict[str, Any] = {
        "name": step.name,
        "states": [label for name, s in zip(written, states, strict=True) for label in _labels(name, s.shape)],
        "carried": sum(c.state.size for c in carried),
        "inputs": step.inputs,
        "data": 0,
        "parameters": [str(s) for s in step.parameters],
        "observables": labels,
        "lanes": lane_count(2 * sum(s.size for s in states) + 2 * step.inputs, dtype),
        "group": GROUP,
        "dtype": dtype,
        "clock": "shared" if watched is None else "hybrid",
        **({} if watched is None else {"bent": watched.bent(problem)}),
    }
    own = calls.functions(walk(read))
    made = module(parts, {**manifest, "functions": sorted(own)}, table.numbers())
    return replace(made, functions=own), {name: o.shape for name, o in shown.items()}, step


def _rows(nodes: Sequence[Array]) -> list[int]:
    return np.cumsum([0, *(n.size for n in nodes)])[:-1].tolist()


def _placed(nodes: Sequence[Array]) -> list[tuple[Array, int]]:
    return list(zip(nodes, _rows(nodes), strict=True))


def _labels(name: str, shape: tuple[int, ...]) -> list[str]:
    return [f"{name}[{','.join(map(str, index))}]" if index else name for index in np.ndindex(shape)]
