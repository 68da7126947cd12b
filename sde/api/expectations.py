"""E f(X_T) to a tolerance, by multilevel Monte Carlo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from sde.api import explosion_reasons, provenance, starts, sweep
from sde.api.estimate_store import Remembered, run_name
from sde.api.expectation_arguments import check_arguments
from sde.api.placement import placed
from sde.api.step_inputs import constants
from sde.api.survey import Survey
from sde.engine import checkpoint_folder, dataset, ensemble, inputs, interruption, time_grid
from sde.engine.accumulators.explosions import Explosions
from sde.engine.checkpoint import CheckpointTarget
from sde.engine.pilot import PATHS
from sde.engine.plan import Plan, Start
from sde.engine.program import Program, load
from sde.engine.time_grid import RunClock
from sde.estimators import multilevel
from sde.estimators.estimate import Expectation
from symbolic.codegen.prepare import Prepared, parameters_of, prepare
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError
from symbolic.language.calls import called
from symbolic.schemes import find, fitting, for_step, within_domain

SHIFT = 40
"""Level l takes the paths from l 2**40 on."""
BATCH_BYTES = 1 << 24
"""What one run's saves may take."""


@called({"dt": "Levels choose their steps: leave it out.", "paths": "The tolerance chooses them: leave it out."})
@placed
def expectation(
    sde: SDE,
    f: Any,
    *,
    tolerance: float,
    start: Mapping[Any, Any],
    time: float,
    start_time: float = 0.0,
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
    executor: Any = None,
    portable: bool = False,
    bound: float | None = None,
    checkpoint: str | Path | CheckpointTarget | None = None,
) -> Expectation:
    """E f(X_time) with a root mean square error that is named, by multilevel Monte Carlo.

    Level l steps by time/(steps refine**l) and estimates the mean change of f from steps refine times longer on the
    same Brownian paths; the first level estimates f. Levels are added, five at least, until what is left of the bias,
    extrapolated at the observed weak order (at most the stated one), is below half the tolerance and its noise below a
    quarter; paths are shared out so that the variance costs least. The lowest levels are left out where they would not
    pay.

    Paths of level l are those numbered l 2**40, l 2**40 + 1, ... of `seed`: no level shares one with another, a level
    that grows takes the next, and the first level's are `simulate`'s own. Ctrl-C raises KeyboardInterrupt, as a part of
    an estimate is none. Warns (VarianceWarning) where few extreme paths make the error.

    Parameters
    ----------
    sde
        The equation.
    f
        An expression of the states, parameters and time (Max and Piecewise too).
    tolerance
        The root mean square error asked for.
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
        {symbol or name: number}.
    steps
        Of the longest level.
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
    Expectation

    Raises
    ------
    InputError
        Before any compilation for bad input; later, rather than return a wrong number: when a path explodes or f is not
        finite on it (naming level, dt and path), when the bias has not fallen by the last level, when the tolerance
        takes more than the budget or is lost in rounding, when levels contradict each other, and when f takes one value
        only.

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
    began = perf_counter()
    check_arguments(
        sde,
        f,
        start,
        time=time,
        start_time=start_time,
        bound=bound,
        checkpoint=checkpoint,
        parameters=parameters,
        tolerance=tolerance,
        steps=steps,
        refine=refine,
        levels=levels,
        first_paths=first_paths,
        budget=budget,
        seed=seed,
        threads=threads,
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
        "start_time": start_time,
    }
    recorded = provenance.record("expectation", sde, None, {**settings, "bound": bound})
    folder = checkpoint_folder.folder(checkpoint, "expectation", provenance.identity(recorded), recorded)
    sampler = _Sampler(
        sde,
        f,
        start,
        time=time,
        began=float(start_time),
        scheme=scheme,
        parameters=parameters,
        steps=steps,
        refine=refine,
        seed=seed,
        dtype=dtype,
        threads=threads,
        bound=bound,
        folder=folder,
    )
    order = float(find(scheme)[0].order("weak", sde.noise_class))
    levels_plan = multilevel.Plan(
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
    found = multilevel.estimate(sampler, levels_plan, None if folder is None else Remembered(folder))
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
    if sde.domain:
        return within_domain(sde)[0]
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
        *,
        time: float,
        began: float = 0.0,
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
        self.sde, self.f, self.time, self.began, self.scheme = sde, f, time, began, scheme
        self.steps, self.refine, self.seed, self.dtype, self.threads = steps, refine, seed, dtype, threads
        self._grid(0)
        self._prepared, self._programs = dict[str, Prepared](), dict[str, Program]()
        prepared = self._ready(for_step(sde, scheme, time / steps))
        self.bound = bound if bound is not None else ensemble.BOUND[dtype]
        width = len(prepared.module.manifest["states"])
        self.start: Start = starts.reader(parameters_of(sde), start, 0, seed, width)
        numbers = sweep.numbers(sde, parameters)
        survey = Survey(sde, numbers, start, PATHS, seed, time, began)
        self.parameters = constants(sde, prepared, parameters, lambda: survey.pilot.size).astype(dtype)
        self.rows = sum(int(np.prod(o.shape, dtype=int)) for o in prepared.outputs)
        self.batch = max(1024, BATCH_BYTES // (self.rows * np.dtype(dtype).itemsize))

    def _grid(self, level: int) -> time_grid.Grid:
        longest = self.time / (self.steps * self.refine**level)
        return replace(time_grid.continuous(self.time, longest, [self.time]), begin=self.began)

    def _ready(self, name: str) -> Prepared:
        if name not in self._prepared:
            self._prepared[name] = prepare(self.sde, name, {"f_of_states": self.f}, self.dtype, begin=self.began)
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
        run_clock = RunClock(grid, time_grid.length, time_grid.root)
        offset = (level << SHIFT) + first
        plan = Plan(
            program=program,
            driver=driver,
            clock=run_clock,
            parameters=self.parameters,
            start=self.start,
            paths=count,
            seed=int(self.seed),
            bound=self.bound,
            keep=True,
            first=offset,
        )
        store = self.folder.checkpoint(run_name(level, at, first, count)) if self.folder else None
        run = ensemble.run(plan, self.threads, None, store)
        if run.interrupted or interruption.count() > self._asked:
            raise KeyboardInterrupt
        values = run.kept[-1, -1].astype(np.float64)
        where = f"on level {level} at dt = {grid.longest:g}"
        explosions = run.total[Explosions]
        if explosions.count:
            path, when, row, value = explosions.named[0]
            state = prepared.module.manifest["states"][int(row)]
            entry = {"path": int(path), "time": float(when), "state": state, "value": float(value)}
            explosion_reasons.explainer(self.sde, prepared, for_step(self.sde, self.scheme, grid.longest), plan)(
                [entry]
            )
            advice = entry.get("advice") or "Start with more steps, or take a tamed or implicit scheme"
            raise InputError(
                f"expectation: no path may explode; got {explosions.count} of {count} (int) {where} with"
                f" {self.scheme}, the first {dataset.in_words({**entry, 'path': first + int(path)})}. {advice}."
            )
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise InputError(
                f"expectation.f: must be finite; got {float(values[wrong[0]])!r} (float) on path {first + wrong[0]} and"
                f" {len(wrong) - 1} others {where}. Write f so that it is a number wherever paths go."
            )
        return values
