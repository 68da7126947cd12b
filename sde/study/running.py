"""Simulate an SDE, train by discrete SGD."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sde import clock, compiling, composite, drivers, ensemble, results, starts, stream
from sde.checkpoint import Checkpoint, Place
from sde.clock import Ticks
from sde.files import fingerprint
from sde.interruption import InterruptedWarning
from sde.kernels.drivers import Driver
from sde.program import load
from sde.progress import bar
from sde.study import extras, provenance, sweeping
from symbolic.loss import Loss
from symbolic.prepare import Prepared, parameters_of, prepare
from symbolic.schemes import find, for_step
from symbolic.sde import SDE
from symbolic.sgd import SGD

if TYPE_CHECKING:
    import xarray as xr

MEMORY_SHARE = 0.5
"""The share of the machine's memory that kept paths may take."""
WARN_SHARE = 0.001


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
    keep: str = "statistics",
    dtype: str = "float64",
    refine: int = 1,
    threads: int | None = None,
    bound: float | None = None,
    events: Mapping[str, Any] | None = None,
    covariance: Sequence[str] | None = None,
    histogram: Mapping[str, Any] | None = None,
    warn_share: float = WARN_SHARE,
    checkpoint: str | Path | Place | None = None,
    out: str | Path | None = None,
    progress: bool | Callable[[int], None] = False,
) -> xr.Dataset:
    """Integrate SGD's order-1 SDE of a loss, or any SDE, over an ensemble of paths.

    For a loss: d theta = -s (grad L + weight_decay theta) dt + s sqrt(T) Sigma^(1/2) dW, T = f eta/S, s the schedule's factor,
    f = (N - S)/(N - 1) without replacement from N rows, else 1;
    momentum multiplies s by 1/(1 - momentum), its first-order limit. time, dt: learning-rate time t = eta*k; dt defaults to a quarter of
    the learning rate (a thousandth of the time for an SDE). start: {parameter: number, array, array with a leading path axis, or law}.
    save_at: a count of times or the times. keep: "statistics" or "paths". parameters: {symbol or name: number, or several} for an
    SDE's parameters; each one given several gets a dimension of its name, all its values under the same noise. scheme: see `noetherflow schemes`; a loss
    runs under any but euler-maruyama as the SDE it makes (SDE.from_loss). refine: m takes the noise of each step from m steps of a finer grid: the same
    Brownian path as a run of dt/m with the same seed (where dt divides what lies between saves). bound: |state| beyond which a path counts as exploded. progress: show a bar, or a function to be told of every n path-steps. Ctrl-C keeps
    the chunks of paths that are complete (attrs["interrupted"]), with an InterruptedWarning.

    Quantiles are exact up to 4096 paths; beyond, they come from counts in bins, and each variable's attribute `quantile_error` is the most by which
    any of its quantiles can differ from the exact one of the same paths, as a rule under 2 % of half the interquartile range.
    events: {name: expression of the states and time}; an event is the first step after which the expression is positive (so late by up to a step, and by
    order sqrt(dt) on average where noise crosses a level). Adds `name_count` (time), paths that had it by then, and `name_time`: statistics over
    those paths, or per path. covariance: names of variables; adds `covariance` (time, one, other). histogram: {variable: increasing edges};
    adds counts `name_histogram` (time, ..., name_bin), half-open bins between `name_left` and `name_right`, outermost ones infinite.
    warn_share: share of exploded paths beyond which an ExplosionWarning (a UserWarning) is given.
    checkpoint: a file that holds the complete chunks, written every few seconds; a call with the same arguments continues from it to the
    same bits, other arguments are refused. out: with keep="paths", a NetCDF file that paths are streamed to, chunk by chunk, instead of memory.
    Returns a Dataset (see DESIGN): dims (statistic, time, ...) or (path, time, ...). Raises ValueError before any compilation, OSError naming a
    file that cannot be written, or a checkpoint that is not whole.
    Source: Li, Tai, E, JMLR 20 (2019) 40; Ziyin et al. arXiv 2402.07193.
    """
    if isinstance(problem, Loss):
        if sgd is None:
            raise ValueError("simulate: a loss needs the optimiser's settings; got none. Pass SGD(learning_rate=...).")
    elif sgd is not None:
        raise ValueError(f"simulate: an SDE stands by itself; got sgd={sgd!r}. Leave it out.")
    elif not isinstance(problem, SDE):
        raise ValueError(f"simulate: needs a Loss or an SDE; got {type(problem).__name__}. See symbolic.Loss.")
    swept = sweeping.axes(problem, parameters)
    if swept and out is not None:
        raise ValueError(
            f"parameters: several values are several runs, with no stream in common; got {sorted(swept)} swept. Run them one by one."
        )
    if swept:
        left_out = ("problem", "sgd", "parameters", "swept", "checkpoint", "left_out")
        settings = {k: v for k, v in locals().items() if k not in left_out}
        told = provenance.record("simulate", problem, sgd, provenance.deciding({**settings, "parameters": parameters}))
        folder = composite.folder(checkpoint, "sweep", provenance.identity(told), told)

        def run(chosen: dict[str, Any], name: str) -> xr.Dataset:
            return simulate(problem, sgd, parameters=chosen, checkpoint=folder and folder.place(name), **settings)

        return sweeping.over(swept, run, parameters, told)
    asked = {"parameters": parameters, "observables": observables, "time": time, "save_at": save_at}
    given = provenance.Given("simulate", problem, sgd, asked)
    step = dt if dt is not None else (sgd.learning_rate / 4 if sgd else time / 1000)
    grid = clock.continuous(time, min(step, time) if dt is None else step, save_at)
    if isinstance(problem, Loss) and sgd is not None and _continuous(scheme) != "euler-maruyama":
        find(scheme)
        problem, sgd = SDE.from_loss(problem, sgd), None
    scheme = for_step(problem, _continuous(scheme), grid.longest)
    if isinstance(refine, bool) or int(refine) != refine or not 1 <= refine * grid.steps < 2**32:
        raise ValueError(
            f"refine: must be a whole number of at least 1, and finer steps fewer than 2**32; got {refine!r} ({type(refine).__name__}). Leave it out."
        )
    own_clock = find(scheme)[0].own_clock
    if own_clock and refine != 1:
        raise ValueError(
            f"refine: needs steps that are the same for all paths; got {refine!r} (int) with {scheme}, where each path chooses. Leave it out."
        )
    prepared = prepare(problem, scheme, extras.together(observables, events), dtype)
    if isinstance(problem, SDE):
        if own_clock:
            driver = drivers.adaptive(prepared.factor, dtype)
            ticks = Ticks(grid, lambda time, length: length, lambda time, length: length)
        else:
            driver = drivers.brownian(
                prepared.mean, prepared.factor, dtype, int(refine), prepared.modes, problem.noises
            )
            ticks = Ticks(grid, lambda time, length: length, lambda time, length: np.sqrt(length))
        values = sweeping.numbers(problem, parameters)
    else:
        assert sgd is not None
        driver, population = drivers.noise(prepared, dtype, sgd.replacement, int(refine))
        temperature = sgd.temperature * sgd.noise_factor(population)
        inertia, factor = 1 - sgd.momentum, sgd.factor
        ticks = Ticks(
            grid,
            lambda time, length: length * (factor(time) / inertia),
            lambda time, length: np.sqrt(temperature / length),
        )
        values = np.array([sgd.weight_decay])
    record = {"kind": "sde", "scheme": scheme, "dt": float(min(step, time)), "refine": int(refine)}
    wanted = Wanted(
        start, paths, seed, keep, threads, bound, events, covariance, histogram, warn_share, checkpoint, out, progress
    )
    return _run(problem, prepared, driver, ticks, values, wanted, record, given)


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
    checkpoint: str | Path | Place | None = None,
    out: str | Path | None = None,
    progress: bool | Callable[[int], None] = False,
) -> xr.Dataset:
    """Run discrete SGD itself over an ensemble of paths, on fresh samples of the law or rows of the data set.

    steps: optimiser steps; the result's time is t = eta*k. full_batch: gradient descent, the mean gradient instead of a minibatch.
    Other arguments and the result are as for `simulate`. Raises ValueError before any compilation.
    """
    if not isinstance(loss, Loss):
        raise ValueError(f"train: needs a Loss; got {type(loss).__name__}. Use simulate for an SDE.")
    grid = clock.discrete(steps, sgd.learning_rate, save_at)
    scheme = "sgd-momentum" if sgd.momentum else "sgd"
    prepared = prepare(loss, scheme, extras.together(observables, events), dtype)
    driver = drivers.full_batch(prepared, dtype) if full_batch else drivers.minibatch(prepared, sgd, dtype)
    ticks = Ticks(grid, lambda time, length: length * sgd.factor(time), lambda time, length: np.zeros(len(length)))
    parameters = np.array([sgd.weight_decay, sgd.momentum] if sgd.momentum else [sgd.weight_decay])
    record = {
        "kind": "gd" if full_batch else "sgd",
        "scheme": scheme,
        "dt": sgd.learning_rate,
        "steps": int(steps),
    }
    wanted = Wanted(
        start, paths, seed, keep, threads, bound, events, covariance, histogram, warn_share, checkpoint, out, progress
    )
    asked = {"observables": observables, "save_at": save_at, "full_batch": full_batch}
    given = provenance.Given("train", loss, sgd, asked)
    return _run(loss, prepared, driver, ticks, parameters, wanted, record, given)


def _continuous(scheme: str) -> str:
    if scheme in ("sgd", "sgd-momentum"):
        raise ValueError(f"simulate.scheme: must integrate an SDE; got {scheme!r}, a discrete optimiser. Use train.")
    return scheme


@dataclass(frozen=True)
class Wanted:
    """The arguments that `simulate` and `train` share."""

    start: Mapping[Any, Any]
    paths: int
    seed: int
    keep: str
    threads: int | None
    bound: float | None
    events: Mapping[str, Any] | None
    covariance: Sequence[str] | None
    histogram: Mapping[str, Any] | None
    warn_share: float
    checkpoint: str | Path | Place | None
    out: str | Path | None
    progress: bool | Callable[[int], None]

    def check(self) -> None:
        """Raise ValueError for what no run can have."""
        paths, seed, keep, threads = self.paths, self.seed, self.keep, self.threads
        if isinstance(paths, bool) or int(paths) != paths or not 1 <= paths < 2**48:
            raise ValueError(
                f"paths: must be a whole number of at least 1; got {paths!r} ({type(paths).__name__}). Give a count."
            )
        if isinstance(seed, bool) or int(seed) != seed or not 0 <= seed < 2**64:
            raise ValueError(
                f"seed: must be a whole number in [0, 2**64); got {seed!r} ({type(seed).__name__}). Give e.g. 0."
            )
        if keep not in ("statistics", "paths"):
            raise ValueError(f"keep: must be 'statistics' or 'paths'; got {keep!r} ({type(keep).__name__}). Pick one.")
        if threads is not None and (isinstance(threads, bool) or int(threads) != threads or threads < 1):
            raise ValueError(
                f"threads: must be a whole number of at least 1; got {threads!r} ({type(threads).__name__}). Leave it out for all cores."
            )
        if isinstance(self.warn_share, bool) or not 0 <= self.warn_share <= 1:
            raise ValueError(
                f"warn_share: must be a share within [0, 1]; got {self.warn_share!r} ({type(self.warn_share).__name__}). Give e.g. 0.001."
            )
        if self.out is not None and keep != "paths":
            raise ValueError(
                f"out: streams paths; got {str(self.out)!r} with keep={keep!r}. Use keep='paths', or leave it out."
            )
        if self.out is not None and self.checkpoint is not None:
            raise ValueError(
                f"out: a stream of paths has no checkpoint; got {str(self.out)!r} beside {str(self.checkpoint)!r}. Leave one out."
            )


def _run(
    problem: Loss | SDE,
    prepared: Prepared,
    driver: Driver,
    ticks: Ticks,
    parameters: np.ndarray,
    wanted: Wanted,
    record: dict[str, Any],
    given: provenance.Given,
) -> xr.Dataset:
    wanted.check()
    keep, paths, seed, manifest = wanted.keep, int(wanted.paths), int(wanted.seed), prepared.module.manifest
    outputs = [results.Variable(o.name, o.shape) for o in prepared.outputs]
    frame, rows = extras.frame(outputs, manifest["states"], ticks, wanted.events, wanted.covariance, wanted.histogram)
    width = sum(v.rows for v in frame.variables) * len(ticks.saves) * np.dtype(str(manifest["dtype"])).itemsize
    if keep == "paths" and wanted.out is None:
        _refuse_too_many(paths, width)
    beginning = starts.reader(parameters_of(problem), wanted.start, paths, seed, len(manifest["states"]))  # type: ignore[arg-type]
    with compiling.reporting(wanted.progress is True):
        program = load(prepared.module.text, manifest)
    job = ensemble.Job(
        program,
        driver,
        ticks,
        parameters.astype(program.dtype),
        beginning,
        paths,
        seed,
        paths if keep == "paths" else 0,
        wanted.bound if wanted.bound is not None else ensemble.BOUND[program.dtype.name],
        len(frame.events),
        rows.covariance,
        rows.histograms,
    )
    mark = _identity(prepared, driver, ticks, parameters, beginning(0, min(paths, 4096)))
    told = given.record({**vars(wanted), **record, "dtype": program.dtype.name, "bound": job.bound})
    store = None
    if wanted.checkpoint is not None:
        header = {
            "name": problem.name,
            "kind": record["kind"],
            "seed": str(seed),
            "paths": paths,
            "versions": versions(),
        }
        header["run"] = told
        store = Checkpoint(wanted.checkpoint, _run_identity(mark, job, wanted.start), header)
    attrs = {
        **record,
        "name": problem.name,
        "seed": str(seed),
        "dtype": program.dtype.name,
        "bound": job.bound,
        "keep": keep,
        "spec_hash": mark,
        "run": json.dumps(told),
        "versions": versions(),
    }
    share, out = float(wanted.warn_share), wanted.out
    watched = compiling.reporting(wanted.progress is True)
    with watched, bar(paths * ticks.steps, problem.name, wanted.progress) as tick:
        if out is not None:
            data = stream.run(job, frame, wanted.threads, tick, out, share, attrs)
        else:
            outcome = ensemble.run(job, wanted.threads, tick, store)
            data = results.dataset(outcome, frame, keep, share, attrs)
            provenance.label(data, given.problem, given.settings["observables"])
            data = data.assign_attrs(result_hash=fingerprint(data))
    if data.attrs["interrupted"]:
        warnings.warn(
            f"{given.command}: interrupted; the result holds the {data.attrs['paths']} of {paths} paths that were complete.",
            InterruptedWarning,
            stacklevel=3,
        )
    return data


@cache
def versions() -> str:
    """Ours and those that the numbers depend on."""
    return ", ".join(f"{p} {version(p)}" for p in ("noetherflow", "sympy", "numpy", "numba"))


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30


def _refuse_too_many(paths: int, width: int) -> None:
    memory = _memory()
    if width * paths > MEMORY_SHARE * memory:
        raise ValueError(
            f"keep='paths': may take {MEMORY_SHARE:.0%} of memory ({MEMORY_SHARE * memory / 2**30:.1f} GiB); got {paths} paths that need "
            f"{width * paths / 2**30:.1f} GiB. Stream them with out='paths.nc', save at fewer times, take fewer paths or keep='statistics'."
        )


def _identity(prepared: Prepared, driver: Driver, ticks: Ticks, parameters: np.ndarray, start: np.ndarray) -> str:
    """Hash of all that decides a run but its seed and number of paths: the text, what drives it, the clock, where it starts."""
    digest = hashlib.sha256(prepared.module.text.encode())

    def feed(value: Any) -> None:
        if isinstance(value, tuple):
            for part in value:
                feed(part)
        else:
            digest.update(np.ascontiguousarray(value).tobytes() + b";")

    feed((driver, parameters, start, ticks.saves))
    for window in ticks.windows():
        feed((window.time, window.h, window.scale))
    return digest.hexdigest()[:16]


def _run_identity(mark: str, job: ensemble.Job, start: Mapping[Any, Any]) -> str:
    """Hash of all that decides a result: the problem's, and the numbers of the ensemble and of what is gathered over it."""
    digest = hashlib.sha256(mark.encode())
    numbers = (
        job.paths,
        job.seed,
        job.slots,
        job.bound,
        job.events,
        job.covariance,
        job.chunk_size,
        list(job.histograms),
    )
    digest.update(repr(numbers).encode())
    arrays = [np.asarray(v, dtype=np.float64) for _, v in sorted(start.items(), key=str) if not hasattr(v, "bind")]
    for array in (*job.histograms.values(), *arrays):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
