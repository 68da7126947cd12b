"""Simulate an SDE, train by discrete SGD."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.api import explosion_reasons, gathered, provenance, step_inputs, sweep, time_steps
from sde.api.run_arguments import RunRequest, check_files, refuse_too_many
from sde.api.run_identity import problem_identity, run_identity
from sde.api.step_inputs import Motion, constants
from sde.api.survey import Survey, schedule_jumps
from sde.api.time_steps import Steps
from sde.engine import checkpoint_folder, compiling, dataset, ensemble, initial_states, stream, time_grid
from sde.engine.checkpoint import Checkpoint, CheckpointTarget
from sde.engine.interruption import InterruptedWarning
from sde.engine.program import load
from sde.engine.progress import bar
from sde.engine.values import whole
from sde.storage.files import fingerprint
from symbolic.codegen.prepare import Prepared, parameters_of, prepare
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, instance
from symbolic.language.calls import OF_SGD, called
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.schemes import find, for_step, require_scheme

if TYPE_CHECKING:
    import xarray as xr

WARN_SHARE = 0.0
"""Share of lost paths beyond which a warning is given: any at all."""


STEPS = "Give time=, steps times the learning rate; train takes steps=."
TIME = "Give steps=, the time over the learning rate; simulate takes time=."
OF_TIME = {"steps": "Give dt=, the length of a step.", "T": "Give time=.", "t": "Give time=."}
OF_SDE = "It belongs to the SDE: use simulate."


@called(lambda problem: OF_TIME if isinstance(problem, SDE) else {**OF_SGD, **OF_TIME, "steps": STEPS})
def simulate(
    problem: Loss | SDE,
    sgd: SGD | None = None,
    *,
    start: Mapping[Any, Any],
    time: float,
    dt: float | None = None,
    paths: int = 1000,
    seed: int = 0,
    scheme: str = "euler-maruyama",
    parameters: Mapping[Any, Any] | None = None,
    observables: Mapping[str, Any] | None = None,
    save_at: Any = 101,
    steps_at: Sequence[float] | None = None,
    keep: str = "statistics",
    dtype: str = "float64",
    refine: int = 1,
    check: bool = True,
    threads: int | None = None,
    bound: float | None = None,
    events: Mapping[str, Any] | None = None,
    covariance: Sequence[str] | None = None,
    histogram: Mapping[str, Any] | None = None,
    warn_share: float = WARN_SHARE,
    checkpoint: str | Path | CheckpointTarget | None = None,
    out: str | Path | None = None,
    progress: bool | Callable[[int], None] = False,
) -> xr.Dataset:
    """Integrate SGD's order-1 SDE of a loss, or any SDE, over an ensemble of paths.

    For a loss: d theta = -s (grad L + weight_decay theta) dt + s sqrt(T) Sigma^(1/2) dW, T = f eta/S, s the schedule's
    factor, f = (N - S)/(N - 1) without replacement from N rows, else 1;
    momentum multiplies s by 1/(1 - momentum), its first-order limit. time, dt: learning-rate time t = eta*k. Left out,
    dt is a quarter of the learning rate; for an SDE a thousandth of the time, or as short as the rates ask that a few
    pilot paths see (the drift's Jacobian, the noise) and input that changes in time; attrs["dt"] says what was taken.
    check: halve the step on a few paths, on the same noise, after the run (about 1 % of its path-steps, six steps at
    least, so in its first part where paths are few), and warn (StepWarning) where mean or standard deviation of
    anything saved are off by more than 5 % of its spread and change in the run. steps_at: times at which coefficients
    jump, beside those that Piecewise, Heaviside and sign of time show by themselves: no step straddles one. start:
    {parameter: number, array, array with a leading path axis, or law}. save_at: a count of times (every step, where
    there are fewer), or the times. keep: "statistics" or "paths". parameters: {symbol or name: number, or several} for
    an SDE's parameters; each one given several gets a dimension of its name, all its values under the same noise.
    scheme: see `noetherflow schemes`; a loss runs under any but euler-maruyama as the SDE it makes (SDE.from_loss).
    refine: m takes the noise of each step from m steps of a finer grid: the same Brownian path as a run of dt/m with
    the same seed (where dt divides what lies between saves). bound: |state| beyond which a path counts as exploded.
    progress: show a bar, or a function to be told of every n path-steps. Ctrl-C keeps the chunks of paths that are
    complete (attrs["interrupted"]), with an InterruptedWarning.

    Quantiles are exact up to 4096 paths; beyond, they come from counts in bins, and each variable's attribute
    `quantile_error` is the most by which any of its quantiles can differ from the exact one of the same paths: of 10^5
    normal numbers, 4 % of half the interquartile range (the median's 2 %), more in heavy tails; what it is off is about
    a tenth of that. A variable that is not a finite number on a living path leaves that path out of its own statistics,
    and of no other's; `name_undefined` (time, own dims) then counts such paths, and an UndefinedWarning tells of them.
    events: {name: expression of the states and time}; an event is the first step after which the expression is positive
    (so late by up to a step, and by order sqrt(dt) on average where noise crosses a level). Adds `name_count` (time),
    paths that had it by then, and `name_time`: statistics over those paths, or per path. covariance: names of
    variables; adds `covariance` (time, one, other). histogram: {variable: increasing edges}; adds counts
    `name_histogram` (time, ..., name_bin), half-open bins between `name_left` and `name_right`, outermost ones
    infinite. warn_share: share of exploded paths beyond which an ExplosionWarning (a UserWarning) is given; it names
    the first with the reason: which function left its domain, at which argument, and what to write instead.
    attrs["explosions"] holds the same. checkpoint: a file that holds the complete chunks, written every few seconds; a
    call with the same arguments continues from it to the same bits, other arguments are refused. out: with
    keep="paths", a NetCDF file that paths are streamed to, chunk by chunk, instead of memory. Returns a Dataset (see
    DESIGN): dims (statistic, time, ...) or (path, time, ...). Raises ValueError before any compilation, OSError naming
    a file that cannot be written, or a checkpoint that is not whole.
    Source: Li, Tai, E, JMLR 20 (2019) 40; Ziyin et al. arXiv 2402.07193.
    """
    instance("simulate", problem, (Loss, SDE), "needs a Loss or an SDE", "Build one with symbolic.Loss or sde.SDE.")
    if isinstance(problem, Loss):
        require_sgd("simulate", sgd)
    elif sgd is not None:
        raise InputError.of("simulate.sgd", "an SDE stands by itself", sgd, "Leave it out.")
    sweep.check_start(problem, start)
    swept = sweep.axes(problem, parameters)
    gathered.check_names(problem, observables, events, histogram, swept)
    if swept and out is not None:
        raise InputError(
            f"parameters: several values are several runs, with no stream in common; got {sorted(swept)} swept. Run"
            " them one by one."
        )
    if swept:
        left_out = ("problem", "sgd", "parameters", "swept", "checkpoint", "left_out")
        settings = {k: v for k, v in locals().items() if k not in left_out}
        recorded = provenance.record(
            "simulate", problem, sgd, provenance.deciding({**settings, "parameters": parameters})
        )
        folder = checkpoint_folder.folder(checkpoint, "sweep", provenance.identity(recorded), recorded)

        def run(chosen: dict[str, Any], name: str) -> xr.Dataset:
            return simulate(problem, sgd, parameters=chosen, checkpoint=folder and folder.target(name), **settings)

        return sweep.over(swept, run, parameters, recorded)
    check_files(problem, checkpoint, out)
    asked: dict[str, Any] = {"parameters": parameters, "observables": observables, "time": time, "save_at": save_at}
    asked["steps_at"] = steps_at
    given = provenance.Given("simulate", problem, sgd, asked)
    time_grid.check_length("time", time, "t = eta*k" if isinstance(problem, Loss) else "time")
    if dt is not None:
        time_grid.check_length("dt", dt)
        dt = float(dt)
    time = float(time)
    request = RunRequest(
        start, paths, seed, keep, threads, bound, events, covariance, histogram, warn_share, checkpoint, out, progress
    )
    request.check()
    even = time_grid.continuous(time, dt if dt is not None else time, save_at)
    step = even.longest if dt is not None else (sgd.learning_rate / 4 if sgd else None)
    jumps = time_steps.places(steps_at, time) + schedule_jumps(problem, sgd, time)
    if isinstance(problem, Loss) and sgd is not None and require_scheme(scheme) != "euler-maruyama":
        problem, sgd = SDE.from_loss(problem, sgd), None
    chosen = find(require_scheme(scheme))[0]
    survey = None
    if isinstance(problem, SDE):
        survey = Survey(problem, sweep.numbers(problem, parameters), start, paths, seed, float(time))
        step, jumps = step or survey.step(), jumps + survey.jumps()
    assert step is not None
    grid = time_grid.continuous(time, min(dt or step, time), save_at, jumps)
    scheme = for_step(problem, scheme, grid.longest)
    if not 1 <= (whole(refine) or 0) * grid.steps < 2**32:
        raise InputError(
            f"refine: must be a whole number of at least 1, and finer steps fewer than 2**32; got {refine!r}"
            f" ({type(refine).__name__}). Leave it out."
        )
    if chosen.own_clock and refine != 1:
        raise InputError(
            f"refine: needs steps that are the same for all paths; got {refine!r} (int) with {scheme}, where each path"
            " chooses. Leave it out."
        )
    time_steps.unevenness(grid, int(refine), grid.longest)
    prepared = prepare(problem, scheme, gathered.together(observables, events), dtype)
    record: dict[str, Any] = {"kind": "sde", "scheme": scheme, "refine": int(refine)}
    if survey is not None:
        survey.refuse_singular_end(scheme, grid)
        values = constants(survey.sde, prepared, parameters, lambda: survey.pilot.size)
        record |= {"size": float(values[-1])} if len(values) > len(survey.parameters) else {}
        moving = step_inputs.of_sde(survey.sde, prepared, chosen, dtype, values)
        order = float(chosen.order("weak", survey.sde.noise_class))
        unseen = survey.unseen(grid) if check else None
    else:
        assert sgd is not None
        moving, order, unseen = step_inputs.of_loss(prepared, sgd, dtype), 1.0, None
    if check and dt is not None:
        time_steps.warn_of_short_steps(grid, dt, time)
    if unseen:
        time_steps.warn_of_unseen(unseen, grid.longest)
    pull = survey.pull() if survey is not None and check and dtype == "float32" else ()
    stepped = Steps(grid, int(refine), order if check else None, pull)
    return _run(problem, prepared, moving, stepped, request, record, given)


@called(
    {**OF_SGD, "time": TIME, **dict.fromkeys(("dt", "scheme", "refine", "check", "steps_at", "parameters"), OF_SDE)}
)
def train(
    loss: Loss,
    sgd: SGD,
    *,
    start: Mapping[Any, Any],
    steps: int,
    paths: int = 1000,
    seed: int = 0,
    observables: Mapping[str, Any] | None = None,
    save_at: Any = 101,
    keep: str = "statistics",
    dtype: str = "float64",
    full_batch: bool = False,
    threads: int | None = None,
    bound: float | None = None,
    events: Mapping[str, Any] | None = None,
    covariance: Sequence[str] | None = None,
    histogram: Mapping[str, Any] | None = None,
    warn_share: float = WARN_SHARE,
    checkpoint: str | Path | CheckpointTarget | None = None,
    out: str | Path | None = None,
    progress: bool | Callable[[int], None] = False,
) -> xr.Dataset:
    """Run discrete SGD itself over an ensemble of paths, on fresh samples of the law or rows of the data set.

    steps: optimiser steps; the result's time is t = eta*k. full_batch: gradient descent, the mean gradient instead of a
    minibatch. Other arguments and the result are as for `simulate`. Raises ValueError before any compilation.
    """
    other = "Use simulate for an SDE." if isinstance(loss, SDE) else "Build one with symbolic.Loss."
    instance("train", loss, Loss, "needs a Loss", other)
    require_sgd("train", sgd)
    gathered.check_names(loss, observables, events, histogram)
    check_files(loss, checkpoint, out)
    grid = time_grid.discrete(steps, sgd.learning_rate, save_at)
    scheme = "sgd-momentum" if sgd.momentum else "sgd"
    prepared = prepare(loss, scheme, gathered.together(observables, events), dtype)
    record: dict[str, Any] = {
        "kind": "gd" if full_batch else "sgd",
        "scheme": scheme,
        "steps": int(steps),
    }
    request = RunRequest(
        start, paths, seed, keep, threads, bound, events, covariance, histogram, warn_share, checkpoint, out, progress
    )
    asked = {"observables": observables, "save_at": save_at, "full_batch": full_batch}
    given = provenance.Given("train", loss, sgd, asked)
    moving = step_inputs.of_sgd(prepared, sgd, dtype, full_batch)
    return _run(loss, prepared, moving, Steps(grid), request, record, given)


def _run(
    problem: Loss | SDE,
    prepared: Prepared,
    moving: Motion,
    stepped: Steps,
    request: RunRequest,
    record: dict[str, Any],
    given: provenance.Given,
) -> xr.Dataset:
    request.check()
    run_clock = moving.clock(stepped.grid)
    keep, paths, seed, manifest = request.keep, int(request.paths), int(request.seed), prepared.module.manifest
    outputs = [dataset.Variable(o.name, o.shape) for o in prepared.outputs]
    layout, rows = gathered.result_layout(
        outputs, manifest["states"], run_clock, request.events, request.covariance, request.histogram
    )
    width = sum(v.rows for v in layout.variables) * len(run_clock.saves) * np.dtype(str(manifest["dtype"])).itemsize
    if keep == "paths" and request.out is None:
        refuse_too_many(paths, width)
    beginning = initial_states.reader(parameters_of(problem), request.start, paths, seed, len(manifest["states"]))  # type: ignore[arg-type]
    with compiling.reporting(request.progress is True):
        program = load(prepared.module.text, manifest)
    job = ensemble.Job(
        program,
        moving.driver(stepped.refine),
        run_clock,
        moving.values.astype(program.dtype),
        beginning,
        paths,
        seed,
        paths if keep == "paths" else 0,
        request.bound if request.bound is not None else ensemble.BOUND[program.dtype.name],
        len(layout.events),
        rows.covariance,
        rows.histograms,
    )
    names = [name for v in layout.variables for name in [v.name] * v.rows]
    mark = problem_identity(prepared, job.driver, run_clock, moving.values, beginning(0, min(paths, 4096)))
    recorded = given.record(
        {**vars(request), **record, "dt": stepped.taken, "dtype": program.dtype.name, "bound": job.bound}
    )
    store = None
    if request.checkpoint is not None:
        header = {
            "name": problem.name,
            "kind": record["kind"],
            "seed": str(seed),
            "paths": paths,
            "versions": versions(),
        }
        header["run"] = recorded
        store = Checkpoint(request.checkpoint, run_identity(mark, job, request.start), header)
    attrs = {
        **record,
        "dt": stepped.taken,
        "name": problem.name,
        "seed": str(seed),
        "dtype": program.dtype.name,
        "bound": job.bound,
        "keep": keep,
        "spec_hash": mark,
        "run": json.dumps(recorded),
        "versions": versions(),
    }
    share, out = float(request.warn_share), request.out
    threads = None if request.threads is None else int(request.threads)
    explain = explosion_reasons.explainer(problem, prepared, record["scheme"], job)
    watched = compiling.reporting(request.progress is True)
    with watched, bar(paths * run_clock.steps, problem.name, request.progress) as tick:
        if out is not None:
            after = None if stepped.order is None else lambda o: stepped.check(job, moving, o, names)
            data = stream.run(job, layout, threads, tick, out, share, attrs, explain, after)
        else:
            outcome = ensemble.run(job, threads, tick, store)
            if stepped.order is not None and not outcome.interrupted:
                attrs["step_error"] = stepped.check(job, moving, outcome, names)
            data = dataset.dataset(outcome, layout, keep, share, attrs, explain)
            provenance.label(data, given.problem, given.settings["observables"])
            data = data.assign_attrs(result_hash=fingerprint(data))
    if data.attrs["interrupted"]:
        warnings.warn(
            f"{given.command}: interrupted; the result holds the {data.attrs['paths']} of {paths} paths that were"
            " complete.",
            InterruptedWarning,
            stacklevel=3,
        )
    return data


@cache
def versions() -> str:
    """Ours and those that the numbers depend on."""
    return ", ".join(f"{p} {version(p)}" for p in ("noetherflow", "sympy", "numpy", "numba"))
