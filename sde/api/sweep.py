"""An SDE's parameters: numbers for a run, and runs over several values as axes of one result."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.engine import interruption
from sde.engine.interruption import InterruptedWarning
from sde.engine.values import reals
from sde.storage.files import fingerprint
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, instance, near, unknown
from symbolic.problem import assumptions
from symbolic.problem.loss import Loss

if TYPE_CHECKING:
    import xarray as xr


NONE = "The SDE has none: name them by SDE(..., parameters=[...])."


def _by_name(problem: Loss | SDE, given: Mapping[Any, Any] | None) -> dict[str, np.ndarray]:
    """{name: numbers, 0-d or 1-d}, in the order of the SDE's parameters. Raises ValueError with all problems at
    once."""
    requested = {p.name: p for p in problem.parameters} if isinstance(problem, SDE) else {}
    if given is not None:
        instance("parameters", given, Mapping, "must be a mapping {parameter: number or numbers}", "Write {mu: 0.1}.")
    values = {str(getattr(key, "name", key)): value for key, value in (given or {}).items()}
    errors, found = [], {}
    for name in requested:
        if name not in values:
            if not any(name in near(other, list(requested)) for other in values):
                errors.append(f"parameters[{name}]: every parameter of the SDE needs a number; got none. Give one.")
            continue
        try:
            array = reals(values[name])
        except ValueError:
            array = np.array([np.nan])
        if array.ndim > 1 or not array.size or not np.isfinite(array).all():
            errors.append(
                f"parameters[{name}]: must be a finite number or a list of them; got {values[name]!r}"
                f" ({type(values[name]).__name__}). Give numbers."
            )
        elif not assumptions.holds(requested[name], array.min(), array.max(), array.ravel()):
            errors.append(
                f"parameters[{name}]: must be what its symbol is assumed to be, {assumptions.known(requested[name])};"
                f" got {values[name]!r} ({type(values[name]).__name__}). Write sympy.Symbol({name!r}, real=True), and"
                " every expression with it."
            )
        found[name] = array
    for name in values.keys() - set(requested):
        moves = isinstance(problem, Loss) or name in {s.name for s in problem.states}
        do = "It moves: start= says from where." if moves else "" if requested else NONE
        errors.append(unknown("parameters", name, requested, "parameter of the SDE", do))
    if errors:
        raise InputError("\n".join(sorted(errors)))
    return found


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
    """One number per parameter, (P,)."""
    return np.array([float(array) for array in _by_name(problem, given).values()])


def over(
    swept: Mapping[str, np.ndarray],
    run: Callable[[dict[str, Any], str], xr.Dataset],
    given: Mapping[Any, Any] | None,
    recorded: Mapping[str, Any],
) -> xr.Dataset:
    """Runs for every combination of the swept values, joined with one dimension per swept parameter, ahead of the
    others. run(parameters, name) makes one of them; told: what was run, for the result's attributes.

    All share seed and thus noise: differences between them are the parameter's doing, with little variance. Counts in
    attrs are totals; counts that a run has none of are 0 there; `explosion_time` and `exploded` keep a value for each.
    Ctrl-C keeps the first values of the first parameter whose runs are all complete, with an InterruptedWarning.
    """
    import xarray as xr

    fixed = {getattr(key, "name", key): value for key, value in (given or {}).items()}
    combinations = _all(swept, lambda chosen, name: run({**fixed, **chosen}, name))
    axis, asked = next(iter(swept)), prod(len(v) for v in swept.values())
    whole_runs = len(combinations) * len(swept[axis]) // asked
    if len(combinations) < asked:
        warnings.warn(
            f"simulate: interrupted; the result holds {axis} = {swept[axis][:whole_runs].tolist()}, the values that"
            " were complete.",
            InterruptedWarning,
            stacklevel=4,
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
    coords = {name: (name, values) for name, values in swept.items()} | {
        name: combinations[0].coords[name] for name in whole
    }
    totals = {
        key: sum(r.attrs[key] for r in combinations) for key in ("wall_seconds", "compile_seconds", "exploded_paths")
    }
    attrs = {**first.attrs, **totals, "interrupted": int(len(combinations) < asked), "run": json.dumps(recorded)}
    joined = xr.Dataset(data, coords, attrs)
    joined = joined.set_coords([name for name in ("explosion_time",) if name in joined])
    return joined.assign_attrs(result_hash=fingerprint(joined))


def _all(swept: Mapping[str, np.ndarray], run: Callable[[dict[str, Any], str], xr.Dataset]) -> list[xr.Dataset]:
    """The runs of all combinations, or of the first values of the first parameter when interrupted."""
    combinations, asked = list[Any](), interruption.count()
    try:
        for k, values in enumerate(product(*swept.values())):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InterruptedWarning)
                found = run(dict(zip(swept, values, strict=True)), f"run-{k:05}")
            if found.attrs["interrupted"]:
                raise KeyboardInterrupt
            combinations.append(found)
            if interruption.count() > asked:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        each = prod(len(v) for v in list(swept.values())[1:])
        combinations = combinations[: len(combinations) // each * each]
        if not combinations:
            raise
    return combinations


def _together(attrs: list[dict[str, Any]]) -> dict[str, Any]:
    """Attributes of a variable over several runs: the bound on its quantiles is the worst one's."""
    worst = {"quantile_error": max(a["quantile_error"] for a in attrs)} if "quantile_error" in attrs[0] else {}
    return attrs[0] | worst
