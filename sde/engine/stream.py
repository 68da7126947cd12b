"""Paths written to a NetCDF file chunk by chunk as they are made, so that they need not fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from sde.engine import ensemble
from sde.engine.accumulators import PathEvents
from sde.engine.dataset import Explain, ResultLayout, dataset
from sde.engine.plan import Job
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

    def write(self, first: int, rows: np.ndarray, path_events: PathEvents) -> None:
        """Write paths first..first + n - 1: rows (saves, O, n). Any thread may call."""
        n, at = rows.shape[2], 0
        values: dict[str, np.ndarray] = {"path": np.arange(first, first + n), "explosion_value": path_events.value}
        values["explosion_time"] = path_events.left
        values |= {f"{e}_time": path_events.time[k] for k, e in enumerate(self.layout.events)}
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

    def finish(self, rest: xr.Dataset) -> None:
        """Close the gaps that chunks left out by an interruption have made; add what is not path by path."""
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
            self.writer.put(rest)
            self.writer.close()
            self.writer.check_written()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.writer.close()


def run(
    job: Job,
    layout: ResultLayout,
    threads: int | None,
    tick: Callable[[int], None] | None,
    out: str | Path,
    warn_share: float,
    attrs: Mapping[str, Any],
    explain: Explain | None = None,
    after: Callable[[ensemble.Outcome], object] | None = None,
) -> xr.Dataset:
    """Run a job with its paths streamed to `out`, which appears when all is written. after: is told of the outcome.
    Returns the file opened, its variables not yet read."""
    import xarray as xr

    check_writable(out)
    with replacing(out) as scratch, Stream(scratch, out, layout, job.program.dtype, job.chunk_size) as sink:
        outcome = ensemble.run(job, threads, tick, None, sink)
        if after is not None and not outcome.interrupted:
            after(outcome)
        sink.finish(dataset(outcome, layout, "stream", warn_share, attrs, explain))
    return xr.open_dataset(out, engine="h5netcdf")
