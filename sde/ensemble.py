"""An ensemble of paths, chunk by chunk: the chunk is the unit of work, progress, interruption and merging."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import FrameType

import numpy as np

from sde.kernels import statistics
from sde.kernels.drivers import Driver
from sde.kernels.loops import Clock, run_block
from sde.program import Program

BOUND = {"float32": 1e18, "float64": 1e100}
"""|x| beyond which a path counts as exploded, so that squares still fit the number type."""

SEGMENT_SECONDS = 0.05
"""How long one compiled call runs before it looks for an interruption."""

Start = Callable[[int, int], np.ndarray]
"""(first_path, n) -> states (n, S)."""


@dataclass(frozen=True)
class Job:
    """Everything a run needs. slots: how many paths, from the first on, have their saves kept one by one."""

    program: Program
    driver: Driver
    clock: Clock
    parameters: np.ndarray
    start: Start
    paths: int
    seed: int
    slots: int
    bound: float

    @property
    def blocks_per_chunk(self) -> int:
        """Follows from the number of paths alone, so results do not depend on the machine."""
        blocks = -(-self.paths // self.program.lanes)
        return min(16, max(1, blocks // 64))


@dataclass
class Outcome:
    """statistics: (saves, O, 5), see `sde.kernels.statistics`. kept: (saves, O, slots), NaN where dead. died: (paths,) state number
    at which a path left the bound, -1 for never, -2 for a path that was not run. interrupted: whether Ctrl-C cut the run short."""

    statistics: np.ndarray
    kept: np.ndarray
    died: np.ndarray
    interrupted: bool
    wall_seconds: float
    compile_seconds: float


def run(job: Job, threads: int | None = None, tick: Callable[[int], None] | None = None) -> Outcome:
    """Run a job on a pool of threads. tick(n) is told of every n path-steps done.

    Ctrl-C keeps the chunks that are complete; without a single one KeyboardInterrupt goes on.
    """
    program, clock = job.program, job.clock
    compiled = perf_counter()
    loop = run_block(program.dtype)
    compiled = perf_counter() - compiled + program.compile_seconds
    started = perf_counter()
    observables, saves = program.native.observables, len(clock.saves)
    total = statistics.empty(saves, observables)
    kept = np.full((saves, observables, job.slots), np.nan, dtype=program.dtype)
    died = np.full(job.paths, -2, dtype=np.int64)
    stop, pace = threading.Event(), [16]

    def chunk(first: int, last: int) -> tuple[int, int, np.ndarray] | None:
        part = statistics.empty(saves, observables)
        gone = np.empty(last - first, dtype=np.int64)
        for at in range(first, last, program.lanes):
            valid = min(program.lanes, last - at)
            dead = _block(job, loop, at, valid, part, kept, stop, tick, pace)
            if dead is None:
                return None
            gone[at - first : at - first + valid] = dead[:valid]
        died[first:last] = gone
        return first, last, part

    pool = ThreadPoolExecutor(max_workers=threads or os.cpu_count() or 1)
    finished = 0
    try:
        with _ctrl_c(stop):
            futures = [pool.submit(chunk, first, last) for first, last in _chunks(job)]
            for future in futures:
                try:
                    done = future.result()
                except KeyboardInterrupt:
                    stop.set()
                    done = None
                if done is not None:
                    statistics.merge(total, done[2])
                    finished += 1
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    if not finished:
        raise KeyboardInterrupt
    interrupted = finished < len(futures)
    kept[:, :, died[: job.slots] == -2] = np.nan
    return Outcome(total, kept, died, interrupted, perf_counter() - started, compiled)


@contextmanager
def _ctrl_c(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C sets `stop` instead of raising wherever the main thread happens to be: an exception there may be lost, in a
    destructor say, or break a lock. A second one raises as usual. Off the main thread, or where a handler is set, nothing changes."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def pressed(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            signal.default_int_handler(number, frame)
        stop.set()

    signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _chunks(job: Job) -> Iterator[tuple[int, int]]:
    size = job.blocks_per_chunk * job.program.lanes
    for first in range(0, job.paths, size):
        yield first, min(first + size, job.paths)


def _block(
    job: Job,
    loop: Callable[..., None],
    first: int,
    valid: int,
    part: np.ndarray,
    kept: np.ndarray,
    stop: threading.Event,
    tick: Callable[[int], None] | None,
    pace: list[int],
) -> np.ndarray | None:
    """Advance one block through all steps, in segments between which it may be stopped (None then). pace: how many steps
    a segment takes, learnt from block to block."""
    program, clock = job.program, job.clock
    lanes, width, dtype = program.lanes, program.native.states, program.dtype
    x = np.zeros((width, lanes), dtype=dtype)
    x[:, :valid] = np.asarray(job.start(first, valid), dtype=dtype).T
    x[:, valid:] = x[:, :1]
    flat, dead = x.ravel(), np.full(lanes, -1, dtype=np.int64)
    keep = valid if first + valid <= job.slots else max(0, job.slots - first)
    target = kept if keep == valid else np.empty((0, 0, 0), dtype=dtype)
    steps, at = len(clock.h), 0
    while at < steps:
        if stop.is_set():
            return None
        end, began = min(at + pace[0], steps), perf_counter()
        loop(
            program.native,
            job.driver,
            clock,
            np.uint64(job.seed),
            job.parameters,
            flat,
            dead,
            first,
            valid,
            at,
            end,
            job.bound,
            part,
            target,
            first,
        )
        if tick:
            tick(valid * (end - at))
        if end - at == pace[0] and perf_counter() - began < SEGMENT_SECONDS:
            pace[0] *= 2
        at = end
    return dead
