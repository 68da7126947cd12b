"""What chunks that follow each other have given, whoever ran them: what is sent from process to process, and merged in
order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sde.engine.accumulators import Statistics
from sde.engine.accumulators.accumulator import ChunkPaths
from sde.engine.accumulators.quantiles import EventTimeQuantiles, Quantiles
from sde.engine.chunk import ChunkResult, Worker, run_chunk
from sde.engine.outlet import Outlet
from sde.engine.plan import Plan
from sde.engine.quantiles import Counts, Layout
from sde.engine.scratch import SCRATCH


@dataclass(frozen=True)
class Piece:
    """chunks: one, or all of a piece of the plan; statistics: of them together, merged in order; paths: path by path,
    where these are asked for; counts: in the bins of quantiles, by the name of what counts them."""

    chunks: range
    statistics: Statistics
    paths: tuple[ChunkPaths, ...] = ()
    counts: Mapping[str, Counts] = field(default_factory=dict)

    @classmethod
    def of(cls, result: ChunkResult) -> Piece:
        """One chunk, path by path."""
        at = result.paths.index
        return cls(range(at, at + 1), result.statistics, (result.paths,))


@dataclass(frozen=True)
class PieceRequest:
    """What a piece is to hold. layouts: bins to count in, by the name of what counts; None: the chunks' own paths
    instead. pilots: the chunks that nobody knows the bins without, to be run first. outlet: where these paths may be
    written."""

    layouts: Mapping[str, Layout] | None = None
    pilots: frozenset[int] = frozenset()
    outlet: Outlet | None = None


def counters(plan: Plan, layouts: Mapping[str, Layout]) -> dict[str, Quantiles]:
    """What counts in given bins."""
    made = {kind.name: kind.empty(plan) for kind in (Quantiles, EventTimeQuantiles) if kind.name in layouts}
    for name, one in made.items():
        one.sketch.adopt(layouts[name])
    return made


def run_piece(
    plan: Plan, chunks: range, layouts: Mapping[str, Layout] | None, worker: Worker, outlet: Outlet | None = None
) -> list[Piece]:
    """Run chunks of a piece of the plan: one Piece where they are all of it, else one for each. Raises Stopped."""
    if layouts is None:
        return [_kept(plan, i, worker, outlet) for i in chunks]
    if chunks != plan.piece_of(chunks.start):
        return [_run(plan, range(i, i + 1), layouts, worker) for i in chunks]
    return [_run(plan, chunks, layouts, worker)]


def _kept(plan: Plan, index: int, worker: Worker, outlet: Outlet | None) -> Piece:
    result = run_chunk(plan, index, worker)
    paths = result.paths._replace(rows=result.paths.columns[0])
    if outlet is not None and (written := outlet.written(paths)) is not paths:
        SCRATCH.give(result.paths.rows)
        paths = written
    return Piece(range(index, index + 1), result.statistics, (paths,))


def _run(plan: Plan, chunks: range, layouts: Mapping[str, Layout], worker: Worker) -> Piece:
    total, counts = Statistics(plan), counters(plan, layouts)
    for index in chunks:
        result = run_chunk(plan, index, worker)
        if len(chunks) == 1:
            total = result.statistics
        else:
            total.merge(result.statistics)
        for one in counts.values():
            one.add(result.paths)
        SCRATCH.give(result.paths.rows)
    return Piece(chunks, total, (), {name: one.sketch.drain() for name, one in counts.items()})
