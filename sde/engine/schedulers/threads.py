"""Chunks on a pool of threads of this process: compiled calls release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from sde.engine.chunk import Worker, run_chunk
from sde.engine.interruption import Stop, Stopped
from sde.engine.piece import Piece, PieceRequest
from sde.engine.plan import Plan
from sde.engine.schedulers.scheduler import Take
from sde.engine.scratch import SCRATCH


@dataclass(frozen=True)
class Threads:
    """A `Scheduler` of so many threads."""

    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    def over(
        self, plan: Plan, indices: Iterable[int], take: Take, worker: Worker, wanted: Callable[[], PieceRequest]
    ) -> Generator[bool]:
        """See `Scheduler`. Results are taken in by the thread that has made them, which then writes over their rows."""

        def one(index: int) -> None:
            try:
                result = run_chunk(plan, index, worker)
            except Stopped:
                return
            take(Piece.of(result))
            SCRATCH.give(result.paths.rows)

        pool, running = ThreadPoolExecutor(max_workers=self.workers), set[Future[None]]()
        try:
            for index in indices:
                if worker.stop.is_set():
                    break
                running.add(pool.submit(one, index))
                while len(running) >= 2 * self.workers:
                    running = _reap(running, worker.stop)
                    yield True
            while running:
                running = _reap(running, worker.stop)
                yield bool(running)
        finally:
            worker.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


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
