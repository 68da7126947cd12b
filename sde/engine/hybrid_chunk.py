"""A chunk of paths that stop, jump or are reset: those that run on are gathered in ever fewer blocks, so that one that
has stopped costs nothing more. No number depends on when, as a path's follow from seed and path alone."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from sde.engine.accumulators.accumulator import ChunkPaths, PathEvents
from sde.engine.interruption import Stopped
from sde.engine.plan import Plan
from sde.kernels.drivers import Gaussian, Mean
from sde.kernels.hybrid.loop import run_hybrid
from sde.kernels.hybrid.record import Ended
from sde.kernels.statistics import moments
from sde.kernels.statistics.paths import summarise
from sde.kernels.workspace import aligned

if TYPE_CHECKING:
    from sde.engine.chunk import Worker


class _Carried:
    """Arrays of B blocks that go from segment to segment, the lanes last, and what paths leave that run no more."""

    def __init__(self, plan: Plan, first: int, count: int) -> None:
        program, lanes = plan.program, plan.program.lanes
        hybrid, blocks = plan.hybrid, -(-count // lanes)
        assert hybrid is not None
        start = np.asarray(plan.start(plan.first + first, count), dtype=program.dtype)
        start = np.concatenate([start, np.broadcast_to(start[-1:], (blocks * lanes - count, program.states))])
        x = aligned((blocks, program.states + 2, lanes), program.dtype)
        x[:, : program.states] = np.swapaxes(start.reshape(blocks, lanes, program.states), 1, 2)
        places = np.arange(blocks * lanes).reshape(blocks, lanes)
        marks = np.full((blocks, hybrid.groups, lanes), -1, dtype=np.int64)
        self.arrays = (
            x,
            places + (plan.first + first),
            np.where(places < count, places, -1),
            marks,
            np.full(marks.shape, np.nan),
            np.zeros((blocks, len(hybrid.clocks), lanes)),
            np.zeros((blocks, len(hybrid.sizes), lanes), np.int64),
        )
        self.ended = Ended(
            np.zeros((program.states + 2, count), program.dtype),
            np.full((hybrid.groups, count), -1, np.int64),
            np.full((hybrid.groups, count), np.nan),
            np.array([blocks, count]),
        )

    def flat(self) -> list[np.ndarray]:
        """The arrays as the loop takes them."""
        return [a.reshape(len(a), -1) for a in self.arrays]

    def harvest(self) -> None:
        """What the lanes still have, to what has ended."""
        x, _, places, marks, times, *_ = self.arrays
        block, lane = np.nonzero(places >= 0)
        at = places[block, lane]
        for target, source in zip(self.ended, (x, marks, times), strict=False):
            target[:, at] = source[block, :, lane].T


def advance_hybrid(plan: Plan, index: int, rows: np.ndarray, worker: Worker) -> ChunkPaths:
    """Take the paths of a chunk through all steps, their saves into rows (saves, O, >= paths). Raises Stopped."""
    program, clock, first, count = plan.program, plan.clock, index * plan.chunk_size, plan.count(index)
    hybrid, width = plan.hybrid, program.states
    assert hybrid is not None
    loop = run_hybrid(program.dtype, type(plan.driver), hybrid.drawn(program))
    native = hybrid.native(program, clock)
    carried, regroups = _Carried(plan, first, count), isinstance(plan.driver, Gaussian | Mean)
    own_steps, at = np.zeros(3, np.int64), 0
    while at < clock.steps:
        if worker.stop.is_set():
            raise Stopped
        window = clock.window(at)
        end, began = min(at + worker.pace, window.first + len(window.h)), perf_counter()
        own_steps += loop(
            program.native,
            native,
            plan.driver,
            window,
            np.uint64(plan.seed),
            plan.parameters,
            *carried.flat(),
            carried.ended,
            at,
            end,
            plan.bound,
            rows,
            regroups,
            worker.stop.flag,
        )
        worker.took(perf_counter() - began, end - at)
        end = end if carried.ended.left[1] else clock.steps
        if worker.tick:
            worker.tick(count * (end - at))
        at = end
    if worker.stop.is_set():
        raise Stopped
    carried.harvest()
    x, marks, times, _ = carried.ended
    _freeze(plan, x, marks, times, rows[:, :, :count])
    cells = moments.empty(len(clock.saves), plan.rows)
    summarise(rows, count, program.lanes, np.ascontiguousarray(marks[0]), clock.saves, cells)
    exploded = marks[0] >= 0
    row, value = np.full(count, -1, np.int64), np.full(count, np.nan)
    row[exploded], value[exploded] = x[width, exploded], x[width + 1, exploded]
    events = PathEvents(marks[0], times[0], row, value, marks[1:], times[1:])
    return ChunkPaths(index, first, count, rows, events, cells, own_steps)


def state_at(plan: Plan, path: int, step: int, until: float) -> np.ndarray | None:
    """As `sde.engine.rerun.state_at`."""
    program, clock, hybrid = plan.program, plan.clock, plan.hybrid
    assert hybrid is not None
    loop, native = run_hybrid(program.dtype, type(plan.driver), hybrid.drawn(program)), hybrid.native(program, clock)
    carried, at, pace = _Carried(plan, path, 1), 0, 16
    rows = np.empty((len(clock.saves), program.observables, 1), program.dtype)
    while at < step:
        if perf_counter() > until:
            return None
        window = clock.window(at)
        end = min(at + pace, step, window.first + len(window.h))
        seed, parameters = np.uint64(plan.seed), plan.parameters
        fixed = (program.native, native, plan.driver, window, seed, parameters)
        loop(*fixed, *carried.flat(), carried.ended, at, end, plan.bound, rows, False)
        at, pace = end, min(2 * pace, 4096)
    return carried.arrays[0][0, : program.states, 0].astype(np.float64)


def _freeze(plan: Plan, x: np.ndarray, marks: np.ndarray, times: np.ndarray, rows: np.ndarray) -> None:
    """What the loop has not written of rows (saves, O, n): the observables of paths that have stopped, at their stop's
    state and time, and NaN where a path is lost."""
    program, saves = plan.program, plan.clock.saves
    assert plan.hybrid is not None
    dead = (marks[0] >= 0) & (saves[:, None] >= marks[0])
    for o in range(plan.rows if dead.any() else 0):
        np.copyto(rows[:, o], np.nan, where=dead)
    stopped = np.flatnonzero(marks[-1] >= 0) if plan.hybrid.stops else np.empty(0, np.int64)
    if not len(stopped):
        return
    lanes, dtype = program.lanes, program.dtype
    frozen = np.zeros((plan.rows, rows.shape[2]), dtype)
    function = program.compiled["observe"].ctypes
    state, time, out = (np.zeros((n, lanes), dtype) for n in (program.states, 1, program.observables))
    arrays = (state, time, plan.parameters, out)
    pointers = [a.ctypes.data_as(kind) for a, kind in zip(arrays, function.argtypes, strict=True)]
    at_stop, stopped_at = x[: program.states, stopped], times[-1, stopped]
    seen = np.empty((plan.rows, len(stopped)), dtype)
    for at in range(0, len(stopped), lanes):
        n = min(lanes, len(stopped) - at)
        state[:, :n], time[0, :n] = at_stop[:, at : at + n], stopped_at[at : at + n]
        function(*pointers)
        seen[:, at : at + n] = out[:, :n]
    frozen[:, stopped] = seen
    over = (marks[-1] >= 0) & (saves[:, None] >= marks[-1])
    for o in range(plan.rows):
        np.copyto(rows[:, o], frozen[o], where=over)
