"""An SDE's parameters: numbers for a run, and runs over several values as axes of one result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.values import reals
from symbolic import assumptions, names
from symbolic.loss import Loss
from symbolic.sde import SDE

if TYPE_CHECKING:
    import xarray as xr


def _by_name(problem: Loss | SDE, given: Mapping[Any, Any] | None) -> dict[str, np.ndarray]:
    """{name: numbers, 0-d or 1-d}, in the order of the SDE's parameters. Raises ValueError with all problems at once."""
    wanted = {p.name: p for p in problem.parameters} if isinstance(problem, SDE) else {}
    values = {str(getattr(key, "name", key)): value for key, value in (given or {}).items()}
    problems, found = [], {}
    for name in wanted:
        if name not in values:
            problems.append(f"parameters[{name}]: every parameter of the SDE needs a number; got none. Give one.")
            continue
        try:
            array = reals(values[name])
        except ValueError:
            array = np.array([np.nan])
        if array.ndim > 1 or not array.size or not np.isfinite(array).all():
            problems.append(
                f"parameters[{name}]: must be a finite number or a list of them; got {values[name]!r} ({type(values[name]).__name__}). Give numbers."
            )
        elif not assumptions.holds(wanted[name], array.min(), array.max(), array.ravel()):
            problems.append(
                f"parameters[{name}]: must be what its symbol is assumed to be, {assumptions.told(wanted[name])}; got {values[name]!r} "
                f"({type(values[name]).__name__}). Write sympy.Symbol({name!r}, real=True), and every expression with it."
            )
        found[name] = array
    for name in values.keys() - set(wanted):
        problems.append(
            f"parameters[{names.printable(name, 80)}]: must be a parameter of the SDE; got {names.printable(repr(name), 80)} (str). Its parameters are {list(wanted)}."
        )
    if problems:
        raise ValueError("\n".join(sorted(problems)))
    return found


def axes(problem: Loss | SDE, given: Mapping[Any, Any] | None) -> dict[str, np.ndarray]:
    """The parameters given several values, {name: (n,)}."""
    return {name: array for name, array in _by_name(problem, given).items() if array.ndim}


def numbers(problem: SDE, given: Mapping[Any, Any] | None) -> np.ndarray:
    """One number per parameter, (P,)."""
    return np.array([float(array) for array in _by_name(problem, given).values()])


def over(
    swept: Mapping[str, np.ndarray],
    run: Callable[[dict[str, Any]], xr.Dataset],
    given: Mapping[Any, Any] | None,
) -> xr.Dataset:
    """Runs for every combination of the swept values, joined with one dimension per swept parameter, ahead of the others.

    All share seed and thus noise: differences between them are the parameter's doing, with little variance. Counts in attrs are
    totals; counts that a run has none of are 0 there; `explosion_time` and `exploded` keep a value for each.
    """
    import xarray as xr

    fixed = {getattr(key, "name", key): value for key, value in (given or {}).items()}
    runs = [run({**fixed, **dict(zip(swept, values, strict=True))}) for values in product(*swept.values())]
    shape = [len(v) for v in swept.values()]
    counts = {name: r[name] for r in runs for name in r.data_vars}
    runs = [r.assign({n: 0 * c for n, c in counts.items() if n not in r}) for r in runs]
    first = runs[0]
    whole = set(first.coords) - {"explosion_time"}
    if "path" in first.coords:
        fewest = min(r.sizes["path"] for r in runs)
        runs = [r.isel(path=slice(fewest)) for r in runs]
    data = {
        name: (
            (*swept, *first[name].dims),
            np.stack([r[name].values for r in runs]).reshape(*shape, *runs[0][name].shape),
        )
        for name in first.variables
        if name not in whole
    }
    coords = {name: (name, values) for name, values in swept.items()} | {name: runs[0].coords[name] for name in whole}
    totals = {key: sum(r.attrs[key] for r in runs) for key in ("wall_seconds", "compile_seconds", "exploded_paths")}
    joined = xr.Dataset(
        data, coords, {**first.attrs, **totals, "interrupted": max(r.attrs["interrupted"] for r in runs)}
    )
    return joined.set_coords([name for name in ("explosion_time",) if name in joined])
