"""The boundary: a step map as the text of one self-contained, deterministic Python module.

No text of a user's enters it: states, inputs, parameters and parts stand there as letters with an index (x0, n1, p0,
c2, v3), constants as floats. Names (of the problem, its states and observables) go beside the text, in
`Module.manifest`.

The functions work on a block of LANES paths in flat arrays, row j of lane i at [j*LANES + i]: literal strides let a
compiler vectorise over lanes, and the same text runs undecorated as plain Python, which is the oracle for the compiled
kernel.

    step(x, n, h, t, p)        advances the states x in place; n: inputs, h: step, t: time, p: parameters
    accumulate(x, z, w, n, p)  n += w * terms(x, z), one data row (or feature row) z per lane
    sweep(x, z, w, n, p, rows) the same over rows z that all lanes share, for GROUP lanes, whose states and sums stay in
                               the nearest cache: x and n hold GROUP lanes a row, w has one LANES entries after another.
                               Of a network (`layers`) also over rows of each lane's own, z having GROUP lanes an entry
    observe(x, t, p, out)      the observables of a state; tables that they average over follow the parameters in p
    pace(x, h, t, p)           shortens h to the step that a state allows; where it is there, h and t are rows, each
    lane having a
                               clock of its own, and a lane whose h is 0 stays as it is
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp

from symbolic.codegen import nests
from symbolic.codegen.layer_text import sweep_text
from symbolic.codegen.layers import network_of
from symbolic.codegen.lookup_text import Numbers
from symbolic.codegen.printing import ScalarPrinter
from symbolic.codegen.rolled import rolled, written
from symbolic.codegen.row_loops import averages, loops
from symbolic.codegen.row_products import row_products
from symbolic.codegen.sharing import Statements, inside_out, once_for_all, refuse_large, repeated
from symbolic.codegen.solve_text import step_text
from symbolic.codegen.splitting import bodies
from symbolic.codegen.traversal import parts
from symbolic.dynamics.autodiff import Statement
from symbolic.dynamics.step_map import Accumulation, RowSlopes, StepMap, h, t
from symbolic.functions.reached import smallest

BLOCK_BYTES = 192 * 1024
GROUP = 16
"""Lanes that go through the rows of a data set together: fewer, and compilers do not vectorise so short a loop."""
GROUP_BYTES, LINE = 2**21, 64
"""Of the rows of a group of lanes that go through a network together; where there are more, it has as few lanes as fill
a cache line, as its products are of whole vectors."""
LONG = 800
"""Lines of a function from which on they are rolled into loops."""
NAMED = re.compile(r"[cv]\d+")


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
    step: StepMap,
    observables: Mapping[str, sp.Expr],
    accumulation: Accumulation | RowSlopes | None = None,
    dtype: str = "float64",
    shared_rows: bool = False,
) -> Module:
    """Text and manifest for a step map, its observables (expressions of states and t) and, if data feed it, the
    accumulation: over one row per lane, or over rows that all lanes share."""
    network = network_of(accumulation) if isinstance(accumulation, RowSlopes) else None
    rows = len(step.states) * 2 + len(step.inputs) * 2 + (len(accumulation.z) if accumulation else 0)
    group = _together(rows, dtype) if network else GROUP
    lanes = lane_count(rows, dtype, group if network else 64)
    states, own = {"x": step.states}, step.pace is not None
    updates = step.updates
    if own:
        updates = tuple(sp.Piecewise((u, h > 0), (x, True)) for x, u in zip(step.states, step.updates, strict=True))
    averaged = sum(a.table.size for a in averages(observables.values()))
    numbers = Numbers(len(step.parameters) + averaged)

    def write(signature: str, statements: Any, at: Any, target: str, results: Sequence[sp.Expr]) -> str:
        together = network is not None
        return function_text(
            signature, lanes, statements, at, target, results, dtype=dtype, numbers=numbers, together=together
        )

    parts = [
        step_text(write, step, lanes, dtype, _inputs(step, {**states, "n": step.inputs}), updates, numbers),
        function_text(
            "observe(x, t, p, out)",
            lanes,
            (),
            _inputs(step, states),
            "out",
            tuple(observables.values()),
            tables=len(step.parameters),
            dtype=dtype,
            numbers=numbers,
            together=network is not None,
        ),
    ]
    if step.pace is not None:
        parts.append(
            function_text("pace(x, h, t, p)", lanes, (), _inputs(step, states), "h", (step.pace,), numbers=numbers)
        )
    if accumulation and network:
        parts += sweep_text(network, len(accumulation.z), lanes, group, dtype, shared_rows)
    elif accumulation:
        signature = "sweep(x, z, w, n, p, rows)" if shared_rows else "accumulate(x, z, w, n, p)"
        parts.append(
            function_text(
                signature,
                lanes,
                accumulation.statements,
                _inputs(step, {"x": step.states, "z": accumulation.z}),
                "n",
                accumulation.terms,
                weight="w",
                shared_rows=shared_rows,
                dtype=dtype,
                numbers=numbers,
            )
        )
    described = manifest_of(step, observables, accumulation, lanes, dtype, "own" if own else "shared")
    return module(parts, {**described, "group": group}, numbers.numbers())


def manifest_of(
    step: StepMap,
    observables: Iterable[str],
    accumulation: Accumulation | RowSlopes | None,
    lanes: int,
    dtype: str,
    clock: str,
) -> dict[str, Any]:
    """What is said of a step's text beside it; clock: "shared" by all paths, each path's "own", or "hybrid"."""
    return {
        "name": step.name,
        "states": [str(s) for s in step.states],
        "inputs": len(step.inputs),
        "data": len(accumulation.z) if accumulation else 0,
        "parameters": [str(s) for s in step.parameters],
        "observables": list(observables),
        "lanes": lanes,
        "group": GROUP,
        "dtype": dtype,
        "clock": clock,
    }


def module(parts: Sequence[str], manifest: Mapping[str, Any], numbers: np.ndarray) -> Module:
    """The texts of functions as a module. manifest: all that it will hold but the hash; numbers: of tables."""
    lanes, number = manifest["lanes"], "np.float32" if manifest["dtype"] == "float32" else "float"
    head = (
        f'"""A step map as emitted text, one block of {lanes} paths."""\n\nimport math\n\nimport numpy as np\n\nF ='
        f" {number}\nLANES = {lanes}\nGROUP = {manifest['group']}\n"
    )
    body = "\n\n".join(parts)
    if "special." in body:
        head = head.replace("import numpy as np\n", "import numpy as np\nfrom scipy import special\n")
    if "TINY" in body:
        head += f"TINY = F({smallest(manifest['dtype'])!r})\n"
    text = f"{head}\n\n{body}\n"
    return Module(text, {**manifest, "hash": hashlib.sha256(text.encode()).hexdigest()[:20]}, numbers)


def _together(rows: int, dtype: str) -> int:
    """Lanes that go through a network together."""
    bytes_each = np.dtype(dtype).itemsize
    return GROUP if rows * GROUP * bytes_each <= GROUP_BYTES else LINE // bytes_each


def lane_count(rows: int, dtype: str, least: int = 64) -> int:
    """Paths per block: as many as keep all rows of a block near the cache, between `least` and 256. A matter of the
    problem alone."""
    bytes_each = 4 if dtype == "float32" else 8
    lanes = 256
    while lanes > least and rows * lanes * bytes_each > BLOCK_BYTES:
        lanes //= 2
    return lanes


def _inputs(step: StepMap, rows: Mapping[str, Sequence[sp.Symbol]]) -> dict[sp.Symbol, str]:
    places = {symbol: f"{array}[{{{j}}}]" for array, symbols in rows.items() for j, symbol in enumerate(symbols)}
    clock = {h: "h", t: "t"} if step.pace is None else {h: "h[{0}]", t: "t[{0}]"}
    return {**places, **{s: f"p[{j}]" for j, s in enumerate(step.parameters)}, **clock}


def function_text(
    signature: str,
    lanes: int,
    statements: Iterable[Statement],
    places: Mapping[sp.Symbol, str],
    target: str,
    results: Sequence[sp.Expr],
    weight: str | None = None,
    tables: int = 0,
    shared_rows: bool = False,
    dtype: str = "float64",
    *,
    numbers: Numbers,
    together: bool = False,
) -> str:
    """together: rolled lines go in loops together."""
    width, columns = (GROUP if shared_rows else lanes), len([v for v in places.values() if v.startswith("z[")])
    needed = _needed(list(statements), results)
    used = _symbols([*(e for _, e in needed), *results])
    names: dict[sp.Basic, str] = {}
    fixed, loads = [], []
    for symbol, position in places.items():
        if symbol not in used:
            continue
        if "{" in position:
            array, row = position.split("[{")
            names[symbol] = f"{array}{row[:-2]}"
            shared = shared_rows and array == "z"
            place = f"r*{columns} + {row[:-2]}" if shared else f"{int(row[:-2]) * width} + i"
            loads.append(f"        {names[symbol]} = {array}[{place}]")
        elif position.startswith("p["):
            names[symbol] = f"p{position[2:-1]}"
            fixed.append(f"    {names[symbol]} = {position}")
        else:
            names[symbol] = position
    lines, averaged = loops(results, tables, names, repeated, inside_out)
    results = [e.xreplace(averaged) for e in results] if averaged else results
    printer = ScalarPrinter({**names, **{s: s.name[1:] for s in averaged.values()}})
    everything = [e for _, e in needed] + list(results)
    shared_by_all = {s for s, place in places.items() if not place.endswith("]") or place.startswith("p[")}
    fixed += once_for_all(printer, everything, shared_by_all, numbers)
    show = Statements(printer, everything, lines, numbers)
    for index, (name, value) in enumerate(needed):
        text = show(value)
        printer.names[name] = f"v{index}"
        lines.append(f"        v{index} = {text}")
    at = {s: int(place[3:-2]) for s, place in places.items() if place.startswith("z[")}
    apart = shared_rows and weight and not (averaged or show.large)
    products = row_products(results, at, LONG - len(needed) - len(show.twice)) if apart else None
    if products:
        body = products.body([show(e) for e in products.factors], loads, lines, columns, dtype)
        return "\n".join([f"def {signature}:", *fixed, *body]) + "\n"
    shown = [show(e) for e in results]
    if not shown:
        return f"def {signature}:\n    pass\n"
    load = f"w[{'r*LANES + ' if shared_rows else ''}i]"
    operator, factor = ("+=", "weight*") if weight else ("=", "")
    breadth, body = "GROUP" if shared_rows else "LANES", None
    named = [(name.strip(), text) for name, _, text in (line.partition(" = ") for line in lines)]
    simple = not averaged and all(NAMED.fullmatch(name) for name, _ in named)
    if len(named) + len(shown) > LONG and simple and not any("[i]" in name for name in names.values()):
        stores = [(target, j, operator, factor.replace("weight", load) + text) for j, text in enumerate(shown)]
        if (found := rolled(named, stores)) is not None:
            scratch = found[1] > 0
            if together:
                body, scratch = nests.written(found[0], breadth, "    ")
            else:
                body = written(found[0], breadth, "    ", columns if shared_rows else 0)
            fixed += [f"    c = np.empty({found[1]}*{breadth}, np.{dtype})"] if scratch else []
    if body is None:
        if weight:
            loads.insert(0, f"        weight = {load}")
        results_text = [f"        {target}[{j * width} + i] {operator} {factor}{text}" for j, text in enumerate(shown)]
        body = [f"    for i in range({breadth}):", *loads, *lines, *results_text]
        if show.large and not averaged:
            rows, body = bodies(loads, lines, results_text, dtype, breadth)
            fixed += rows
    if shared_rows:
        body = ["    for r in range(rows):", *("    " + line for line in body)]
    text = "\n".join([f"def {signature}:", *fixed, *body]) + "\n"
    refuse_large("emit", text)
    return text


def _symbols(expressions: Iterable[sp.Expr]) -> set[sp.Basic]:
    return {part for part in parts(expressions) if isinstance(part, sp.Symbol)}


def _needed(statements: list[Statement], results: Sequence[sp.Expr]) -> list[Statement]:
    wanted, kept = _symbols(results), []
    for name, value in reversed(statements):
        if name in wanted:
            kept.append((name, value))
            wanted |= value.free_symbols
    return kept[::-1]
