"""An ensemble of paths: its chunks run, merged in order, shown, saved and broken off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from time import perf_counter
from typing import Protocol, cast

import numpy as np

from sde.engine import compiling
from sde.engine.accumulators import Statistics
from sde.engine.accumulators.accumulator import ChunkPaths, Gathered, PathEvents
from sde.engine.accumulators.path_rows import PathRows
from sde.engine.accumulators.quantiles import EventTimeQuantiles, Quantiles
from sde.engine.chunk import Worker, load_loop
from sde.engine.gathering import Gathering
from sde.engine.interruption import Stop, deliver, heeded
from sde.engine.outlet import Outlet
from sde.engine.piece import Piece
from sde.engine.plan import Plan
from sde.engine.progress import Tick
from sde.engine.quantiles import Sketch
from sde.engine.schedulers.chosen import scheduler as chosen_scheduler
from sde.engine.schedulers.scheduler import LostChunks
from symbolic.errors import warn

BOUND = {"float32": 1e18, "float64": 1e100}
"""|x| beyond which a path counts as exploded, so that squares still fit the number type."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; the run went on."""


class LostChunksWarning(UserWarning):
    """Chunks of paths could not be run: what is given back holds the others."""


class Store(Protocol):
    """Where a run's state survives the process: see `sde.engine.checkpoint`."""

    def load(self, check: Callable[[Mapping[str, np.ndarray]], None]) -> dict[str, np.ndarray] | None: ...
    def due(self) -> bool: ...
    def save(self, state: dict[str, np.ndarray]) -> None: ...


class Sink(Protocol):
    """Where chunks of paths go that are not kept in memory. Any thread may call. outlet: where other processes may
    write theirs, which then come without rows."""

    @property
    def outlet(self) -> Outlet | None: ...
    def add(self, chunk: ChunkPaths) -> None: ...


@dataclass
class Outcome:
    """total: statistics over the paths of complete chunks; sketches: of the saved observables, cells in order (save,
    observable), and of event times. kept: (saves, O, paths), NaN where dead; path_events: how each path ended, where
    paths are kept in memory; ran: which were run. interrupted: whether Ctrl-C cut the run short."""

    total: Statistics
    sketches: tuple[Sketch, ...]
    kept: np.ndarray
    path_events: PathEvents
    ran: np.ndarray
    interrupted: bool
    wall_seconds: float
    compile_seconds: float


def run(
    plan: Plan,
    threads: int | None = None,
    tick: Tick | None = None,
    store: Store | None = None,
    sink: Sink | None = None,
    idle: Callable[[Stop], None] | None = None,
) -> Outcome:
    """Run a plan: on what `schedulers.chosen` says, else on a pool of threads. tick(n) is told of every n path-steps
    done. store: continue from what it holds, and save there from time to time; where that fails the run goes on with a
    CheckpointWarning. sink: takes the saves of kept paths, instead of memory; where it is Gathered the store holds its
    state too. idle(stop): something short that this thread may do while it waits for others' last chunks, until `stop`.

    Ctrl-C keeps the chunks that are complete; without a single one KeyboardInterrupt goes on. So does SIGTERM: see
    `sde.engine.interruption`. So do chunks that cannot be run, with a LostChunksWarning.
    """
    compiled = perf_counter()
    with compiling.noticed(compiling.LOOP_SECONDS):
        load_loop(plan)
    compiled = perf_counter() - compiled + plan.program.compile_seconds
    started, earlier = perf_counter(), 0.0
    scheduler = chosen_scheduler(threads)
    together = _together(plan, scheduler.workers, sink)
    gathered = Gathering(plan, together)
    saved = store.load(gathered.check) if store else None
    if saved:
        earlier = float(saved.pop("wall"))
        gathered.restore(saved)
    saver, before = _Saver(store) if store else None, int(gathered.done.sum())
    if tick and before:
        tick(int(plan.mask(gathered.done).sum()) * plan.clock.steps, held=True)

    def state() -> dict[str, np.ndarray]:
        return gathered.state() | {"wall": np.array(earlier + perf_counter() - started)}

    def take(piece: Piece) -> None:
        if sink is not None and sink not in together:
            for paths in piece.paths:
                sink.add(paths)
        gathered.take(piece)

    worker, lost = Worker(tick=tick, idle=idle), cast("LostChunks | None", None)
    rows, outlet = plan.keep or sink is not None, sink.outlet if sink is not None else None
    over = scheduler.over(plan, _order(gathered), take, worker, lambda: replace(gathered.wanted(rows), outlet=outlet))
    try:
        with heeded(worker.stop, store is not None), closing(over) as steps:
            for others in steps:
                gathered.merge()
                if saver and others and saver.store.due() and not worker.stop.is_set():
                    saver.save(state())
    except LostChunks as error:
        lost = error
    if saver and int(gathered.done.sum()) > before:
        saver.save(state(), last=True)
    deliver(worker.stop)
    if not gathered.done.any():
        raise lost or KeyboardInterrupt
    if lost:
        warn(str(lost), LostChunksWarning)
    gathered.merge(all_=True)
    kept = next((m for m in together if isinstance(m, PathRows)), None) or PathRows.empty(plan, 0)
    return Outcome(
        total=gathered.total,
        sketches=tuple(m.sketch for m in together if isinstance(m, Quantiles)),
        kept=kept.rows,
        path_events=kept.events,
        ran=kept.ran,
        interrupted=not bool(gathered.done.all()),
        wall_seconds=earlier + perf_counter() - started,
        compile_seconds=compiled,
    )


def _together(plan: Plan, workers: int, sink: Sink | None) -> list[Gathered]:
    """What all chunks share: paths where they are kept, else what quantiles come from."""
    if sink is not None:
        return [sink] if isinstance(sink, Gathered) else []
    if plan.keep:
        return [PathRows.empty(plan)]
    events = [EventTimeQuantiles.empty(plan)] if plan.events else []
    return [Quantiles.empty(plan, workers), *events]


def _order(gathered: Gathering) -> Iterator[int]:
    """Chunks that are left to run, those first that the bins of quantiles wait for."""
    sketches = [m.sketch for m in gathered.together if isinstance(m, Quantiles)]
    first = sorted(frozenset[int]().union(*(s.pilots for s in sketches if s.layout is None)))
    left = (i for i in range(gathered.plan.chunks) if i not in first)
    return (i for i in chain(first, left) if not gathered.done[i])


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
                warn(f"{error} Meanwhile {what}.", CheckpointWarning)
            self.failing = True
