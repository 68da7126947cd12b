"""Chunks in other processes, through anything that has `submit(fn, *args) -> concurrent.futures.Future`."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sde.engine.chunk import Worker
from sde.engine.engine_identity import engine
from sde.engine.piece import PieceRequest
from sde.engine.plan import Plan
from sde.engine.schedulers import pools
from sde.engine.schedulers.processes import Processes, processes
from sde.engine.schedulers.scheduler import BrokenPoolWarning, LostChunks, Take
from sde.engine.schedulers.tasks import Answer, Parcel, Task, run_task, trial
from sde.kernels import target
from sde.storage import module_cache
from symbolic.errors import InputError, shown, warn

TRIES = 3
"""How often a chunk is begun before it is given up."""
AHEAD = 2
"""Tasks that each worker has, one to go on with."""
REACH = 16
"""Tasks for each worker that may be complete before one that was begun earlier: what waits to be merged is bounded."""
PATIENCE = 2
"""Half seconds in which a pool should see that one of its processes has died."""
SPOKEN = 300
"""Characters of an error that are shown."""


class Executor(Protocol):
    """`concurrent.futures.Executor`, as much as is used of it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]: ...


@dataclass(eq=False)
class _Unit:
    """Chunks that one task runs. sent: what they go with; tries: how often they were begun and lost."""

    chunks: range
    sent: tuple[Parcel, ...] = ()
    tries: int = 0
    reason: str = ""


@dataclass
class Remote:
    """A `Scheduler` on an executor. workers: how many tasks run at once."""

    executor: Executor
    workers: int

    def abandon(self) -> None:
        """End what runs there, where that is ours to end."""
        if isinstance(self.executor, Processes):
            self.executor.abandon()

    def outlive(self, error: BrokenExecutor) -> bool:
        """Go on in processes of our own, where the executor was of this machine's processes, one of which died: these
        replace theirs, one by one. Whether there are any."""
        if isinstance(self.executor, Processes):
            return True
        if not isinstance(error, BrokenProcessPool):
            return False
        name = type(self.executor).__name__
        warn(
            f"executor: a process of the {name} died, and it takes no more work ({_said(error)}); the run"
            f" goes on in {self.workers} processes of its own, as with executor='processes'.",
            BrokenPoolWarning,
        )
        self.executor = processes(self.workers)
        return True

    def over(
        self, plan: Plan, indices: Iterable[int], take: Take, worker: Worker, wanted: Callable[[], PieceRequest]
    ) -> Generator[bool]:
        """See `Scheduler`. Results are taken in here, one at a time, as they come."""
        run = _Run(self, plan, take, worker, wanted, deque(_units(plan, indices, wanted().pilots)))
        try:
            while not worker.stop.is_set():
                run.fill()
                if not run.running:
                    break
                run.reap()
                yield bool(run.running)
        except KeyboardInterrupt:
            if worker.stop.is_set():
                raise
            worker.stop.set()
        finally:
            worker.stop.set()
            for future in run.running:
                future.cancel()
            if run.running:
                self.abandon()
        run.tell()


def _units(plan: Plan, indices: Iterable[int], pilots: frozenset[int]) -> Iterator[_Unit]:
    """Chunks by pieces of the plan, where they follow each other; pilots alone."""
    held: list[int] = []
    for index in indices:
        alone = index in pilots
        if held and (alone or index != held[-1] + 1 or index not in plan.piece_of(held[0])):
            yield _Unit(range(held[0], held[-1] + 1))
            held = []
        held.append(index)
        if alone:
            yield _Unit(range(index, index + 1))
            held = []
    if held:
        yield _Unit(range(held[0], held[-1] + 1))


@dataclass
class _Run:
    """A run under way. ready: units to be begun; running: those that are, by their future; silent: half seconds
    in which none came."""

    crew: Remote
    plan: Plan
    take: Take
    worker: Worker
    wanted: Callable[[], PieceRequest]
    ready: deque[_Unit]
    running: dict[Future[Answer], _Unit] = field(default_factory=dict)
    lost: list[_Unit] = field(default_factory=list)
    silent: int = 0
    broken: str = ""

    def __post_init__(self) -> None:
        self.engine = engine()
        self.parcel = _parcel(self.plan)
        self.parcels = {self.parcel.digest: self.parcel}
        self.bins = ""
        self.task = Task(
            self.parcel.digest, "", range(0), trial(self.plan), target.settings(), str(module_cache.folder())
        )

    def fill(self) -> None:
        """Begin as many as there is room for."""
        while self.ready and len(self.running) < AHEAD * self.crew.workers and not self.broken:
            wanted, unit = self.wanted(), self.ready[0]
            waiting = wanted.pilots and not wanted.pilots.issuperset(unit.chunks) and unit.tries == 0
            begun = [u.chunks.start for u in self.running.values() if not wanted.pilots.issuperset(u.chunks)]
            far = min(begun, default=unit.chunks.start) + REACH * self.crew.workers * self.plan.piece
            if self.running and (waiting or unit.chunks.start > far):
                return
            self.begin(self.ready.popleft(), wanted)

    def begin(self, unit: _Unit, wanted: PieceRequest) -> None:
        """Hand a unit over."""
        if wanted.layouts is not None and not self.bins:
            parcel = Parcel.of(dict(wanted.layouts))
            self.bins, self.parcels[parcel.digest] = parcel.digest, parcel
        task = replace(self.task, chunks=unit.chunks, sent=unit.sent, outlet=wanted.outlet)
        task = replace(task, layouts=self.bins) if wanted.layouts is not None else task
        try:
            future = self.crew.executor.submit(run_task, task)
        except BrokenExecutor as error:
            self.end(unit, error)
            return
        except RuntimeError as error:
            if self.running or self.lost:
                self.broken = _said(error)
                self.ready.appendleft(unit)
                return
            raise refused(self.crew.executor, error) from error
        if not isinstance(future, Future):
            rule = "its submit must give a concurrent.futures.Future"
            raise InputError.of("executor", rule, future, "Wrap it so that it does, or use executor='processes'.")
        unit.sent = ()
        self.running[future] = unit

    def reap(self) -> None:
        """Take in what has come."""
        done, _ = wait(self.running, timeout=0.5, return_when=FIRST_COMPLETED)
        self.silent = 0 if done else self.silent + 1
        if self.silent > PATIENCE and (death := pools.death(self.crew.executor)) is not None:
            self.forsake(death)
            return
        for future in sorted(done, key=lambda f: self.running[f].chunks.start):
            unit = self.running.pop(future)
            error = CancelledError() if future.cancelled() else future.exception()
            if error is not None:  # a KeyboardInterrupt too, which may be of the worker alone
                self.fail(unit, error)
                continue
            answer = future.result()
            if not isinstance(answer, Answer):
                rule = "its futures must give what the function returns that it was asked to run"
                raise InputError.of("executor", rule, answer, "Run fn(*args) and give what it returns.")
            if answer.missing:
                self.check(answer)
                unit.sent = tuple(self.parcels[digest] for digest in answer.missing)
                self.ready.appendleft(unit)
            elif answer.trial:
                self.refuse(answer, "a small run gives other bits there")
            else:
                for piece in answer.pieces:
                    self.take(piece)
                if self.worker.tick:
                    self.worker.tick(sum(map(self.plan.count, unit.chunks)) * self.plan.clock.steps)

    def fail(self, unit: _Unit, error: BaseException) -> None:
        """Begin a unit again, or give it up."""
        if isinstance(error, InputError):
            raise error
        if isinstance(error, BrokenExecutor):
            self.end(unit, error)
            return
        unit.tries, unit.reason = unit.tries + 1, _said(error)
        if unit.tries < TRIES:
            self.ready.appendleft(unit)
        else:
            self.lost.append(unit)

    def forsake(self, death: BrokenExecutor) -> None:
        """Wait no longer for a pool that has not seen one of its processes die."""
        pools.release(self.crew.executor)
        for unit in sorted(self.running.values(), key=lambda u: -u.chunks.start):
            self.end(unit, death)
        self.running.clear()

    def end(self, unit: _Unit, error: BrokenExecutor) -> None:
        """Keep a unit that an executor which is broken has not run: for another one, or nobody."""
        if not self.crew.outlive(error):
            self.broken = self.broken or _said(error)
        self.ready.appendleft(unit)

    def check(self, answer: Answer) -> None:
        """Refuse a worker whose bits may be others."""
        for what in sorted({*self.engine, *answer.engine}):
            ours, theirs = self.engine.get(what, "unknown"), answer.engine.get(what, "unknown")
            if ours != theirs:
                self.refuse(answer, f"{what} {theirs} where this is {ours}")

    def refuse(self, answer: Answer, why: str) -> None:
        """Raises InputError for a worker."""
        advice = (
            "Begin its processes anew, or use machines that are alike"
            if target.portable()
            else ("Use portable=True, with workers that have not compiled yet, or machines that are alike")
        )
        raise InputError(f"executor: all workers must give the same bits; got {answer.who} ({why}). {advice}.")

    def tell(self) -> None:
        """Raise LostChunks for what is left."""
        first, seed = self.plan.first, self.plan.seed
        told = [
            f"chunk {u.chunks.start} (from path {first + u.chunks.start * self.plan.chunk_size}, seed {seed}) failed"
            f" {u.tries} times: {u.reason}"
            for u in sorted(self.lost, key=lambda u: u.chunks.start)
        ]
        if self.broken:
            name = type(self.crew.executor).__name__
            told.append(
                f"a worker died and the {name} takes no more work ({self.broken}); give a new one, or"
                " executor='processes', which replaces its workers"
            )
        if told:
            more = f"; so did {len(told) - 3} others" if len(told) > 3 else ""
            raise LostChunks(f"executor: {'; '.join(told[:3])}{more}. All others that were begun are kept.")


def _parcel(plan: Plan) -> Parcel:
    try:
        return Parcel.of(plan)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"executor: what other processes are sent must be data; got {_said(error)} (function). Write it as a SymPy"
            " expression, or use threads."
        ) from error


def refused(executor: Any, error: BaseException) -> InputError:
    """For an executor that takes no work."""
    return InputError(
        f"executor: must take work; got {shown(executor)} ({type(executor).__name__}), which says: {_said(error)}. Give"
        " one that is open."
    )


def _said(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
    return text if len(text) <= SPOKEN else text[: SPOKEN - 3] + "..."
