"""An ensemble of paths, chunk by chunk: the chunk is the unit of work, progress, interruption and merging."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np

from sde.engine import compiling
from sde.engine.accumulators import ChunkStatistics, Gathering, Observed, PathEvents
from sde.engine.interruption import Stop, deliver, heeded
from sde.engine.plan import EXACT_BYTES, EXACT_PATHS, Job, Sink, Store
from sde.engine.quantiles import TABLE_BYTES, Sketch, bits_for
from sde.engine.state_check import check_state
from sde.kernels.loop import run_block
from sde.kernels.statistics import quantile_bins

BOUND = {"float32": 1e18, "float64": 1e100}
"""|x| beyond which a path counts as exploded, so that squares still fit the number type."""

SEGMENT_SECONDS, FIRST_STEPS = 0.05, 16
"""How long one compiled call runs before it tells of its progress, and how many steps the first one takes."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; the run went on."""


@dataclass
class Outcome:
    """total: statistics over the paths of the chunks `done`; sketches: of the saved observables, cells in order (save,
    observable), and of event times. kept: (saves, O, slots), NaN where dead; ends: how each path ended (dead -2: was
    not run), where paths are kept. interrupted: whether Ctrl-C cut the run short."""

    total: ChunkStatistics
    sketches: tuple[Sketch, ...]
    kept: np.ndarray
    path_events: PathEvents
    interrupted: bool
    wall_seconds: float
    compile_seconds: float


def run(
    job: Job,
    threads: int | None = None,
    tick: Callable[[int], None] | None = None,
    store: Store | None = None,
    sink: Sink | None = None,
) -> Outcome:
    """Run a job on a pool of threads. tick(n) is told of every n path-steps done. store: continue from what it holds,
    and save there from time to time; where that fails the run goes on with a CheckpointWarning. sink: takes the paths'
    saves instead of `kept`.

    Ctrl-C keeps the chunks that are complete; without a single one KeyboardInterrupt goes on. So does SIGTERM: see
    `sde.engine.interruption`.
    """
    program, clock = job.program, job.clock
    compiled = perf_counter()
    with compiling.noticed(compiling.LOOP_SECONDS):
        loop = run_block(program.dtype, type(job.driver), job.events > 0)
    compiled = perf_counter() - compiled + program.compile_seconds
    started = perf_counter()
    workers = threads or os.cpu_count() or 1
    keep = job.slots > 0 and sink is None
    observed = Observed(clock.saves, job.rows, job.events, job.covariance, job.histograms)
    gathered = Gathering(observed, job.chunks, () if job.slots else _sketches(job, workers))
    kept = np.full((len(clock.saves), job.rows, job.slots if keep else 0), np.nan, dtype=program.dtype)
    path_events = _no_events(job, job.slots if keep else 0, -2)
    stop, buffers, earlier, pace = Stop(), list[np.ndarray](), 0.0, [FIRST_STEPS]

    def chunk(index: int) -> None:
        first = index * job.chunk_size
        last = min(first + job.chunk_size, job.paths)
        statistics, own = ChunkStatistics.empty(observed), _no_events(job, last - first, -1)
        rows = kept if keep else _buffer(job, buffers)
        if not _advance(job, loop, first, last, statistics, own, rows, first if keep else 0, stop, tick, pace):
            return
        mine = np.ascontiguousarray(rows[:, :, first:last]) if keep and (job.covariance or job.histograms) else rows
        statistics.finish(observed, first, mine, last - first, own)
        if sink is not None:
            sink.write(first, rows[:, :, : last - first], own)
        if keep:
            for all_paths, piece in zip(path_events, own, strict=True):
                all_paths[..., first:last] = piece
        gathered.add(
            index, statistics, last - first, (rows.reshape(-1, rows.shape[2]), own.time)[: len(gathered.sketches)]
        )
        if not keep:
            buffers.append(rows)

    saved = store.load(lambda held: check_state(held, job, gathered, path_events if keep else None)) if store else None
    if saved:
        earlier = float(saved.pop("wall"))
        _restore_paths(saved, kept, path_events)
        gathered.restore(saved)
    saver, before = _Saver(store) if store else None, int(gathered.done.sum())
    if tick and before:
        tick(int(_ran(job, gathered.done).sum()) * clock.steps)

    def state() -> dict[str, np.ndarray]:
        out = gathered.state() | {"wall": np.array(earlier + perf_counter() - started)}
        return out | _path_state(job, out["done"], kept, path_events) if keep else out

    pool = ThreadPoolExecutor(max_workers=workers)
    running = set[Future[None]]()
    try:
        with heeded(stop, store is not None):
            for index in _order(job, gathered):
                if stop.is_set():
                    break
                running.add(pool.submit(chunk, index))
                while len(running) >= 2 * workers:
                    running = _reap(running, stop)
                    gathered.merge()
                    if saver and saver.store.due() and not stop.is_set():
                        saver.save(state())
            while running:
                running = _reap(running, stop)
                gathered.merge()
                if saver and running and saver.store.due() and not stop.is_set():
                    saver.save(state())
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    if saver and int(gathered.done.sum()) > before:
        saver.save(state(), last=True)
    deliver(stop)
    if not gathered.done.any():
        raise KeyboardInterrupt
    gathered.merge(all_=True)
    if keep and not gathered.done.all():
        kept[:, :, ~_ran(job, gathered.done)] = np.nan
    wall = earlier + perf_counter() - started
    return Outcome(gathered.total, gathered.sketches, kept, path_events, not bool(gathered.done.all()), wall, compiled)


def _reap(running: set[Future[None]], stop: Stop) -> set[Future[None]]:
    """Wait for some chunk; those still running. Whatever stops one of them stops all."""
    try:
        done, left = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
    except KeyboardInterrupt:
        if stop.is_set():
            raise
        stop.set()
        left = {f for f in running if not f.done()}
    return set(left)


def _sketches(job: Job, workers: int) -> tuple[Sketch, ...]:
    """For the saved observables, and for event times. Chunks spread over the ensemble fix the bins, as starts may be in
    order."""
    n, cells = job.chunks, len(job.clock.saves) * job.rows
    small = job.paths <= EXACT_PATHS and job.paths * job.width <= EXACT_BYTES
    pilots = frozenset() if small else frozenset({0, n // 4, n // 2, 3 * n // 4})
    tables = max(1, min(workers, 4 * TABLE_BYTES // (cells * (2 * quantile_bins.OCTAVES << bits_for(cells)) * 4 + 1)))
    saved = Sketch(cells, job.program.dtype, pilots, tables)
    half = float(job.clock.at(np.array([job.clock.steps]))[0]) / 2
    return (saved, Sketch(job.events, np.float64, pilots, 1, half, half)) if job.events else (saved,)


def _order(job: Job, gathered: Gathering) -> Iterator[int]:
    """Chunks that are left to run, those first that the sketches wait for."""
    first = sorted(frozenset[int]().union(*(s.pilots for s in gathered.sketches if s.layout is None)))
    left = (i for i in range(job.chunks) if i not in first)
    return (i for i in chain(first, left) if not gathered.done[i])


def _buffer(job: Job, free: list[np.ndarray]) -> np.ndarray:
    try:
        return free.pop()
    except IndexError:
        return np.empty((len(job.clock.saves), job.rows, job.chunk_size), dtype=job.program.dtype)


def _no_events(job: Job, paths: int, dead: int) -> PathEvents:
    """Ends of paths that have not ended."""
    never, hit = np.full(paths, np.nan), np.full((job.events, paths), -1, np.int64)
    return PathEvents(
        np.full(paths, dead, np.int64),
        never,
        np.full(paths, -1, np.int64),
        never.copy(),
        hit,
        np.full(hit.shape, np.nan),
    )


def _ran(job: Job, done: np.ndarray) -> np.ndarray:
    """(paths,) whether each path's chunk is complete."""
    return np.repeat(done, job.chunk_size)[: job.paths]


def _path_state(job: Job, packed: np.ndarray, kept: np.ndarray, path_events: PathEvents) -> dict[str, np.ndarray]:
    """Kept paths of complete chunks as arrays."""
    ran = _ran(job, np.unpackbits(packed, count=job.chunks).astype(bool))
    out = {f"path.{name}": value[..., ran] for name, value in zip(path_events._fields, path_events, strict=True)}
    return out | {"path.kept": kept[:, :, ran], "path.ran": np.packbits(ran)}


def _restore_paths(state: dict[str, np.ndarray], kept: np.ndarray, path_events: PathEvents) -> None:
    if "path.ran" in state:
        ran = np.unpackbits(state["path.ran"], count=kept.shape[2]).astype(bool)
        kept[:, :, ran] = state["path.kept"]
        for name, value in zip(path_events._fields, path_events, strict=True):
            value[..., ran] = state[f"path.{name}"]


class _Saver:
    """Saves a run's state, and goes on without where that fails: a checkpoint is there to save a run, not to end it."""

    def __init__(self, store: Store) -> None:
        self.store, self.failing = store, False

    def save(self, state: dict[str, np.ndarray], last: bool = False) -> None:
        """Save; warn at the first failure, and at the end."""
        try:
            self.store.save(state)
            self.failing = False
        except OSError as error:
            if last or not self.failing:
                what = "the run's end is not saved" if last else "the run goes on, and will try again"
                warnings.warn(f"{error} Meanwhile {what}.", CheckpointWarning, stacklevel=6)
            self.failing = True


def _advance(
    job: Job,
    loop: Callable[..., Any],
    first: int,
    last: int,
    statistics: ChunkStatistics,
    path_events: PathEvents,
    rows: np.ndarray,
    slot: int,
    stop: Stop,
    tick: Callable[[int], None] | None,
    pace: list[int],
) -> bool:
    """Advance paths first..last-1 through all steps, block by block in segments of pace[0] steps (made to fit
    SEGMENT_SECONDS), unless stopped (False then); add to the part's moments and write down how the paths ended."""
    program, clock, count = job.program, job.clock, last - first
    lanes, width, dtype = program.lanes, program.native.states, program.dtype
    blocks, events = -(-count // lanes), 1 + job.events
    start = np.asarray(job.start(job.first + first, count), dtype=dtype)
    start = np.concatenate([start, np.broadcast_to(start[-1:], (blocks * lanes - count, width))])
    x = np.zeros((blocks, width + 2, lanes), dtype=dtype)
    x[:, :width] = np.swapaxes(start.reshape(blocks, lanes, width), 1, 2)
    dead = np.full((blocks, events * lanes), -1, dtype=np.int64)
    when = np.full(dead.shape, np.nan)
    at = 0
    while at < clock.steps:
        if stop.is_set():
            return False
        window = clock.window(at)
        end, began = min(at + pace[0], window.first + len(window.h)), perf_counter()
        statistics.own_steps += loop(
            program.native,
            job.driver,
            window,
            np.uint64(job.seed),
            job.parameters,
            x.reshape(blocks, -1),
            dead,
            when,
            job.first + first,
            count,
            at,
            end,
            job.bound,
            statistics.moments,
            rows,
            slot,
            stop.flag,
        )
        if tick:
            tick(count * (end - at))
        fitting = (end - at) * SEGMENT_SECONDS / max(perf_counter() - began, 1e-9)
        if fitting < pace[0] / 2 or end - at == pace[0]:
            pace[0] = int(min(max(fitting, 1), 64 * pace[0]))
        at = end
    if stop.is_set():
        return False

    def by_path(values: np.ndarray) -> np.ndarray:
        """(R, count) from rows (blocks, R * lanes)."""
        return np.swapaxes(values.reshape(blocks, -1, lanes), 0, 1).reshape(-1, blocks * lanes)[:, :count]

    states, times, left = by_path(dead), by_path(when), by_path(x)[width:]
    exploded = states[0] >= 0
    path_events.dead[:], path_events.left[:], path_events.hit[:], path_events.time[:] = (
        states[0],
        times[0],
        states[1:],
        times[1:],
    )
    path_events.row[exploded], path_events.value[exploded] = left[0, exploded], left[1, exploded]
    return True
