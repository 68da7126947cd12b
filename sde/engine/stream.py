"""Paths written to a file chunk by chunk as they are made, so that they need not fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.engine import ensemble
from sde.engine.accumulators.accumulator import ChunkPaths
from sde.engine.accumulators.stored_rows import StoredRows
from sde.engine.checkpoint import Checkpoint
from sde.engine.interruption import Stop
from sde.engine.outlet import Outlet
from sde.engine.plan import Plan
from sde.engine.progress import Tick
from sde.engine.result_layout import Columns, ResultLayout
from sde.storage.files import failing_as
from sde.storage.formats import Writer, format_of

if TYPE_CHECKING:
    import xarray as xr


class Stream:
    """Paths under way to a file. shown: the name that errors give; size: paths of a chunk."""

    def __init__(
        self, writer: Writer, shown: str | Path, columns: Columns, dtype: np.dtype[Any], paths: int, size: int
    ) -> None:
        self.writer, self.columns, self.shown = writer, columns, shown
        self._chunks: dict[int, int] = {}
        with failing_as(shown):
            for name, (dims, shape, kind) in columns.described(dtype).items():
                writer.create(name, ("path", *dims), (paths, *shape), kind, (size, *shape))
            writer.check()

    @property
    def outlet(self) -> Outlet | None:
        """Where other processes may write."""
        put = self.writer.elsewhere()
        return None if put is None else Outlet(put, self.columns)

    def add(self, chunk: ChunkPaths) -> None:
        """Write a chunk's paths, unless who made them has. Any thread may call."""
        if chunk.rows.shape[2] < chunk.count:
            self._chunks[chunk.first] = chunk.count
        else:
            self.write(chunk.first, *chunk.columns)

    def write(self, first: int, rows: np.ndarray, left: np.ndarray, value: np.ndarray, time: np.ndarray) -> None:
        """Write paths from `first` on: see `Columns.values`."""
        with failing_as(self.shown):
            self.writer.write(first, self.columns.values(first, rows, left, value, time))
        self._chunks[first] = rows.shape[2]

    def finish(self, rest: xr.Dataset, attrs: Callable[[str], Mapping[str, Any]]) -> None:
        """Close the gaps that chunks left out by an interruption have made; add what is not path by path. attrs(name):
        attributes of the variables that are."""
        to = 0
        with failing_as(self.shown):
            for first, n in sorted(self._chunks.items()):
                if first != to:
                    self.writer.move(first, to, n)
                to += n
            self.writer.end(to, rest, attrs)


@dataclass(frozen=True)
class Target:
    """What a streamed run ends in: the file `out`, of this layout; attrs(name): attributes of a variable."""

    out: str | Path
    layout: ResultLayout
    attrs: Callable[[str], Mapping[str, Any]]

    @contextmanager
    def begun(self, plan: Plan) -> Iterator[Stream]:
        """The file under way, which appears at the end."""
        with format_of(self.out).begun(self.out) as writer:
            yield Stream(
                writer, self.out, self.layout.columns, plan.program.dtype, paths=plan.paths, size=plan.chunk_size
            )


@contextmanager
def run(
    plan: Plan,
    target: Target,
    threads: int | None = None,
    tick: Tick | None = None,
    store: Checkpoint | None = None,
    idle: Callable[[Stop], None] | None = None,
) -> Iterator[tuple[ensemble.Outcome, Callable[[xr.Dataset], None]]]:
    """Run a plan with its paths streamed to a file. Yields the outcome, and what is to be called once with what is not
    path by path: then the file appears.

    idle: as of `ensemble.run`. store: the paths lie in a file beside the checkpoint until there are all, and what is
    there is not run again; it goes with the end of the run.
    """
    format_of(target.out).check(target.out)
    if store is None:
        with target.begun(plan) as stream:
            yield ensemble.run(plan, threads, tick, None, stream, idle), partial(stream.finish, attrs=target.attrs)
        return
    rows = StoredRows(plan, store.row_file(StoredRows.length(plan)))

    def put(rest: xr.Dataset) -> None:
        with target.begun(plan) as stream:
            for chunk in rows.chunks():
                stream.write(*chunk)
            stream.finish(rest, target.attrs)

    try:
        outcome = ensemble.run(plan, threads, tick, store, rows, idle)
        yield outcome, put
    finally:
        rows.file.close()
    if not outcome.interrupted:
        rows.file.remove()
