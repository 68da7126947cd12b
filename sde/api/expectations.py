"""E f(X_T) to a tolerance, by multilevel Monte Carlo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.api import provenance, sweep
from sde.api.estimate_store import Remembered
from sde.api.expectation_arguments import check_arguments, tolerances
from sde.api.level_paths import LevelPaths
from sde.api.placement import placed
from sde.engine import checkpoint_folder
from sde.engine.checkpoint import CheckpointTarget
from sde.estimators import multilevel
from sde.estimators.estimate import Expectation
from sde.settings import Gather
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError
from symbolic.language.calls import called
from symbolic.schemes import find, fitting, within_domain

if TYPE_CHECKING:
    import xarray as xr

ESTIMATE = ("value", "sem", "bias")
"""What the result of a sweep holds of each estimate."""


@called({"dt": "Levels choose their steps: leave it out.", "paths": "The tolerance chooses them: leave it out."})
@placed
def expectation(
    sde: SDE,
    f: Any,
    *,
    tolerance: float | Mapping[str, float],
    start: Mapping[Any, Any],
    time: float,
    start_time: float = 0.0,
    scheme: str | None = None,
    parameters: Mapping[Any, Any] | None = None,
    zipped: bool = False,
    events: Mapping[str, Any] | None = None,
    stop: str | Sequence[str] | None = None,
    crossings: str | None = None,
    steps: int | None = None,
    refine: int = 2,
    levels: int = 12,
    first_paths: int = 1000,
    budget: float = 1e11,
    seed: int = 0,
    dtype: str = "float64",
    threads: int | None = None,
    executor: Any = None,
    portable: bool = False,
    bound: float | None = None,
    checkpoint: str | Path | CheckpointTarget | None = None,
) -> Any:
    """E f(X_time) with a root mean square error that is named, by multilevel Monte Carlo.

    Level l steps by time/(steps refine**l) and estimates the mean change of f from steps refine times longer on the
    same Brownian paths; the first level estimates f. Levels are added, five at least, until what is left of the bias,
    extrapolated at the observed weak order (at most the stated one), is below half the tolerance and its noise below a
    quarter; paths are shared out so that the variance costs least. The lowest levels are left out where they would not
    pay.

    Paths of level l are those numbered l 2**40, l 2**40 + 1, ... of `seed`: no level shares one with another, a level
    that grows takes the next, and the first level's are `simulate`'s own. Ctrl-C raises KeyboardInterrupt, as a part of
    an estimate is none. Warns (VarianceWarning) where few extreme paths make the error.

    Paths may stop at events, and f may name events. Two levels draw what lies between their steps each by itself, so
    that they differ on whether a path has crossed, and the variance between them falls as dt**(1/2) only: levels that
    do not pay are left out, and a pair of the finest often does best. The weak order is at most 1, and 1/2 where events
    are looked at after steps. Path-steps count as if stopped paths ran on.

    Several functions are estimated one by one on the same paths, each with its own levels to its own tolerance, as if
    it were alone; all cost about what the dearest does.

    Parameters
    ----------
    sde
        The equation.
    f
        An expression of the states, parameters and time (Max and Piecewise too), and of `running` and `integral` of
        such; or several, {name: expression}. A symbol named as an event is 1 where the path has had it, else 0 ("stop":
        where it has stopped), and the name alone, "up", stands for that symbol: E of it is the probability. The time of
        a stopped path is that of its stop, so that f = sde.time gives E min(stop, time).
    tolerance
        The root mean square error asked for, of each; or {name: error}.
    start
        {state: number, array of its shape, or distribution}.
    time
        Length of the paths.
    start_time
        When they begin; f is of time start_time + time.
    scheme
        When left out, milstein where the noise commutes (the levels' variance then falls like dt**2), else
        euler-maruyama; heun for a Stratonovich equation.
    parameters
        {symbol or name: number, or several}: every combination of these is estimated, on the same noise.
    zipped
        Parameters given several values take them together, along a dimension "sweep".
    events, stop, crossings
        As for `simulate`: f is then of the path at its stop.
    steps
        Of the longest level. Left out, as many as the shortest relaxation time of the equation asks for, up to 4096, as
        longer ones are not stable; with events half of it, up to 256, as what is seen of them turns about at longer
        steps; and levels at which paths explode are left out. More, times `refine`, where coefficients change in time
        within such steps, and where they jump in time, at which steps end.
    refine
        By what the step shrinks from level to level.
    levels
        The finest level that may be used.
    first_paths
        On each of the first three levels, to see variances by; more, and finer levels, where f is one value on all of
        them.
    budget
        Most path-steps.
    seed
        Of all paths.
    dtype
        "float64" or "float32".
    threads
        As many as there are cores when left out; no number depends on it.
    executor, portable
        As for `simulate`.
    bound
        |state| beyond which a path counts as exploded.
    checkpoint
        A folder that holds what was sampled; a call with the same arguments goes on from it to the same bits.

    Returns
    -------
    Expectation, dict or xarray.Dataset
        {name: Expectation} of several functions. Where parameters have several values, a Dataset with a variable for
        each function ("f" where there is one), of dims (estimate, ...): its value, standard error and bias for all
        combinations; attrs tell what was run and its path-steps.

    Raises
    ------
    InputError
        Before any compilation for bad input; later, rather than return a wrong number: when a path explodes (where
        `steps` is left out: at short steps too) or f is not finite on it (naming level, dt and path), when the bias has
        not fallen by the last level, when the tolerance takes more than the budget or is lost in rounding, when levels
        contradict each other, when f takes one value only, and when coefficients change in time within all steps.

    References
    ----------
    Giles, Multilevel Monte Carlo path simulation, Oper. Res. 56 (2008) 607.

    Examples
    --------
    >>> import sympy as sp
    >>> from sde import SDE, expectation
    >>> X = sp.Symbol("X", real=True)
    >>> gbm = SDE([X], drift=[0.75*X], diffusion=[[0.5*X]])
    >>> found = expectation(gbm, X, tolerance=0.05, start={X: 1.0}, time=1.0)
    >>> abs(found.value - 2.1170) < 4 * 0.05
    True
    """
    asked = {"events": events, "stop": stop, "crossings": crossings}
    gather = Gather(**asked) if any(v is not None for v in asked.values()) else None
    functions = check_arguments(
        sde,
        f,
        start,
        gather=gather,
        time=time,
        start_time=start_time,
        bound=bound,
        checkpoint=checkpoint,
        parameters=parameters,
        zipped=zipped,
        tolerance=tolerance,
        steps=steps,
        refine=refine,
        levels=levels,
        first_paths=first_paths,
        budget=budget,
        seed=seed,
        threads=threads,
    )
    errors = tolerances(functions, tolerance)
    if scheme is None:
        scheme = _default(sde)
    if find(scheme)[0].own_clock:
        raise InputError(
            f"expectation.scheme: levels need steps that are the same for all paths; got {scheme!r} (str), where each"
            " path chooses. Leave it out."
        )
    settings: dict[str, Any] = {
        "f": f,
        "tolerance": tolerance,
        "start": start,
        "time": time,
        "scheme": scheme,
        "parameters": parameters,
        "steps": steps,
    }
    settings |= {
        "refine": refine,
        "levels": levels,
        "first_paths": first_paths,
        "budget": budget,
        "seed": seed,
        "dtype": dtype,
        "start_time": start_time,
        "bound": bound,
    }
    settings |= asked if gather else {}

    def estimated(numbers: Mapping[Any, Any] | None, folder: checkpoint_folder.Folder | None) -> dict[str, Expectation]:
        began = perf_counter()
        paths = LevelPaths(
            sde,
            functions,
            start,
            time=time,
            began=float(start_time),
            scheme=str(scheme),
            parameters=numbers,
            steps=steps,
            refine=refine,
            seed=seed,
            dtype=dtype,
            threads=threads,
            bound=bound,
            gather=gather,
            folder=folder,
        )
        order = paths.order
        out = dict[str, Expectation]()
        for k, name in enumerate(functions):
            levelled = multilevel.Plan(
                tolerance=errors[name],
                time=float(time),
                longest=paths.longest,
                drops=steps is None,
                steps=paths.steps,
                refine=int(refine),
                most=int(levels),
                first=int(first_paths),
                budget=float(budget),
                order=order,
                batch=paths.batch,
                rounding=float(np.finfo(dtype).eps) / 2,
                resolved=paths.resolved,
            )
            memory = None if folder is None else Remembered(folder, *([f"samples-{k}"] if len(functions) > 1 else []))
            try:
                found = multilevel.estimate(partial(paths, which=k), levelled, memory)
            except InputError as error:
                if not isinstance(f, Mapping) or ".f[" in error.where:
                    raise
                raise InputError(str(error).replace("expectation", f"expectation[{name}]", 1)) from None
            out[name] = Expectation(
                problem=sde.name,
                functional=str(f[name] if isinstance(f, Mapping) else f),
                scheme=str(scheme),
                noise_class=sde.noise_class,
                time=float(time),
                tolerance=errors[name],
                seed=int(seed),
                refine=int(refine),
                seconds=perf_counter() - began,
                **vars(found),
            )
        return out

    swept = sweep.axes(sde, parameters)
    if not swept:
        made = provenance.record("expectation", sde, None, settings)
        found = estimated(
            parameters, checkpoint_folder.folder(checkpoint, "expectation", provenance.identity(made), made)
        )
        return found if isinstance(f, Mapping) else found["f"]
    made = provenance.record("expectation", sde, None, settings | {"zipped": zipped})
    parent = checkpoint_folder.folder(checkpoint, "expectations", provenance.identity(made), made)
    axes, places = sweep.combinations_of(swept, zipped)
    each = []
    for k, chosen in enumerate(places):
        numbers = {getattr(key, "name", key): value for key, value in (parameters or {}).items()} | chosen
        own = provenance.record("expectation", sde, None, settings | {"parameters": numbers})
        place = parent and parent.path / f"run-{k:05}"
        each.append(estimated(numbers, checkpoint_folder.folder(place, "expectation", provenance.identity(own), own)))
    beside = swept if zipped else {}
    return _over(axes, beside, each, {"scheme": scheme, "name": sde.name, "seed": int(seed), "run": json.dumps(made)})


def _over(
    axes: Mapping[str, np.ndarray],
    beside: Mapping[str, np.ndarray],
    each: Sequence[Mapping[str, Expectation]],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """The estimates of a sweep as one Dataset. beside: coordinates along a zipped sweep's one dimension."""
    import xarray as xr

    shape = [len(values) for values in axes.values()]
    data = {
        name: (
            ("estimate", *axes),
            np.array([[getattr(found[name], part) for found in each] for part in ESTIMATE]).reshape(-1, *shape),
            {"long_name": f"E[{each[0][name].functional}]", "units": "1", "tolerance": each[0][name].tolerance},
        )
        for name in each[0]
    }
    coords = {"estimate": list(ESTIMATE), **axes, **{name: (sweep.SWEEP, values) for name, values in beside.items()}}
    steps = sum(found.path_steps for one in each for found in one.values())
    return xr.Dataset(data, coords, {**attrs, "path_steps": steps})


def _default(sde: SDE) -> str:
    if sde.domain:
        return within_domain(sde)[0]
    if sde.interpretation == "stratonovich":
        return "heun"
    return "milstein" if "milstein" in fitting(sde) else "euler-maruyama"
