"""Simulate an SDE, train by discrete SGD."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from sde import clock, drivers, ensemble, results, starts
from sde.kernels.drivers import Driver
from sde.kernels.loops import Clock
from sde.program import load
from sde.progress import bar
from sde.study import sweeping
from symbolic.loss import Loss
from symbolic.prepare import Prepared, parameters_of, prepare
from symbolic.schemes import for_step
from symbolic.sde import SDE
from symbolic.sgd import SGD

if TYPE_CHECKING:
    import xarray as xr

MEMORY_SHARE = 0.5
"""The share of the machine's memory that kept paths may take."""
RESERVOIR_BYTES = 32 * 2**20
"""Quantiles come from as many first paths as fit this; attrs["quantile_paths"] says how many."""


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
    Returns a Dataset (see DESIGN): dims (statistic, time, ...) or (path, time, ...). Raises ValueError before any compilation.
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
    if swept:
        settings = {k: v for k, v in locals().items() if k not in ("problem", "sgd", "parameters", "swept")}
        return sweeping.over(swept, lambda chosen: simulate(problem, sgd, parameters=chosen, **settings), parameters)
    step = dt if dt is not None else (sgd.learning_rate / 4 if sgd else time / 1000)
    grid = clock.continuous(time, min(step, time) if dt is None else step, save_at)
    scheme = for_step(_continuous(scheme), float(grid.length.max()))
    if isinstance(problem, Loss) and sgd is not None and scheme != "euler-maruyama":
        problem, sgd = SDE.from_loss(problem, sgd), None
    if isinstance(refine, bool) or int(refine) != refine or not 1 <= refine * grid.steps < 2**32:
        raise ValueError(
            f"refine: must be a whole number of at least 1, and finer steps fewer than 2**32; got {refine!r} ({type(refine).__name__}). Leave it out."
        )
    prepared = prepare(problem, scheme, observables, dtype)
    if isinstance(problem, SDE):
        driver = drivers.brownian(prepared.mean, prepared.factor, dtype, int(refine), prepared.modes, problem.noises)
        ticks = Clock(grid.time, grid.length, np.sqrt(grid.length), grid.saves)
        values = sweeping.numbers(problem, parameters)
    else:
        assert sgd is not None
        driver, population = drivers.noise(prepared, dtype, sgd.replacement, int(refine))
        temperature = sgd.temperature * sgd.noise_factor(population)
        factor = sgd.factor(grid.time[:-1]) / (1 - sgd.momentum)
        ticks = Clock(grid.time, grid.length * factor, np.sqrt(temperature / grid.length), grid.saves)
        values = np.array([sgd.weight_decay])
    record = {"kind": "sde", "scheme": scheme, "dt": float(min(step, time)), "refine": int(refine)}
    return _run(
        problem, prepared, driver, ticks, values, start, paths, seed, keep, threads, bound, progress, record, sgd
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
    progress: bool = False,
) -> xr.Dataset:
    """Run discrete SGD itself over an ensemble of paths, on fresh samples of the law or rows of the data set.

    steps: optimiser steps; the result's time is t = eta*k. full_batch: gradient descent, the mean gradient instead of a minibatch.
    Other arguments and the result are as for `simulate`. Raises ValueError before any compilation.
    """
    if not isinstance(loss, Loss):
        raise ValueError(f"train: needs a Loss; got {type(loss).__name__}. Use simulate for an SDE.")
    grid = clock.discrete(steps, sgd.learning_rate, save_at)
    prepared = prepare(loss, "sgd-momentum" if sgd.momentum else "sgd", observables, dtype)
    driver = drivers.full_batch(prepared, dtype) if full_batch else drivers.minibatch(prepared, sgd, dtype)
    ticks = Clock(grid.time, grid.length * sgd.factor(grid.time[:-1]), np.zeros(grid.steps), grid.saves)
    parameters = np.array([sgd.weight_decay, sgd.momentum] if sgd.momentum else [sgd.weight_decay])
    record = {
        "kind": "gd" if full_batch else "sgd",
        "scheme": "sgd-momentum" if sgd.momentum else "sgd",
        "dt": sgd.learning_rate,
        "steps": int(steps),
    }
    return _run(
        loss, prepared, driver, ticks, parameters, start, paths, seed, keep, threads, bound, progress, record, sgd
    )


def _continuous(scheme: str) -> str:
    if scheme in ("sgd", "sgd-momentum"):
        raise ValueError(f"simulate.scheme: must integrate an SDE; got {scheme!r}, a discrete optimiser. Use train.")
    return scheme


def _run(
    problem: Loss | SDE,
    prepared: Prepared,
    driver: Driver,
    ticks: Clock,
    parameters: np.ndarray,
    start: Mapping[Any, Any],
    paths: int,
    seed: int,
    keep: str,
    threads: int | None,
    bound: float | None,
    progress: bool,
    record: dict[str, Any],
    sgd: SGD | None,
) -> xr.Dataset:
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
    if paths * 16 > MEMORY_SHARE * _memory():
        raise ValueError(f"paths: their bookkeeping must fit in memory; got {paths!r} (int). Take fewer paths.")
    paths, manifest = int(paths), prepared.module.manifest
    variables = [results.Variable(o.name, o.shape) for o in prepared.outputs]
    width = sum(v.rows for v in variables) * len(ticks.saves) * np.dtype(str(manifest["dtype"])).itemsize
    slots = _slots(keep, paths, width)
    beginning = starts.reader(parameters_of(problem), start, paths, int(seed), len(manifest["states"]))  # type: ignore[arg-type]
    program = load(prepared.module.text, manifest)
    job = ensemble.Job(
        program,
        driver,
        ticks,
        parameters.astype(program.dtype),
        beginning,
        paths,
        int(seed),
        slots,
        bound if bound is not None else ensemble.BOUND[program.dtype.name],
    )
    with bar(paths * len(ticks.h), problem.name, progress) as tick:
        outcome = ensemble.run(job, threads, tick)
    attrs = {
        **record,
        "name": problem.name,
        "seed": str(seed),
        "dtype": program.dtype.name,
        "bound": job.bound,
        "keep": keep,
        "spec_hash": _identity(prepared, driver, ticks, parameters, beginning(0, min(paths, 4096))),
        "quantile_paths": slots,
        "interrupted": int(outcome.interrupted),
        "wall_seconds": outcome.wall_seconds,
        "compile_seconds": outcome.compile_seconds,
        "versions": versions(),
    }
    return results.dataset(outcome, variables, ticks.time, ticks.saves, keep, attrs)


def versions() -> str:
    """Ours and those that the numbers depend on."""
    return ", ".join(f"{p} {version(p)}" for p in ("noetherflow", "sympy", "numpy", "numba"))


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30


def _slots(keep: str, paths: int, width: int) -> int:
    """How many paths' saves stay in memory: all of them on request, else enough for quantiles."""
    if keep == "paths":
        memory = _memory()
        if width * paths > MEMORY_SHARE * memory:
            raise ValueError(
                f"keep='paths': may take {MEMORY_SHARE:.0%} of memory ({MEMORY_SHARE * memory / 2**30:.1f} GiB); got {paths} paths that need "
                f"{width * paths / 2**30:.1f} GiB. Save at fewer times, take fewer paths or keep='statistics'."
            )
        return paths
    return min(paths, max(4096, RESERVOIR_BYTES // max(width, 1)))


def _identity(prepared: Prepared, driver: Driver, ticks: Clock, parameters: np.ndarray, start: np.ndarray) -> str:
    """Hash of all that decides a run but its seed and number of paths: the text, what drives it, the clock, where it starts."""
    digest = hashlib.sha256(prepared.module.text.encode())

    def feed(value: Any) -> None:
        if isinstance(value, tuple):
            for part in value:
                feed(part)
        else:
            digest.update(np.ascontiguousarray(value).tobytes() + b";")

    feed((driver, ticks, parameters, start))
    return digest.hexdigest()[:16]
