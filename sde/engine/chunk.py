"""A chunk of paths: the unit of work, of progress, interruption and merging. What it gives follows from the plan and
its index alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np

from sde.engine.accumulators import Statistics
from sde.engine.accumulators.accumulator import ChunkPaths, PathEvents
from sde.engine.hybrid_chunk import advance_hybrid
from sde.engine.interruption import Stop, Stopped
from sde.engine.plan import CHUNK_STEPS, Plan
from sde.engine.program import Program
from sde.engine.scratch import SCRATCH
from sde.kernels.drivers import Driver
from sde.kernels.hybrid.loop import run_hybrid
from sde.kernels.loop import Run, run_block
from sde.kernels.statistics import moments
from sde.kernels.workspace import aligned

SEGMENT_SECONDS, FIRST_STEPS = 0.05, 1
"""How long one compiled call runs before it tells of its progress, and how many steps the first one takes where nobody
knows how long they last."""
LOOP_BYTES = 2**20
"""Of a loop's driver, and of rows in its scratch, up to which it is held between chunks."""


@dataclass
class Worker:
    """What chunks of one plan in one process may share; no result depends on it. tick(n): told of every n path-steps
    done; pace: steps of a compiled call; idle(stop): what a thread may do that no chunk is left for."""

    stop: Stop = field(default_factory=Stop)
    tick: Callable[[int], None] | None = None
    pace: int = FIRST_STEPS
    idle: Callable[[Stop], None] | None = None

    def expect(self, seconds: float, paths: int) -> None:
        """Begin with calls of SEGMENT_SECONDS where a path-step has taken so many, but not with very long ones: paths
        may have been lost, or stopped, then."""
        if seconds and self.pace == FIRST_STEPS:
            self.pace = int(max(min(SEGMENT_SECONDS / seconds, CHUNK_STEPS) / paths, FIRST_STEPS))

    def took(self, seconds: float, steps: int) -> None:
        """Let calls take SEGMENT_SECONDS, by what one took."""
        fitting = steps * SEGMENT_SECONDS / max(seconds, 1e-9)
        if fitting < self.pace / 2 or steps == self.pace:
            self.pace = int(min(max(fitting, 1), 1024 * self.pace))


@dataclass
class ChunkResult:
    """What a chunk gives. statistics: mergeable, in order of chunks; paths: what they are made of, path by path."""

    paths: ChunkPaths
    statistics: Statistics


def load_loop(plan: Plan) -> Callable[..., Any]:
    """The loop that a plan's chunks take, compiled."""
    dtype, kind = plan.program.dtype, type(plan.driver)
    if plan.hybrid is None:
        return run_block(dtype, kind, plan.events > 0)
    return run_hybrid(dtype, kind, plan.hybrid.drawn(plan.program))


@dataclass
class Loop:
    """A compiled loop with scratch of its own, which one thread at a time runs. of: what it is of; stop: its flag;
    seconds: of its last path-step, 0 before the first."""

    of: tuple[Program, Driver, bool]
    run: Run
    stop: np.ndarray
    seconds: float = 0.0


class Loops:
    """Loops that nobody runs now, for the next chunk of the same: `most` of them, those used longest ago go first. None
    of many numbers: a problem's data should not outlive it."""

    def __init__(self, most: int) -> None:
        self.most, self._held, self._lock = most, list[Loop](), Lock()

    def take(self, plan: Plan) -> Loop:
        """A loop of a plan's, for the calling thread, to be given back."""
        program, driver, dated = plan.program, plan.driver, plan.events > 0
        with self._lock:
            for k in reversed(range(len(self._held))):
                of = self._held[k].of
                if of[1] is driver and of[2] == dated and of[0].native == program.native:
                    return self._held.pop(k)
        stop = np.zeros(1, np.int64)
        return Loop((program, driver, dated), load_loop(plan)(program.native, driver, stop), stop)

    def give(self, loop: Loop) -> None:
        """Take back what `take` gave."""
        program, driver, _ = loop.of
        of = program.native
        rows = program.dtype.itemsize * of.lanes * (of.inputs + of.observables + of.data)
        if rows + sum(a.nbytes for a in driver if isinstance(a, np.ndarray)) <= LOOP_BYTES:
            with self._lock:
                self._held.append(loop)
                del self._held[: -self.most]


LOOPS = Loops(2 * (os.cpu_count() or 1) + 4)
"""This process's."""


def run_chunk(plan: Plan, index: int, worker: Worker | None = None) -> ChunkResult:
    """Chunk `index` of a plan. Its rows are of SCRATCH, to be given back once read. Raises Stopped."""
    worker = worker or Worker()
    rows = SCRATCH.take((len(plan.clock.saves), plan.rows, plan.chunk_size), plan.program.dtype)
    paths, statistics = advance(plan, index, rows, worker), Statistics(plan)
    statistics.add(paths)
    return ChunkResult(paths, statistics)


def advance(plan: Plan, index: int, rows: np.ndarray, worker: Worker) -> ChunkPaths:
    """Take the paths of a chunk through all steps, block by block in segments of `worker.pace` steps, their saves into
    rows (saves, O, >= paths). Raises Stopped."""
    if plan.hybrid is not None:
        return advance_hybrid(plan, index, rows, worker)
    program, clock, first, count = plan.program, plan.clock, index * plan.chunk_size, plan.count(index)
    lanes, width, dtype = program.lanes, program.states, program.dtype
    loop, blocks, groups = LOOPS.take(plan), -(-count // lanes), 1 + plan.events
    worker.stop.join(loop.stop)
    worker.expect(loop.seconds, count)
    x = _states(np.asarray(plan.start(plan.first + first, count)), blocks, lanes, width, dtype)
    dead = np.full((blocks, groups * lanes), -1, dtype=np.int64)
    when, at = np.full(dead.shape, np.nan), 0
    cells, own_steps = moments.empty(len(clock.saves), plan.rows), np.zeros(3, np.int64)
    while at < clock.steps:
        if worker.stop.is_set():
            raise Stopped
        window = clock.window(at)
        end, began = min(at + worker.pace, window.first + len(window.h)), perf_counter()
        own_steps += loop.run(
            window,
            np.uint64(plan.seed),
            plan.parameters,
            x.reshape(blocks, -1),
            dead,
            when,
            plan.first + first,
            count,
            at,
            end,
            plan.bound,
            cells,
            rows,
            0,
        )
        if worker.tick:
            worker.tick(count * (end - at))
        seconds = perf_counter() - began
        worker.took(seconds, end - at)
        loop.seconds = seconds / (count * (end - at))
        at = end
    if worker.stop.is_set():
        raise Stopped
    worker.stop.leave(loop.stop)
    LOOPS.give(loop)

    def by_path(values: np.ndarray) -> np.ndarray:
        """(R, count) from rows (blocks, R * lanes)."""
        return np.swapaxes(values.reshape(blocks, -1, lanes), 0, 1).reshape(-1, blocks * lanes)[:, :count]

    states, times = by_path(dead), by_path(when)
    row, value = np.full(count, -1, np.int64), np.full(count, np.nan)
    exploded = states[0] >= 0
    if exploded.any():
        left = by_path(x[:, width:])
        row[exploded], value[exploded] = left[0, exploded], left[1, exploded]
    events = PathEvents(states[0], times[0], row, value, states[1:], times[1:])
    return ChunkPaths(index, first, count, rows, events, cells, own_steps)


def _states(start: np.ndarray, blocks: int, lanes: int, width: int, dtype: Any) -> np.ndarray:
    """(blocks, width + 2, lanes) from rows (n, width), the last of them for lanes without a path."""
    missing = blocks * lanes - len(start)
    if missing:
        start = np.concatenate([start, np.broadcast_to(start[-1:], (missing, width))])
    x = aligned((blocks, width + 2, lanes), dtype)
    x[:, :width] = np.swapaxes(start.reshape(blocks, lanes, width), 1, 2)
    return x
