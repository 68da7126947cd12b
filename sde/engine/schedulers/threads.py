"""Chunks on threads of this process: compiled calls release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore

from sde.engine.chunk import Worker, run_chunk
from sde.engine.interruption import Stop, Stopped
from sde.engine.piece import Piece, PieceRequest
from sde.engine.plan import Plan
from sde.engine.schedulers.scheduler import Take
from sde.engine.scratch import SCRATCH

GLANCE = 0.1
"""Seconds after which who waits looks up: a signal that comes just as a wait begins does not end it."""


@dataclass(frozen=True)
class Threads:
    """A `Scheduler` of so many threads."""

    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    def over(
        self, plan: Plan, indices: Iterable[int], take: Take, worker: Worker, wanted: Callable[[], PieceRequest]
    ) -> Generator[bool]:
        """See `Scheduler`. Results are taken in by the thread that has made them, which then writes over their rows;
        the only chunk of a plan by the caller's."""

        def one(index: int) -> None:
            result = run_chunk(plan, index, worker)
            take(Piece.of(result))
            SCRATCH.give(result.paths.rows)

        if plan.chunks == 1:
            for index in indices:
                try:
                    one(index)
                except Stopped:
                    return
                yield False
            return
        threads = min(self.workers, plan.chunks)
        team = _Team(one, iter(indices), threads, worker.stop)
        with _pool(threads) as pool:
            yield from team.watched([pool.submit(team.work) for _ in range(threads)])


class _Team:
    """Threads that each take the next of `left` until there is none, or `stop` is set; they wait for who watches them
    where that is two chunks a thread behind."""

    def __init__(self, one: Callable[[int], None], left: Iterator[int], threads: int, stop: Stop) -> None:
        self.one, self.left, self.threads, self.stop = one, left, threads, stop
        self._lock, self._told = Lock(), SimpleQueue[bool]()
        self._room = Semaphore(2 * threads)

    def work(self) -> None:
        """What a thread does. It tells of every chunk."""
        try:
            while (index := self._next()) is not None:
                self.one(index)
                self._told.put(True)
        except (Stopped, KeyboardInterrupt):  # one that a tick of the user's raises is Ctrl-C too
            self.stop.set()
        except BaseException:
            self.stop.set()
            raise

    def _next(self) -> int | None:
        self._room.acquire()
        with self._lock:
            return None if self.stop.is_set() else next(self.left, None)

    def watched(self, ends: Sequence[Future[None]]) -> Generator[bool]:
        """Until all threads have ended, whatever happens. Raises what one of them failed of."""
        for end in ends:
            end.add_done_callback(lambda _: self._told.put(False))
        try:
            while not (all(end.done() for end in ends) and self._told.empty()):
                chunk = self._wait()
                yield not all(end.done() for end in ends)
                if chunk:
                    self._room.release()
        finally:  # by the threads themselves: what was told may be lost to a second Ctrl-C
            self.stop.set()
            self._room.release(self.threads)
            wait(ends)
        for end in ends:
            end.result()

    def _wait(self) -> bool:
        """Whether a chunk is told of next; not if that takes long. Ctrl-C stops all threads, the second time this one
        too."""
        try:
            return self._told.get(timeout=GLANCE)
        except Empty:
            return False
        except KeyboardInterrupt:
            if self.stop.is_set():
                raise
            self.stop.set()
            return False


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
