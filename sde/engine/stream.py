"""Paths written to a NetCDF file chunk by chunk as they are made, so that they need not fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from sde.engine import ensemble
from sde.engine.accumulators.accumulator import ChunkPaths
from sde.engine.accumulators.stored_rows import StoredRows
from sde.engine.checkpoint import Checkpoint
from sde.engine.plan import Plan
from sde.engine.progress import Tick
from sde.engine.result_layout import ResultLayout
from sde.storage.files import check_writable, failing_as, replacing
from sde.storage.netcdf import Writer

if TYPE_CHECKING:
    import xarray as xr


class Stream:
    """A file of paths under way. scratch: what it is written to; shown: the name that errors give; size: paths of a
    chunk."""

    def __init__(
        self, scratch: BinaryIO, shown: str | Path, layout: ResultLayout, dtype: np.dtype[Any], size: int
    ) -> None:
        self.layout, self.size, self.shown = layout, size, shown
        self._lock, self._length = Lock(), 0
        self._chunks: dict[int, int] = {}
        with failing_as(shown):
            self.writer = Writer(scratch)
            self.file = self.writer.file
            self.file.dimensions = {"path": None, "time": len(layout.saves)}
            for v in layout.variables:
                self.file.dimensions.update(dict(zip(v.dims, v.shape, strict=True)))
                self._create(v.name, ("path", "time", *v.dims), dtype, (size, len(layout.saves), *v.shape))
            self._create("path", ("path",), np.dtype(np.int64), (size,))
            for name in ("explosion_time", "explosion_value", *(f"{e}_time" for e in layout.events)):
                self._create(name, ("path",), np.dtype(np.float64), (size,))
            self.writer.check()

    def _create(self, name: str, dims: tuple[str, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> None:
        fill = np.nan if dtype.kind == "f" else None
        self.file.create_variable(name, dims, dtype, chunks=chunks, fillvalue=fill)

    def add(self, chunk: ChunkPaths) -> None:
        """Write a chunk's paths. Any thread may call."""
        ends = chunk.events.left, chunk.events.value, chunk.events.time
        self.write(chunk.first, chunk.rows[:, :, : chunk.count], *ends)

    def write(self, first: int, rows: np.ndarray, left: np.ndarray, value: np.ndarray, time: np.ndarray) -> None:
        """Write paths first..first + n - 1: rows (saves, O, n), times and values of explosions (n,), times of events
        (E, n)."""
        n, at = rows.shape[2], 0
        values: dict[str, np.ndarray] = {"path": np.arange(first, first + n), "explosion_value": value}
        values["explosion_time"] = left
        values |= {f"{e}_time": time[k] for k, e in enumerate(self.layout.events)}
        for v in self.layout.variables:
            share = np.moveaxis(rows[:, at : at + v.rows], 2, 0)
            values[v.name] = share.reshape(n, len(self.layout.saves), *v.shape)
            at += v.rows
        with self._lock, failing_as(self.shown):
            self.writer.check()
            if first + n > self._length:
                self._length = first + n
                self.file.resize_dimension("path", self._length)
            for name, value in values.items():
                self.file.variables[name][first : first + n] = value
            self.writer.check()
            self._chunks[first] = n

    def finish(self, rest: xr.Dataset, attrs: Callable[[str], Mapping[str, Any]]) -> None:
        """Close the gaps that chunks left out by an interruption have made; add what is not path by path. attrs(name):
        attributes of the variables that are."""
        with self._lock, failing_as(self.shown):
            to = 0
            for first, n in sorted(self._chunks.items()):
                if first != to:
                    for name in self.file.variables:
                        if self.file.variables[name].dimensions[:1] == ("path",):
                            self.file.variables[name][to : to + n] = self.file.variables[name][first : first + n]
                to += n
            if to < self._length:
                self.file.resize_dimension("path", to)
            for name, variable in self.file.variables.items():
                variable.attrs.update(attrs(name))
            self.writer.put(rest)
            self.writer.close()
            self.writer.check_written()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.writer.close()


@dataclass(frozen=True)
class Target:
    """What a streamed run ends in: the file `out`, of this layout; attrs(name): attributes of a variable."""

    out: str | Path
    layout: ResultLayout
    attrs: Callable[[str], Mapping[str, Any]]

    @contextmanager
    def begun(self, plan: Plan) -> Iterator[Stream]:
        """The file under way, which appears at the end."""
        with (
            replacing(self.out) as scratch,
            Stream(scratch, self.out, self.layout, plan.program.dtype, plan.chunk_size) as stream,
        ):
            yield stream


@contextmanager
def run(
    plan: Plan,
    target: Target,
    threads: int | None = None,
    tick: Tick | None = None,
    store: Checkpoint | None = None,
) -> Iterator[tuple[ensemble.Outcome, Callable[[xr.Dataset], None]]]:
    """Run a plan with its paths streamed to a file. Yields the outcome, and what is to be called once with what is not
    path by path: then the file appears.

    store: the paths lie in a file beside the checkpoint until there are all, and what is there is not run again; it
    goes with the end of the run.
    """
    check_writable(target.out)
    if store is None:
        with target.begun(plan) as stream:
            yield ensemble.run(plan, threads, tick, None, stream), partial(stream.finish, attrs=target.attrs)
        return
    rows = StoredRows(plan, store.row_file(StoredRows.length(plan)))

    def put(rest: xr.Dataset) -> None:
        with target.begun(plan) as stream:
            for chunk in rows.chunks():
                stream.write(*chunk)
            stream.finish(rest, target.attrs)

    try:
        outcome = ensemble.run(plan, threads, tick, store, rows)
        yield outcome, put
    finally:
        rows.file.close()
    if not outcome.interrupted:
        rows.file.remove()


def opened(out: str | Path) -> xr.Dataset:
    """A result in a file, its variables not yet read."""
    import xarray as xr

    return xr.open_dataset(out, engine="h5netcdf")
