"""Simulate an SDE, train by discrete SGD."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sde import clock, drivers, ensemble, results, starts, stream
from sde.checkpoint import Checkpoint, Place
from sde.clock import Ticks
from sde.files import fingerprint
from sde.kernels.drivers import Driver
from sde.program import load
from sde.progress import bar
from sde.study import extras, losses, sweeping
from sde.values import check_ensemble, real, whole
from symbolic.loss import Loss
from symbolic.prepare import Prepared, parameters_of, prepare
from symbolic.schemes import find, for_step
from symbolic.sde import SDE
from symbolic.sgd import SGD

if TYPE_CHECKING:
    import xarray as xr

MEMORY_SHARE = 0.5
"""The share of the machine's memory that kept paths may take."""
WARN_SHARE = 0.0
"""Share of lost paths beyond which a warning is given: any at all."""


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
    progress: bool = False,
) -> xr.Dataset:
    """Integrate SGD's order-1 SDE of a loss, or any SDE, over an ensemble of paths.

    For a loss: d theta = -s (grad L + weight_decay theta) dt + s sqrt(T) Sigma^(1/2) dW, T = f eta/S, s the schedule's factor,
    f = (N - S)/(N - 1) without replacement from N rows, else 1;
    momentum multiplies s by 1/(1 - momentum), its first-order limit. time, dt: learning-rate time t = eta*k; dt defaults to a quarter of
    the learning rate (a thousandth of the time for an SDE). start: {parameter: number, array, array with a leading path axis, or law}.
    save_at: a count of times or the times. keep: "statistics" or "paths". parameters: {symbol or name: number, or several} for an
    SDE's parameters; each one given several gets a dimension of its name, all its values under the same noise. scheme: see `noetherflow schemes`; a loss
    runs under any but euler-maruyama as the SDE it makes (SDE.from_loss). refine: m takes the noise of each step from m steps of a finer grid: the same
    Brownian path as a run of dt/m with the same seed (where dt divides what lies between saves). bound: |state| beyond which a path counts as exploded. progress: show a bar. Ctrl-C keeps
    the chunks of paths that are complete (attrs["interrupted"]).

    Quantiles are exact up to 4096 paths; beyond, they come from counts in bins, and each variable's attribute `quantile_error` is the most by which
    any of its quantiles can differ from the exact one of the same paths: of 10^5 normal numbers, 4 % of half the interquartile range (the median's
    2 %), more in heavy tails; what it is off is about a tenth of that.
    A variable that is not a finite number on a living path leaves that path out of its own statistics, and of no other's; `name_undefined` (time,
    own dims) then counts such paths, and an UndefinedWarning tells of them.
    events: {name: expression of the states and time}; an event is the first step after which the expression is positive (so late by up to a step, and by
    order sqrt(dt) on average where noise crosses a level). Adds `name_count` (time), paths that had it by then, and `name_time`: statistics over
    those paths, or per path. covariance: names of variables; adds `covariance` (time, one, other). histogram: {variable: increasing edges};
    adds counts `name_histogram` (time, ..., name_bin), half-open bins between `name_left` and `name_right`, outermost ones infinite.
    warn_share: share of exploded paths beyond which an ExplosionWarning (a UserWarning) is given; it names the first with the reason: which function left
    its domain, at which argument, and what to write instead. attrs["explosions"] holds the same.
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
    extras.check_names(problem, observables, events, histogram, swept)
    if swept and (checkpoint is not None or out is not None):
        raise ValueError(
            f"parameters: several values are several runs, with no checkpoint or stream in common; got {sorted(swept)} swept. Run them one by one."
        )
    if swept:
        settings = {k: v for k, v in locals().items() if k not in ("problem", "sgd", "parameters", "swept")}
        return sweeping.over(swept, lambda chosen: simulate(problem, sgd, parameters=chosen, **settings), parameters)
    clock.check_length("time", time)
    if dt is not None:
        clock.check_length("dt", dt)
        dt = float(dt)
    time = float(time)
    step = dt if dt is not None else (sgd.learning_rate / 4 if sgd else time / 1000)
    grid = clock.continuous(time, min(step, time) if dt is None else step, save_at)
    if isinstance(problem, Loss) and sgd is not None and _continuous(scheme) != "euler-maruyama":
        find(scheme)
        problem, sgd = SDE.from_loss(problem, sgd), None
    scheme = for_step(problem, _continuous(scheme), grid.longest)
    if not 1 <= (whole(refine) or 0) * grid.steps < 2**32:
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
    return _run(problem, prepared, driver, ticks, values, wanted, record)


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
    progress: bool = False,
) -> xr.Dataset:
    """Run discrete SGD itself over an ensemble of paths, on fresh samples of the law or rows of the data set.

    steps: optimiser steps; the result's time is t = eta*k. full_batch: gradient descent, the mean gradient instead of a minibatch.
    Other arguments and the result are as for `simulate`. Raises ValueError before any compilation.
    """
    if not isinstance(loss, Loss):
        raise ValueError(f"train: needs a Loss; got {type(loss).__name__}. Use simulate for an SDE.")
    extras.check_names(loss, observables, events, histogram)
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
    return _run(loss, prepared, driver, ticks, parameters, wanted, record)


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
    progress: bool

    def check(self) -> None:
        """Raise ValueError for what no run can have."""
        keep, threads = self.keep, self.threads
        check_ensemble(self.paths, self.seed)
        if not isinstance(keep, str) or keep not in ("statistics", "paths"):
            raise ValueError(f"keep: must be 'statistics' or 'paths'; got {keep!r} ({type(keep).__name__}). Pick one.")
        if threads is not None and (whole(threads) or 0) < 1:
            raise ValueError(
                f"threads: must be a whole number of at least 1; got {threads!r} ({type(threads).__name__}). Leave it out for all cores."
            )
        share, bound = real(self.warn_share), self.bound
        if share is None or not 0 <= share <= 1:
            raise ValueError(
                f"warn_share: must be a share within [0, 1]; got {self.warn_share!r} ({type(self.warn_share).__name__}). Give e.g. 0.001."
            )
        endless = isinstance(bound, float) and bound == float("inf")
        if bound is not None and not endless and (real(bound) or 0) <= 0:
            raise ValueError(
                f"bound: must be positive; got {bound!r} ({type(bound).__name__}). Leave it out, or give the |state| at which a path is lost."
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
) -> xr.Dataset:
    wanted.check()
    keep, paths, seed, manifest = wanted.keep, int(wanted.paths), int(wanted.seed), prepared.module.manifest
    outputs = [results.Variable(o.name, o.shape) for o in prepared.outputs]
    frame, rows = extras.frame(outputs, manifest["states"], ticks, wanted.events, wanted.covariance, wanted.histogram)
    width = sum(v.rows for v in frame.variables) * len(ticks.saves) * np.dtype(str(manifest["dtype"])).itemsize
    if keep == "paths" and wanted.out is None:
        _refuse_too_many(paths, width)
    beginning = starts.reader(parameters_of(problem), wanted.start, paths, seed, len(manifest["states"]))  # type: ignore[arg-type]
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
    store = None
    if wanted.checkpoint is not None:
        header = {
            "name": problem.name,
            "kind": record["kind"],
            "seed": str(seed),
            "paths": paths,
            "versions": versions(),
        }
        store = Checkpoint(wanted.checkpoint, _run_identity(mark, job, wanted.start), header)
    attrs = {
        **record,
        "name": problem.name,
        "seed": str(seed),
        "dtype": program.dtype.name,
        "bound": job.bound,
        "keep": keep,
        "spec_hash": mark,
        "versions": versions(),
    }
    share, out = float(wanted.warn_share), wanted.out
    threads = None if wanted.threads is None else int(wanted.threads)
    explain = losses.explainer(problem, prepared, record["scheme"], job)
    with bar(paths * ticks.steps, problem.name, wanted.progress) as tick:
        if out is not None:
            return stream.run(job, frame, threads, tick, out, share, attrs, explain)
        outcome = ensemble.run(job, threads, tick, store)
    data = results.dataset(outcome, frame, keep, share, attrs, explain)
    return data.assign_attrs(result_hash=fingerprint(data))


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
