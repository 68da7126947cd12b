"""The boundary: a step map as the text of one self-contained, deterministic Python module.

No text of a user's enters it: states, inputs, parameters and parts stand there as letters with an index (x0, n1, p0,
c2, v3), constants as floats. Names (of the problem, its states and observables) go beside the text, in
`Module.manifest`.

The functions work on a block of LANES paths in flat arrays, row j of lane i at [j*LANES + i]: literal strides let a
compiler vectorise over lanes, and the same text runs undecorated as plain Python, which is the oracle for the compiled
kernel.

    step(x, n, h, t, p)        advances the states x in place; n: inputs, h: step, t: time, p: parameters
    accumulate(x, z, w, n, p)  n += w * terms(x, z), one data row (or feature row) z per lane
    observe(x, t, p, out)      the observables of a state; tables that they average over follow the parameters in p
    pace(x, h, t, p)           shortens h to the step that a state allows; where it is there, h and t are rows, each
    lane having a
                               clock of its own, and a lane whose h is 0 stays as it is
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp

from symbolic.codegen.lookup_text import Numbers
from symbolic.codegen.printing import ScalarPrinter
from symbolic.codegen.row_loops import averages, loops
from symbolic.codegen.sharing import Statements, inside_out, once_for_all, refuse_large, repeated
from symbolic.codegen.splitting import bodies
from symbolic.dynamics.autodiff import Statement
from symbolic.dynamics.step_map import Accumulation, StepMap, h, t

BLOCK_BYTES = 192 * 1024


@dataclass(frozen=True)
class Module:
    """Emitted text, and beside it its manifest (names, sizes, dtype, lanes, hash of the text), which is never part of a
    source. numbers: of the tables that follow the parameters in p, behind those that averages run over. functions: a
    user's own, by the names that the text calls."""

    text: str
    manifest: Mapping[str, Any] = field(hash=False)
    numbers: np.ndarray = field(default_factory=lambda: np.empty(0), hash=False, compare=False)
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict[str, Any], hash=False)

    @property
    def hash(self) -> str:
        """Identity of the text, hexadecimal."""
        return str(self.manifest["hash"])


def emit(
    step: StepMap, observables: Mapping[str, sp.Expr], accumulation: Accumulation | None = None, dtype: str = "float64"
) -> Module:
    """Text and manifest for a step map, its observables (expressions of states and t) and, if data feed it, the
    accumulation."""
    rows = len(step.states) * 2 + len(step.inputs) * 2 + (len(accumulation.z) if accumulation else 0)
    lanes = lane_count(rows, dtype)
    states, own = {"x": step.states}, step.pace is not None
    updates = step.updates
    if own:
        updates = tuple(sp.Piecewise((u, h > 0), (x, True)) for x, u in zip(step.states, step.updates, strict=True))
    averaged = sum(a.table.size for a in averages(observables.values()))
    numbers = Numbers(len(step.parameters) + averaged)
    parts = [
        _function(
            "step(x, n, h, t, p)",
            lanes,
            step.statements,
            _inputs(step, {**states, "n": step.inputs}),
            "x",
            updates,
            dtype=dtype,
            numbers=numbers,
        ),
        _function(
            "observe(x, t, p, out)",
            lanes,
            (),
            _inputs(step, states),
            "out",
            tuple(observables.values()),
            tables=len(step.parameters),
            dtype=dtype,
            numbers=numbers,
        ),
    ]
    if step.pace is not None:
        parts.append(
            _function("pace(x, h, t, p)", lanes, (), _inputs(step, states), "h", (step.pace,), numbers=numbers)
        )
    if accumulation:
        parts.append(
            _function(
                "accumulate(x, z, w, n, p)",
                lanes,
                accumulation.statements,
                _inputs(step, {"x": step.states, "z": accumulation.z}),
                "n",
                accumulation.terms,
                weight="w",
                dtype=dtype,
                numbers=numbers,
            )
        )
    manifest: dict[str, Any] = {
        "name": step.name,
        "states": [str(s) for s in step.states],
        "inputs": len(step.inputs),
        "data": len(accumulation.z) if accumulation else 0,
        "parameters": [str(s) for s in step.parameters],
        "observables": list(observables),
        "lanes": lanes,
        "dtype": dtype,
        "clock": "own" if own else "shared",
    }
    return module(parts, manifest, numbers.numbers())


def module(parts: Sequence[str], manifest: Mapping[str, Any], numbers: np.ndarray) -> Module:
    """The texts of functions as a module. manifest: all that it will hold but the hash; numbers: of tables."""
    lanes, number = manifest["lanes"], "np.float32" if manifest["dtype"] == "float32" else "float"
    head = (
        f'"""A step map as emitted text, one block of {lanes} paths."""\n\nimport math\n\nimport numpy as np\n\nF ='
        f" {number}\nLANES = {lanes}\n"
    )
    body = "\n\n".join(parts)
    text = f"{head}\n\n{body}\n"
    return Module(text, {**manifest, "hash": hashlib.sha256(text.encode()).hexdigest()[:20]}, numbers)


def lane_count(rows: int, dtype: str) -> int:
    """Paths per block: as many as keep all rows of a block near the cache, between 64 and 256. A matter of the problem
    alone."""
    bytes_each = 4 if dtype == "float32" else 8
    lanes = 256
    while lanes > 64 and rows * lanes * bytes_each > BLOCK_BYTES:
        lanes //= 2
    return lanes


def _inputs(step: StepMap, rows: Mapping[str, Sequence[sp.Symbol]]) -> dict[sp.Symbol, str]:
    places = {symbol: f"{array}[{{{j}}}]" for array, symbols in rows.items() for j, symbol in enumerate(symbols)}
    clock = {h: "h", t: "t"} if step.pace is None else {h: "h[{0}]", t: "t[{0}]"}
    return {**places, **{s: f"p[{j}]" for j, s in enumerate(step.parameters)}, **clock}


def _function(
    signature: str,
    lanes: int,
    statements: Iterable[Statement],
    places: Mapping[sp.Symbol, str],
    target: str,
    results: Sequence[sp.Expr],
    weight: str | None = None,
    tables: int = 0,
    dtype: str = "float64",
    *,
    numbers: Numbers,
) -> str:
    needed = _needed(list(statements), results)
    used = set().union(*(e.free_symbols for _, e in needed), *(e.free_symbols for e in results)) if results else set()
    names: dict[sp.Basic, str] = {}
    fixed, loads = [], []
    for symbol, position in places.items():
        if symbol not in used:
            continue
        if "{" in position:
            array, row = position.split("[{")
            offset = int(row[:-2]) * lanes
            names[symbol] = f"{array}{row[:-2]}"
            loads.append(f"        {names[symbol]} = {array}[{offset} + i]")
        elif position.startswith("p["):
            names[symbol] = f"p{position[2:-1]}"
            fixed.append(f"    {names[symbol]} = {position}")
        else:
            names[symbol] = position
    lines, averaged = loops(results, tables, names, repeated, inside_out)
    results = [e.xreplace(averaged) for e in results]
    printer = ScalarPrinter({**names, **{s: s.name[1:] for s in averaged.values()}})
    everything = [e for _, e in needed] + list(results)
    shared_by_all = {s for s, place in places.items() if not place.endswith("]") or place.startswith("p[")}
    fixed += once_for_all(printer, everything, shared_by_all, numbers)
    show = Statements(printer, everything, lines, numbers)
    for index, (name, value) in enumerate(needed):
        text = show(value)
        printer.names[name] = f"v{index}"
        lines.append(f"        v{index} = {text}")
    shown = [show(e) for e in results]
    stores = [
        f"        {target}[{j * lanes} + i] {'+' if weight else ''}= {'weight*' if weight else ''}{text}"
        for j, text in enumerate(shown)
    ]
    if weight:
        loads.insert(0, "        weight = w[i]")
    if not stores:
        return f"def {signature}:\n    pass\n"
    rows, body = list[str](), ["    for i in range(LANES):", *loads, *lines, *stores]
    if show.large and not averaged:
        rows, body = bodies(loads, lines, stores, dtype)
    text = "\n".join([f"def {signature}:", *fixed, *rows, *body]) + "\n"
    refuse_large("emit", text)
    return text


def _needed(statements: list[Statement], results: Sequence[sp.Expr]) -> list[Statement]:
    wanted = set().union(*(e.free_symbols for e in results)) if results else set()
    kept = []
    for name, value in reversed(statements):
        if name in wanted:
            kept.append((name, value))
            wanted |= value.free_symbols
    return kept[::-1]
