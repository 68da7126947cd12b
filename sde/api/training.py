"""Train by discrete SGD."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sde.api import gathered, passages, provenance, step_inputs
from sde.api.placement import placed
from sde.api.prepared_run import run_prepared
from sde.api.run_arguments import check_files
from sde.api.time_steps import Steps
from sde.engine import time_grid
from sde.engine.checkpoint import CheckpointTarget
from sde.settings import Gather, RunSettings, SaveAt
from symbolic.codegen.prepare import prepare
from symbolic.dynamics.equation import SDE
from symbolic.errors import instance
from symbolic.language.calls import OF_RUNS, OF_SGD, called
from symbolic.problem import observed_text
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.schemes import find

if TYPE_CHECKING:
    import xarray as xr


TIME = "Give steps=, the time over the learning rate; simulate takes time=."
OF_SDE = "It belongs to the SDE: use simulate."
OTHERS = dict.fromkeys(("dt", "scheme", "noise", "refine", "check", "steps_at", "parameters"), OF_SDE)


@called({**OF_RUNS, **OF_SGD, "time": TIME, **OTHERS})
@placed
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
    executor: Any = None,
    portable: bool = False,
    bound: float | None = None,
    events: Mapping[str, Any] | None = None,
    stop: str | Sequence[str] | None = None,
    covariance: Sequence[str] | None = None,
    histogram: Mapping[str, Any] | None = None,
    warn_share: float = 0.0,
    checkpoint: str | Path | CheckpointTarget | None = None,
    out: str | Path | None = None,
    progress: bool | Callable[[int], None] = False,
) -> xr.Dataset:
    """Run discrete SGD itself over an ensemble of paths, on fresh samples of the distribution or rows of the data set.

    Parameters
    ----------
    loss : Loss
        What is minimised.
    sgd : SGD
        The optimiser's settings.
    start : mapping
        {parameter: number, array of its shape, array (paths, *shape), or distribution}.
    steps : int
        Optimiser steps; the result's time is t = eta*k, k = 0..steps.
    paths, seed, observables
        As for `simulate`.
    save_at : int or array (K,)
        A count of times, taken at the nearest steps, or increasing multiples of the learning rate.
    keep, dtype
        As for `simulate`.
    full_batch : bool
        Gradient descent: the mean gradient instead of a minibatch.
    threads, executor, portable, bound, events, stop, covariance, histogram, warn_share, checkpoint, out, progress
        As for `simulate`.

    Returns
    -------
    xarray.Dataset
        As of `simulate`.

    Raises
    ------
    InputError
        Before any compilation, for arguments that no run can have.
    OSError
        Naming the file: one that cannot be written, or a checkpoint that is not whole.

    Warns
    -----
    ExplosionWarning, UndefinedWarning, BrokenPoolWarning, LostChunksWarning, InterruptedWarning
        As for `simulate`.

    Examples
    --------
    >>> import sympy as sp
    >>> from sde import SGD, train
    >>> from symbolic import Loss, Normal
    >>> u, w, x, y = sp.symbols("u w x y", real=True)
    >>> loss = Loss((u * w * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})
    >>> run = train(loss, SGD(learning_rate=0.01), start={u: 1.0, w: 0.5}, steps=100, observables={"C": u**2 - w**2})
    >>> run.C.dims, float(run.time[-1])
    (('statistic', 'time'), 1.0)
    """
    other = "Use simulate for an SDE." if isinstance(loss, SDE) else "Build one with symbolic.Loss."
    instance("train", loss, Loss, "needs a Loss", other)
    require_sgd("train", sgd)
    settings = RunSettings(
        command="train",
        start=start,
        steps=steps,
        paths=paths,
        seed=seed,
        dtype=dtype,
        full_batch=full_batch,
        bound=bound,
        warn_share=warn_share,
        threads=threads,
        checkpoint=checkpoint,
        progress=progress,
        saves=SaveAt(save_at=save_at, keep=keep, out=out),
        gather=Gather(
            observables=observed_text.read("observables", observables, loss),
            events=events,
            stop=stop,
            covariance=covariance,
            histogram=histogram,
        ),
    )
    gathered.check_names(loss, settings.gather)
    return _descend(loss, sgd, provenance.Given(loss, sgd, settings))


def _descend(loss: Loss, sgd: SGD, given: provenance.Given) -> xr.Dataset:
    settings = given.settings
    assert settings.steps is not None
    check_files(loss, settings.checkpoint, settings.saves.out)
    grid = time_grid.discrete(settings.steps, sgd.learning_rate, settings.saves.save_at)
    scheme = "sgd-nesterov" if sgd.nesterov else "sgd-momentum" if sgd.momentum else "sgd"
    watch = passages.passages(loss, sgd, settings.gather, find(scheme)[0], discrete=True)
    observed = gathered.together(settings.gather) if watch is None else settings.gather.observables
    watched, shared = watch.watched if watch else None, bool(settings.full_batch)
    prepared = prepare(loss, scheme, observed, settings.dtype, shared_rows=shared, watched=watched)
    record = {"kind": "gd" if settings.full_batch else "sgd", "scheme": scheme, "steps": settings.steps}
    record |= {"crossings": watch.crossings} if watch else {}
    moving = step_inputs.of_sgd(prepared, sgd, settings.dtype, settings.full_batch)
    return run_prepared(loss, prepared, moving, Steps(grid), record, given, watch.hybrid if watch else None)
