"""An SDE's parameters: numbers for a run, and runs over several values as axes of one result."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.api import per_path, provenance
from sde.api.provenance import Given
from sde.engine import checkpoint_folder, interruption
from sde.engine.interruption import InterruptedWarning
from sde.storage.files import fingerprint
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, as_reals, warn
from symbolic.problem import assumptions
from symbolic.problem.loss import Loss
from symbolic.problem.parameter import Parameter, assign, parameter

if TYPE_CHECKING:
    import xarray as xr


SWEEP = "sweep"
"""The dimension of a zipped sweep."""
NONE = "The SDE has none: name them by SDE(..., parameters=[...])."


def _by_name(problem: Loss | SDE, given: Mapping[Any, Any] | None) -> dict[str, np.ndarray]:
    """{name: numbers, 0-d or 1-d}, in the order of the SDE's parameters. Raises ValueError with all problems at
    once."""
    states = {s.name for s in problem.states} if isinstance(problem, SDE) else None

    def advice(key: Any) -> str:
        if states is None or getattr(key, "name", key) in states:
            return "It moves: start= says from where."
        return "" if parts else NONE

    parts = [parameter(p) for p in problem.parameters] if isinstance(problem, SDE) else []
    found = assign(
        "parameters", parts, {} if given is None else given, _axis, kind="parameter of the SDE", advice=advice
    )
    return {p.name: array for p, array in zip(parts, found, strict=True)}


def _axis(p: Parameter, here: str, value: Any) -> np.ndarray:
    if per_path.is_own(value):
        return np.array(np.nan)
    try:
        array = as_reals(value)
    except ValueError:
        array = np.array([np.nan])
    if array.ndim > 1 or not array.size or not np.isfinite(array).all():
        raise InputError.of(here, "must be a finite number or a list of them", value, "Give numbers.")
    (symbol,) = p.symbols
    if not assumptions.holds(symbol, array.min(), array.max(), array.ravel()):
        raise InputError.of(
            here,
            f"must be what its symbol is assumed to be, {assumptions.known(symbol)}",
            value,
            f"Write sympy.Symbol({p.name!r}, real=True), and every expression with it.",
        )
    return array


def axes(problem: Loss | SDE, given: Mapping[Any, Any] | None) -> dict[str, np.ndarray]:
    """The parameters given several values, {name: (n,)}."""
    return {name: array for name, array in _by_name(problem, given).items() if array.ndim}


def check_start(problem: Loss | SDE, start: Any) -> None:
    """Raise ValueError for a start of what stands still."""
    fixed = {p.name for p in problem.parameters} if isinstance(problem, SDE) else set()
    for key in start if fixed and isinstance(start, Mapping) else ():
        if (name := str(getattr(key, "name", key))) in fixed:
            rule, do = "must name a state, not a parameter", f"Give it by parameters={{{name!r}: ...}}."
            raise InputError.of(f"start[{name}]", rule, key, do)


def numbers(problem: SDE, given: Mapping[Any, Any] | None) -> np.ndarray:
    """One number per parameter, (P,); NaN for one that each path has for itself."""
    return np.array([float(array) for array in _by_name(problem, given).values()])


def over(swept: Mapping[str, np.ndarray], given: Given, run: Callable[[Given], xr.Dataset]) -> xr.Dataset:
    """Runs for every combination of the swept values, joined with one dimension per swept parameter, ahead of the
    others; zipped, for the first of all, the second of all, ..., along SWEEP. run: makes one of them.

    All share seed and thus noise: differences between them are the parameter's doing, with little variance. Counts in
    attrs are totals; counts that a run has none of are 0 there; `explosion_time` and `exploded` keep a value for each.
    Ctrl-C keeps the first values of the first parameter whose runs are all complete, with an InterruptedWarning.
    """
    import xarray as xr

    settings, recorded = given.settings, given.record({})
    if settings.saves.out is not None:
        raise InputError(
            f"parameters: several values are several runs, with no stream in common; got {sorted(swept)} swept. Run"
            " them one by one."
        )
    fixed = {getattr(key, "name", key): value for key, value in (settings.parameters or {}).items()}
    folder = checkpoint_folder.folder(settings.checkpoint, "sweep", provenance.identity(recorded), recorded)

    def one(chosen: dict[str, Any], name: str) -> xr.Dataset:
        own = {"parameters": {**fixed, **chosen}, "checkpoint": folder and folder.target(name)}
        return run(replace(given, settings=replace(settings, **own)))

    beside = swept
    swept, places = combinations_of(swept, settings.zipped)
    combinations = _all(places, one, len(places) // len(next(iter(swept.values()))))
    axis, asked = next(iter(swept)), prod(len(v) for v in swept.values())
    whole_runs = len(combinations) * len(swept[axis]) // asked
    if len(combinations) < asked:
        warn(
            f"simulate: interrupted; the result holds {axis} = {swept[axis][:whole_runs].tolist()}, the values that"
            " were complete.",
            InterruptedWarning,
        )
        swept = {**swept, axis: swept[axis][:whole_runs]}
    shape = [len(v) for v in swept.values()]
    counts = {name: r[name] for r in combinations for name in r.data_vars}
    combinations = [r.assign({n: 0 * c for n, c in counts.items() if n not in r}) for r in combinations]
    first = combinations[0]
    whole = set(first.coords) - {"explosion_time"}
    if "path" in first.coords:
        fewest = min(r.sizes["path"] for r in combinations)
        combinations = [r.isel(path=slice(fewest)) for r in combinations]
    data = {
        name: (
            (*swept, *first[name].dims),
            np.stack([r[name].values for r in combinations]).reshape(*shape, *combinations[0][name].shape),
            _together([r[name].attrs for r in combinations]),
        )
        for name in first.variables
        if name not in whole
    }
    coords: dict[Any, Any] = {name: (name, values) for name, values in swept.items()}
    coords |= {name: combinations[0].coords[name] for name in whole}
    if settings.zipped:
        coords |= {name: (SWEEP, values[:whole_runs]) for name, values in beside.items()}
    totals = {
        key: sum(r.attrs[key] for r in combinations) for key in ("wall_seconds", "compile_seconds", "exploded_paths")
    }
    attrs = {**first.attrs, **totals, "interrupted": int(len(combinations) < asked), "run": json.dumps(recorded)}
    joined = xr.Dataset(data, coords, attrs)
    joined = joined.set_coords([name for name in ("explosion_time",) if name in joined])
    return joined.assign_attrs(result_hash=fingerprint(joined))


def combinations_of(
    swept: Mapping[str, np.ndarray], zipped: bool
) -> tuple[Mapping[str, np.ndarray], list[dict[str, Any]]]:
    """The axes of a sweep's result, and what parameters are at each of its places, the last axis fastest."""
    if not zipped:
        return swept, [dict(zip(swept, values, strict=True)) for values in product(*swept.values())]
    if len({len(v) for v in swept.values()}) > 1:
        lengths = {name: len(v) for name, v in swept.items()}
        raise InputError.of("zipped", "needs as many values of each parameter", lengths, "Match their lengths.")
    count = len(next(iter(swept.values())))
    return {SWEEP: np.arange(count)}, [{p: v[k] for p, v in swept.items()} for k in range(count)]


def _all(places: Sequence[dict[str, Any]], run: Callable[[dict[str, Any], str], xr.Dataset], each: int) -> list[Any]:
    """The runs at all places, or, when interrupted, of the first values of the first parameter, of `each` places."""
    combinations, asked = list[Any](), interruption.count()
    try:
        for k, chosen in enumerate(places):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InterruptedWarning)
                found = run(chosen, f"run-{k:05}")
            if found.attrs["interrupted"]:
                raise KeyboardInterrupt
            combinations.append(found)
            if interruption.count() > asked:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        combinations = combinations[: len(combinations) // each * each]
        if not combinations:
            raise
    return combinations


def _together(attrs: list[dict[str, Any]]) -> dict[str, Any]:
    """Attributes of a variable over several runs: the bound on its quantiles is the worst one's."""
    worst = {"quantile_error": max(a["quantile_error"] for a in attrs)} if "quantile_error" in attrs[0] else {}
    return attrs[0] | worst
