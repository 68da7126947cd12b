"""f at the end of paths at the steps of levels, of one function or several at once."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

from sde.api import explosion_reasons, extreme_bridges, level_grids, passages, starts, sweep, time_jumps, timed
from sde.api.estimate_store import run_name
from sde.api.event_functions import EventFunction
from sde.api.step_inputs import constants
from sde.api.survey import Survey
from sde.engine import checkpoint_folder, dataset, ensemble, inputs, interruption, time_grid
from sde.engine.accumulators.explosions import Explosions
from sde.engine.pilot import PATHS, RESOLVED
from sde.engine.plan import Plan, Start
from sde.engine.program import Program, load
from sde.engine.time_grid import RunClock
from sde.estimators.level_set import Exploded
from sde.settings import Gather
from symbolic.codegen.prepare import Prepared, parameters_of, prepare
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError
from symbolic.schemes import find, for_step

SHIFT = 40
"""Level l takes the paths from l 2**40 on."""
BATCH_BYTES = 1 << 24
"""What one run's saves may take."""
KEPT_BYTES = 1 << 28
"""What functions at the ends of paths may take that are kept for one another; beyond, paths are run again."""

STEADY, MOST_STEPS, MOST_STABLE = 0.25, 256, 4096
"""Of the shortest relaxation time seen, steps at which biases no longer turn about; and the most steps of the longest
level that nobody asked for, with events and without."""


class LevelPaths:
    """Functions at the end of given paths of a level, and of the same paths at longer steps:
    `sde.estimators.multilevel.Sample` of each. Several share their paths, which are those of each alone."""

    def __init__(
        self,
        sde: SDE,
        functions: Mapping[str, EventFunction],
        start: Mapping[Any, Any],
        *,
        time: float,
        began: float = 0.0,
        scheme: str,
        parameters: Mapping[Any, Any] | None,
        steps: int | None,
        refine: int,
        seed: int,
        dtype: str,
        threads: int | None,
        bound: float | None,
        gather: Gather | None = None,
        folder: checkpoint_folder.Folder | None = None,
    ) -> None:
        self.folder, self._asked = folder, interruption.count()
        self.watch = passages.passages(sde, None, gather, find(scheme)[0]) if gather else None
        if gather and gather.events and self.watch is None:
            rule = "that ask for several states at once are looked at after steps, where they stop paths"
            raise InputError.of("events", rule, list(gather.events), 'Give stop="first", or crossings="bridge".')
        self.sde, self.time, self.began, self.scheme = sde, time, began, scheme
        self.functions, self._known, self._bytes = functions, dict[tuple[int, int], np.ndarray](), 0
        asked = Gather(observables=self._observed(), events=gather.events if gather else None)
        self._extremes = extreme_bridges.description(sde, asked)
        numbers = sweep.numbers(sde, parameters)
        survey = Survey(sde, numbers, start, PATHS, seed, time, began)
        self.resolved = STEADY * survey.pilot.step / RESOLVED
        self.refine, self.seed, self.dtype, self.threads = int(refine), seed, dtype, threads
        jumps = time_jumps.of_problem(sde, timed.of_problem(sde, asked), time, began, survey.numbers())
        fewest = self._fewest() if steps is None else int(steps)
        looked = level_grids.surveyed(survey, self._observed().values())
        self._first = level_grids.first_grid(looked, fewest, self.refine, jumps, steps is not None)
        self.steps, self.longest = self._first.steps, self._first.longest
        time_grid.check_begin("expectation.start_time", began, time, self._grid(0).longest)
        self._prepared, self._programs = dict[str, Prepared](), dict[str, Program]()
        prepared = self._ready(for_step(sde, scheme, self.longest))
        self.bound = bound if bound is not None else ensemble.BOUND[dtype]
        width = len(prepared.module.manifest["states"])
        self.start: Start = starts.reader(parameters_of(sde), start, 0, seed, width)
        self.parameters = constants(sde, prepared, parameters, lambda: survey.pilot.size).astype(dtype)
        rows = sum(int(np.prod(o.shape, dtype=int)) for o in prepared.outputs) - self._forms + 1
        self.batch = max(1024, BATCH_BYTES // (rows * np.dtype(dtype).itemsize))  # as of one function alone

    def _fewest(self) -> int:
        """Steps of the longest level by how fast states relax."""
        steps = 1
        longest, most = (2, MOST_STEPS) if self.watch else (1.01 / STEADY, MOST_STABLE)
        while steps < most and self.time / steps > longest * self.resolved:
            steps *= self.refine
        return steps

    @property
    def order(self) -> float:
        """The weak order that is stated: the scheme's own, at most that of what is seen of events and extremes."""
        found = float(find(self.scheme)[0].order("weak", self.sde.noise_class))
        found = found if isfinite(found) else 1.0
        for how in (self.watch.crossings if self.watch else None, self._extremes):
            found = found if how is None else min(found, 1.0 if how == passages.BRIDGE else 0.5)
        return found

    def _grid(self, level: int) -> time_grid.Grid:
        return level_grids.finer(self._first, self.refine**level)

    def _ready(self, name: str) -> Prepared:
        if name not in self._prepared:
            watched = self.watch.watched if self.watch else None
            observed = self._observed()
            self._prepared[name] = prepare(self.sde, name, observed, self.dtype, watched=watched, begin=self.began)
        return self._prepared[name]

    def _program(self, dt: float) -> tuple[Prepared, Program]:
        """One for all steps, unless the scheme's formula depends on them (milstein-levy)."""
        name = for_step(self.sde, self.scheme, dt)
        prepared = self._ready(name)
        if name not in self._programs:
            self._programs[name] = load(prepared.module.text, prepared.module.manifest)
        return prepared, self._programs[name]

    def _observed(self) -> dict[str, Any]:
        """Functions under names that a state hardly has."""
        if self._forms == 1:
            return {"f_of_states": next(iter(self.functions.values())).forms[0]}
        forms = [(k, i, form) for k, f in enumerate(self.functions.values()) for i, form in enumerate(f.forms)]
        return {f"f_of_states_{k}" + (f"_{i}" if i else ""): form for k, i, form in forms}

    @property
    def _forms(self) -> int:
        return sum(len(f.forms) for f in self.functions.values())

    def __call__(
        self, level: int, first: int, count: int, coarse: bool, which: int = 0
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Of the function of that number."""
        fine = self._finite(which, level, level, first, count)
        return fine, self._finite(which, level, level - 1, first, count) if coarse else None

    def _finite(self, which: int, level: int, at: int, first: int, count: int) -> np.ndarray:
        values = self._shared(level, at, first, count)[which]
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            name = list(self.functions)[which]
            where = f"expectation.f[{name}]" if len(self.functions) > 1 else "expectation.f"
            raise InputError(
                f"{where}: must be finite; got {float(values[wrong[0]])!r} (float) on path {first + wrong[0]} and"
                f" {len(wrong) - 1} others on level {level} at dt = {self._grid(at).longest:g}. Write f so that it is a"
                " number wherever paths go."
            )
        return values

    def _shared(self, level: int, at: int, first: int, count: int) -> np.ndarray:
        """(F, count) all functions; of several, those of a level's first paths are kept for one another."""
        known = self._known.get((level, at), np.empty((len(self.functions), 0)))
        have, end = known.shape[1], first + count
        if len(self.functions) == 1 or first > have or self._bytes > KEPT_BYTES:
            return self._final_states(level, at, first, count)
        if end > have:
            more = self._final_states(level, at, have, end - have)
            self._known[level, at] = known = np.concatenate([known, more], axis=1)
            self._bytes += more.nbytes
            if self.folder:
                self.folder.drop(run_name(level, at, have, end - have))
        return known[:, first:end]

    def _final_states(self, level: int, at: int, first: int, count: int) -> np.ndarray:
        """(F, count) at the end of this level's paths, at the steps of level `at`."""
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
            parameters=np.append(self.parameters, prepared.table.astype(self.dtype)),
            start=self.start,
            paths=count,
            seed=int(self.seed),
            bound=self.bound,
            keep=True,
            events=self.watch.hybrid.groups - 1 if self.watch else 0,
            hybrid=self.watch.hybrid if self.watch else None,
            first=offset,
        )
        store = self.folder.checkpoint(run_name(level, at, first, count)) if self.folder else None
        run = ensemble.run(plan, self.threads, None, store)
        if run.interrupted or interruption.count() > self._asked:
            raise KeyboardInterrupt
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
            raise Exploded(
                f"expectation: no path may explode; got {explosions.count} of {count} (int) {where} with"
                f" {self.scheme}, the first {dataset.in_words({**entry, 'path': first + int(path)})}. {advice}.",
                at,
            )
        values, happened = run.kept[-1, -self._forms :].astype(np.float64), run.path_events.hit >= 0
        ends = np.cumsum([0, *(len(f.forms) for f in self.functions.values())])
        each = zip(self.functions.values(), ends[:-1], ends[1:], strict=True)
        return np.array([f.at(values[first:last], happened) for f, first, last in each])
