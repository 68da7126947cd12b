"""Run over an ensemble what has been prepared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.api import explosion_reasons, gathered, per_path, provenance, starts
from sde.api.run_arguments import refuse_too_many
from sde.api.run_identity import problem_identity, run_identity
from sde.api.step_inputs import Motion
from sde.api.time_steps import Steps
from sde.engine import compiling, dataset, ensemble, stream
from sde.engine.checkpoint import Checkpoint
from sde.engine.hybrid import Hybrid
from sde.engine.interruption import InterruptedWarning
from sde.engine.plan import Plan
from sde.engine.program import import_text, load
from sde.engine.progress import bar
from sde.engine.result_layout import Variable
from sde.kernels.drivers import Sampled, Weighted
from sde.storage.files import fingerprint
from sde.storage.formats import format_of
from symbolic.codegen.prepare import Prepared, parameters_of
from symbolic.dynamics.equation import SDE
from symbolic.errors import warn
from symbolic.problem.loss import Loss

if TYPE_CHECKING:
    import xarray as xr


def run_prepared(
    problem: Loss | SDE,
    prepared: Prepared,
    moving: Motion,
    stepped: Steps,
    record: dict[str, Any],
    given: provenance.Given,
    hybrid: Hybrid | None = None,
    own: per_path.Own = per_path.NONE,
) -> xr.Dataset:
    """Run what `prepare` made over the ensemble. problem: as it was prepared; record: what was chosen, beside the
    settings; hybrid: what stops or changes paths; own: parameters that each path has for itself."""
    settings = given.settings
    run_clock = moving.clock(stepped.grid)
    keep, out, paths, seed = settings.saves.keep, settings.saves.out, settings.paths, settings.seed
    manifest = prepared.module.manifest
    outputs = [Variable(o.name, o.shape) for o in prepared.outputs]
    layout, rows = gathered.result_layout(outputs, manifest["states"], run_clock, settings.gather, hybrid)
    width = sum(v.rows for v in layout.variables) * len(run_clock.saves) * np.dtype(str(manifest["dtype"])).itemsize
    if keep == "paths" and out is None:
        refuse_too_many(paths, width)
    beginning = starts.reader(parameters_of(problem), settings.start, paths, seed, len(manifest["states"]))
    starts.check_domains(problem, beginning.sample(paths))
    beginning = own.beside(beginning, manifest["states"])
    driver = moving.driver(stepped.refine)
    with compiling.reporting(settings.progress is True):
        text = prepared.module.text
        swept = isinstance(driver, Weighted) or (
            isinstance(driver, Sampled) and not hasattr(import_text(text), "accumulate")
        )
        program = load(text, manifest, prepared.module.functions, () if swept else ("sweep",))
    numbers = np.append(moving.values, prepared.table)
    plan = Plan(
        program=program,
        driver=driver,
        clock=run_clock,
        parameters=numbers.astype(program.dtype),
        start=beginning,
        paths=paths,
        seed=seed,
        bound=settings.bound if settings.bound is not None else ensemble.BOUND[program.dtype.name],
        keep=keep == "paths",
        events=len(layout.events),
        hybrid=hybrid,
        covariance=rows.covariance,
        histograms=rows.histograms,
    )
    names = [name for v in layout.variables for name in [v.name] * v.rows]
    mark = problem_identity(prepared, plan.driver, run_clock, numbers, beginning.sample(paths))
    recorded = given.record({**record, "dt": stepped.taken, "bound": plan.bound})
    arrays = {f":{k}": v["path"] for k, v in (settings.parameters or {}).items() if isinstance(v, Mapping)}
    store = None
    if settings.checkpoint is not None:
        header = {"name": problem.name, "kind": record["kind"], "seed": str(seed), "paths": paths}
        header |= {"versions": provenance.versions(), "run": recorded}
        begun = {**settings.start, **arrays}
        store = Checkpoint(settings.checkpoint, run_identity(mark, plan, begun, out is not None), header)
    attrs = {
        **record,
        "dt": stepped.taken,
        "name": problem.name,
        "seed": str(seed),
        "dtype": program.dtype.name,
        "bound": plan.bound,
        "keep": keep,
        "spec_hash": mark,
        "run": json.dumps(recorded),
        "versions": provenance.versions(),
    }
    explain = explosion_reasons.explainer(problem, prepared, record["scheme"], plan)
    labels = provenance.labels(given.problem, settings.gather.observables)

    watched = compiling.reporting(settings.progress is True)
    with watched, bar(paths * run_clock.steps, problem.name, settings.progress) as tick, ExitStack() as files:
        put, trial = None, stepped.trial(plan, moving)
        idle = trial.take if trial is not None and trial.brief else None
        if out is None:
            outcome = ensemble.run(plan, settings.threads, tick, store, idle=idle)
        else:
            target = stream.Target(out, layout, labels)
            outcome, put = files.enter_context(stream.run(plan, target, settings.threads, tick, store, idle))
        if trial is not None and not outcome.interrupted:
            attrs["step_error"] = stepped.check(trial, outcome, names)
        data = dataset.dataset(outcome, layout, keep if put is None else "stream", settings.warn_share, attrs, explain)
        if "path" in data.coords or (put is not None and not outcome.interrupted):
            ran = data.path.values if put is None else np.arange(paths)
            data = data.assign_coords({name: ("path", own.values(name, ran)) for name in own.names})
        provenance.label(data, labels)
        if put is None:
            data.attrs["result_hash"] = fingerprint(data)
        else:
            put(data)
    data = data if out is None else format_of(out).opened(out)
    if own.names and out is not None and data.attrs["interrupted"]:
        data = data.assign_coords({name: ("path", own.values(name, data.path.values)) for name in own.names})
    if data.attrs["interrupted"]:
        warn(
            f"{settings.command}: interrupted; the result holds the {data.attrs['paths']} of {paths} paths that were"
            " complete.",
            InterruptedWarning,
        )
    return data
