"""E f(X_T) to a tolerance, by multilevel Monte Carlo."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import sympy as sp

from sde.api import explosion_reasons, provenance, sweep
from sde.api.estimate_store import Remembered, run_name
from sde.api.run_arguments import check_bound, check_path
from sde.api.step_inputs import constants
from sde.api.survey import Survey
from sde.engine import checkpoint_folder, dataset, ensemble, initial_states, inputs, interruption, time_grid, values
from sde.engine.checkpoint import CheckpointTarget
from sde.engine.pilot import PATHS
from sde.engine.plan import Start
from sde.engine.program import Program, load
from sde.engine.time_grid import RunClock
from sde.estimators import multilevel
from sde.estimators.estimate import Expectation
from sde.estimators.multilevel import Plan
from symbolic.codegen.prepare import Prepared, check_expression, parameters_of, prepare
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, instance
from symbolic.language.calls import called
from symbolic.schemes import find, fitting, for_step

SHIFT = 40
"""Level l takes the paths from l 2**40 on."""
NO_SDE = "Build one with sde.SDE, or SDE.from_loss(loss, sgd) of a loss."
BATCH_BYTES = 1 << 24
"""What one run's saves may take."""


@called({"dt": "Levels choose their steps: leave it out.", "paths": "The tolerance chooses them: leave it out."})
def expectation(
    sde: SDE,
    f: Any,
    *,
    tolerance: float,
    start: Mapping[Any, Any],
    time: float,
    scheme: str | None = None,
    parameters: Mapping[Any, Any] | None = None,
    steps: int = 1,
    refine: int = 2,
    levels: int = 12,
    first_paths: int = 1000,
    budget: float = 1e11,
    seed: int = 0,
    dtype: str = "float64",
    threads: int | None = None,
    bound: float | None = None,
    checkpoint: str | Path | CheckpointTarget | None = None,
) -> Expectation:
    """E f(X_time) with root mean square error `tolerance`, by multilevel Monte Carlo: Giles, Oper. Res. 56 (2008) 607.

    f: an expression of the states, parameters and time (Max and Piecewise too). Level l steps by time/(steps refine**l)
    and estimates the mean change of f from steps refine times longer on the same Brownian paths; the first level
    estimates f. Levels are added, five at least, until what is left of the bias, extrapolated at the observed weak
    order (at most the stated one), is below half the tolerance and its noise below a quarter; paths are shared out so
    that the variance costs least. The lowest levels are left out where they would not pay. scheme: when left out,
    milstein where the noise commutes (the levels' variance then falls like dt**2), else euler-maruyama; heun for a
    Stratonovich equation. start: numbers, arrays of a parameter's shape, or laws. first_paths: on each of the first
    three levels, to see variances by; more, and finer levels, where f is one value on all of them. levels: the finest
    that may be used. budget: most path-steps.

    Paths of level l are those numbered l 2**40, l 2**40 + 1, ... of `seed`: no level shares one with another, a level
    that grows takes the next, and the first level's are `simulate`'s own. The result does not depend on threads.
    checkpoint: a folder that holds what was sampled; a call with the same arguments goes on from it to the same bits.
    Ctrl-C raises KeyboardInterrupt, as a part of an estimate is none. Raises ValueError before any compilation for bad
    input; later, rather than return a wrong number: when a path explodes or f is not finite on it (naming level, dt and
    path), when the bias has not fallen by the last level, when the tolerance takes more than the budget or is lost in
    rounding, when levels contradict each other, and when f takes one value only. Warns (multilevel.VarianceWarning)
    where few extreme paths make the error.
    """
    began = perf_counter()
    _check(
        sde,
        f,
        start,
        time,
        bound,
        checkpoint,
        parameters,
        tolerance,
        steps,
        refine,
        levels,
        first_paths,
        budget,
        seed,
        threads,
    )
    if scheme is None:
        scheme = _default(sde)
    if find(scheme)[0].own_clock:
        raise InputError(
            f"expectation.scheme: levels need steps that are the same for all paths; got {scheme!r} (str), where each"
            " path chooses. Leave it out."
        )
    settings = {
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
    }
    recorded = provenance.record("expectation", sde, None, {**settings, "bound": bound})
    folder = checkpoint_folder.folder(checkpoint, "expectation", provenance.identity(recorded), recorded)
    sampler = _Sampler(sde, f, start, time, scheme, parameters, steps, refine, seed, dtype, threads, bound, folder)
    order = float(find(scheme)[0].order("weak", sde.noise_class))
    plan = Plan(
        tolerance=float(tolerance),
        time=float(time),
        steps=int(steps),
        refine=int(refine),
        most=int(levels),
        first=int(first_paths),
        budget=float(budget),
        order=order if isfinite(order) else 1.0,
        batch=sampler.batch,
        rounding=float(np.finfo(dtype).eps) / 2,
    )
    found = multilevel.estimate(sampler, plan, None if folder is None else Remembered(folder))
    return Expectation(
        problem=sde.name,
        functional=str(f),
        scheme=scheme,
        noise_class=sde.noise_class,
        time=float(time),
        tolerance=float(tolerance),
        seed=int(seed),
        refine=int(refine),
        seconds=perf_counter() - began,
        **vars(found),
    )


def _default(sde: SDE) -> str:
    if sde.interpretation == "stratonovich":
        return "heun"
    return "milstein" if "milstein" in fitting(sde) else "euler-maruyama"


class _Sampler:
    """f at the end of given paths of a level, and of the same paths at longer steps:
    `sde.estimators.multilevel.Sample`."""

    def __init__(
        self,
        sde: SDE,
        f: Any,
        start: Mapping[Any, Any],
        time: float,
        scheme: str,
        parameters: Mapping[Any, Any] | None,
        steps: int,
        refine: int,
        seed: int,
        dtype: str,
        threads: int | None,
        bound: float | None,
        folder: checkpoint_folder.Folder | None = None,
    ) -> None:
        self.folder, self._asked = folder, interruption.count()
        self.sde, self.f, self.time, self.scheme = sde, f, time, scheme
        self.steps, self.refine, self.seed, self.dtype, self.threads = steps, refine, seed, dtype, threads
        self._grid(0)
        self._prepared, self._programs = dict[str, Prepared](), dict[str, Program]()
        prepared = self._ready(for_step(sde, scheme, time / steps))
        self.bound = bound if bound is not None else ensemble.BOUND[dtype]
        width = len(prepared.module.manifest["states"])  # type: ignore[arg-type]
        self.start: Start = initial_states.reader(parameters_of(sde), start, 0, seed, width)
        numbers = sweep.numbers(sde, parameters)
        survey = Survey(sde, numbers, start, PATHS, seed, time)
        self.parameters = constants(sde, prepared, parameters, lambda: survey.pilot.size).astype(dtype)
        self.rows = sum(int(np.prod(o.shape, dtype=int)) for o in prepared.outputs)
        self.batch = max(1024, BATCH_BYTES // (self.rows * np.dtype(dtype).itemsize))

    def _grid(self, level: int) -> time_grid.Grid:
        return time_grid.continuous(self.time, self.time / (self.steps * self.refine**level), [self.time])

    def _ready(self, name: str) -> Prepared:
        if name not in self._prepared:
            self._prepared[name] = prepare(self.sde, name, {"f_of_states": self.f}, self.dtype)
        return self._prepared[name]

    def _program(self, dt: float) -> tuple[Prepared, Program]:
        """One for all steps, unless the scheme's formula depends on them (milstein-levy)."""
        name = for_step(self.sde, self.scheme, dt)
        prepared = self._ready(name)
        if name not in self._programs:
            self._programs[name] = load(prepared.module.text, prepared.module.manifest)
        return prepared, self._programs[name]

    def __call__(self, level: int, first: int, count: int, coarse: bool) -> tuple[np.ndarray, np.ndarray | None]:
        fine = self._final_states(level, level, first, count)
        return fine, self._final_states(level, level - 1, first, count) if coarse else None

    def _final_states(self, level: int, at: int, first: int, count: int) -> np.ndarray:
        """(count,) f at the end of this level's paths, at the steps of level `at`."""
        grid = self._grid(at)
        prepared, program = self._program(grid.longest)
        refine = self.refine ** (level - at)
        driver = inputs.brownian(prepared.mean, prepared.factor, self.dtype, refine, prepared.modes, self.sde.noises)
        run_clock = RunClock(grid, lambda time, length: length, lambda time, length: np.sqrt(length))
        offset = (level << SHIFT) + first
        job = ensemble.Job(
            program,
            driver,
            run_clock,
            self.parameters,
            self.start,
            count,
            int(self.seed),
            count,
            self.bound,
            first=offset,
        )
        store = self.folder.checkpoint(run_name(level, at, first, count)) if self.folder else None
        run = ensemble.run(job, self.threads, None, store)
        if run.interrupted or interruption.count() > self._asked:
            raise KeyboardInterrupt
        values = run.kept[-1, -1].astype(np.float64)
        where = f"on level {level} at dt = {grid.longest:g}"
        if run.total.exploded:
            path, when, row, value = run.total.named[0]
            state = prepared.module.manifest["states"][int(row)]  # type: ignore[index]
            entry = {"path": int(path), "time": float(when), "state": state, "value": float(value)}
            explosion_reasons.explainer(self.sde, prepared, for_step(self.sde, self.scheme, grid.longest), job)([entry])
            advice = entry.get("advice") or "Start with more steps, or take a tamed or implicit scheme"
            raise InputError(
                f"expectation: no path may explode; got {run.total.exploded} of {count} (int) {where} with"
                f" {self.scheme}, the first {dataset.in_words({**entry, 'path': first + int(path)})}. {advice}."
            )
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise InputError(
                f"expectation.f: must be finite; got {float(values[wrong[0]])!r} (float) on path {first + wrong[0]} and"
                f" {len(wrong) - 1} others {where}. Write f so that it is a number wherever paths go."
            )
        return values


def _check(
    sde: Any,
    f: Any,
    start: Mapping[Any, Any],
    time: Any,
    bound: Any,
    checkpoint: Any,
    parameters: Mapping[Any, Any] | None,
    tolerance: Any,
    steps: Any,
    refine: Any,
    levels: Any,
    first_paths: Any,
    budget: Any,
    seed: Any,
    threads: Any,
) -> None:
    """Raise ValueError for what cannot be."""

    def refuse(name: str, rule: str, got: Any, do: str) -> InputError:
        return InputError.of(f"expectation{name}", rule, got, do)

    instance("expectation", sde, SDE, "needs an SDE", NO_SDE)
    if isinstance(f, bool) or not isinstance(f, (sp.Expr, int, float)):
        several = isinstance(f, (list, tuple, dict, np.ndarray, sp.MatrixBase))
        do = "Call expectation for each of several." if several else "Write it with the states' symbols."
        do = "Write Heaviside(a - b) for the chance of a > b." if isinstance(f, sp.Rel) else do
        raise refuse(".f", "must be one SymPy expression of the states", f, do)
    check_expression("expectation.f", f, sde)
    time_grid.check_length("expectation.time", time)
    check_bound(bound)
    check_path("checkpoint", checkpoint)
    instance("start", start, Mapping, "must be a mapping {name or symbol: value}", "Write {'X': 1.0}.")
    for name, value in (("tolerance", tolerance), ("budget", budget)):
        if (values.real(value) or 0) <= 0:
            raise refuse(
                f".{name}",
                "must be positive and finite",
                value,
                "Give e.g. 1e-3, in units of f." if name == "tolerance" else "Give e.g. 1e11.",
            )
    whole: list[tuple[str, Any, int, float]] = [
        ("steps", steps, 1, 2**31),
        ("refine", refine, 2, 64),
        ("levels", levels, 2, 31),
        ("first_paths", first_paths, 100, 2**32),
        ("seed", seed, 0, 2**64 - 1),
        *([("threads", threads, 1, 4096)] if threads is not None else []),
    ]
    for name, value, least, most in whole:
        number = values.whole(value)
        if number is None or not least <= number <= most:
            raise refuse(f".{name}", f"must be a whole number from {least} to {most}", value, f"Give e.g. {least}.")
    sweep.check_start(sde, start)
    swept = sweep.axes(sde, parameters)
    if swept:
        raise refuse(".parameters", "takes one number each", sorted(swept), "Call expectation for each value.")
    for key, value in start.items():
        shapes = [p.shape for p in sde.parts if str(getattr(key, "name", key)) == p.name]
        if shapes and not hasattr(value, "bind") and np.ndim(value) > len(shapes[0]):
            raise refuse(
                f".start[{key}]",
                "paths are not known in advance, so none has its own start",
                np.shape(value),
                "Give a number, or a law.",
            )
