"""Chunks on threads of this process: compiled calls release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore
from time import perf_counter

from sde.engine.chunk import ChunkResult, Worker, run_chunk
from sde.engine.interruption import Stop, Stopped
from sde.engine.piece import Piece, PieceRequest
from sde.engine.plan import Plan
from sde.engine.schedulers.scheduler import Take
from sde.engine.scratch import SCRATCH

GLANCE = 0.1
"""Seconds after which who waits looks up: a signal that comes just as a wait begins does not end it."""
SHORT = 0.5
"""Seconds of a chunk after which the caller leaves chunks to others: it has to merge and to save them."""


@cache
def _cores() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Threads:
    """A `Scheduler` of so many threads."""

    workers: int = field(default_factory=_cores)

    def over(
        self, plan: Plan, indices: Iterable[int], take: Take, worker: Worker, wanted: Callable[[], PieceRequest]
    ) -> Generator[bool]:
        """See `Scheduler`. Results are taken in by the thread that has made them, which then writes over their rows."""

        def keep(result: ChunkResult) -> None:
            take(Piece.of(result))
            SCRATCH.give(result.paths.rows)

        threads = min(self.workers, plan.chunks)
        team = _Team(lambda index: run_chunk(plan, index, worker), keep, iter(indices), threads, worker.stop)
        with _pool(threads) as pool:
            idle = worker.idle
            rest = None if idle is None else lambda: idle(worker.stop)
            yield from team.watched(lambda: pool.submit(team.work), plan.brief, rest)


class _Team:
    """Threads that each run, and then keep, the next of `left` until there is none, or `stop` is set. The others wait
    for the caller's where it is two chunks a thread behind."""

    def __init__(
        self,
        run: Callable[[int], ChunkResult],
        keep: Callable[[ChunkResult], None],
        left: Iterator[int],
        threads: int,
        stop: Stop,
    ) -> None:
        self.run, self.keep, self.left, self.threads, self.stop = run, keep, left, threads, stop
        self._lock, self._told = Lock(), SimpleQueue[int]()
        """Tells of chunks: for how many others there is room again."""
        self._room = Semaphore(2 * threads)

    def work(self) -> None:
        """What a thread of a pool does."""
        try:
            while (index := self._next(self._room)) is not None:
                self.keep(self.run(index))
                self._told.put(1)
        except (Stopped, KeyboardInterrupt):  # one that a tick of the user's raises is Ctrl-C too
            self.stop.set()
        except BaseException:
            self.stop.set()
            raise

    def _next(self, room: Semaphore | None = None) -> int | None:
        if room:
            room.acquire()
        with self._lock:
            return None if self.stop.is_set() else next(self.left, None)

    def watched(
        self, begin: Callable[[], Future[None]], helps: bool, rest: Callable[[], None] | None = None
    ) -> Generator[bool]:
        """Until all threads have ended, whatever happens. begin: starts one; helps: the caller's is another, as long as
        chunks are short, and then does the rest. Raises what one of them failed of."""
        ends = list[Future[None]]()

        def more() -> None:
            ends.append(begin())
            ends[-1].add_done_callback(lambda _: self._told.put(0))

        def running() -> bool:
            return not all(end.done() for end in ends)

        try:
            for _ in range(self.threads - helps):
                more()
            while helps and (seconds := self._help()) is not None:
                while not self._told.empty():
                    yield from self._heard(lambda: True)
                if seconds > SHORT:
                    more()
                    break
            else:
                if helps and rest:
                    rest()
            while running() or not self._told.empty():
                yield from self._heard(running)
        finally:  # by the threads themselves: what was told may be lost to a second Ctrl-C
            self.stop.set()
            self._room.release(self.threads)
            wait(ends)
        for end in ends:
            end.result()

    def _heard(self, others: Callable[[], bool]) -> Generator[bool]:
        with self._interruptible():
            room = 0
            with suppress(Empty):
                room = self._told.get(timeout=GLANCE)
        yield others()
        if room:
            self._room.release()

    def _help(self) -> float | None:
        """Run a chunk here: the seconds that it took, None where none is left. An exception while it is kept ends it
        all: half of it may be."""
        began, result = perf_counter(), None
        with self._interruptible():
            index = self._next()
            result = None if index is None else self.run(index)
        if result is None:
            return None
        self.keep(result)
        self._told.put(0)
        return perf_counter() - began

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C stops all threads, the second time this one too."""
        try:
            yield
        except Stopped:
            pass
        except KeyboardInterrupt:
            if self.stop.is_set():
                raise
            self.stop.set()


_idle = dict[int, list[ThreadPoolExecutor]]()


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """So many threads of one's own, of a run before: to start them takes as long as a small run does."""
    idle = _idle.setdefault(threads, [])
    pool = idle.pop() if idle else ThreadPoolExecutor(threads, "paths")
    yield pool
    idle.append(pool)


def _end_idle() -> None:
    for pools in _idle.values():
        while pools:
            pools.pop().shutdown()


os.register_at_fork(before=_end_idle)  # a child has none of its parent's threads
