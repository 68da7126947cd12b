"""NetCDF through a file of ours, so that a disk that is full never reaches HDF5, which does not survive it.

A failed write leaves an HDF5 file half closed, and the process dies when that is collected. Here HDF5 writes to an
object that always says yes: after the first error it keeps what comes in memory, so that HDF5 can close the file in
order, and then the error is raised.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedRandom, RawIOBase
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from sde.storage.files import failing_as, replacing, write_whole

if TYPE_CHECKING:
    import xarray as xr

_SMALL = 2**20
"""Bytes up to which a write that failed is kept: HDF5's own records, and chunks that its cache may read again. Larger
ones are never read."""


class _Patient(RawIOBase):
    """The file that HDF5 sees; it calls from one thread at a time. error: what a write raised first."""

    def __init__(self, raw: RawIOBase) -> None:
        super().__init__()
        self.raw, self.error = raw, cast("BaseException | None", None)
        self._at, self._size = 0, 0
        self._kept: list[tuple[int, bytes]] = []

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        at, self._at = self._at, self._at + len(view)
        self._size = max(self._size, self._at)
        if self.error is None:
            try:
                _write(self.raw, view, at)
            except BaseException as error:  # a KeyboardInterrupt too: it may not pass through HDF5 either
                self.error = error
        if self.error is not None and len(view) <= _SMALL:
            self._kept.append((at, bytes(view)))
        return len(view)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        at, self._at = self._at, self._at + len(view)
        got = 0
        try:
            self.raw.seek(at)
            while got < len(view) and (count := self.raw.readinto(view[got:])):
                got += count
        except BaseException as error:
            self.error = self.error or error
        view[got:] = bytes(len(view) - got)
        for first, kept in self._kept:
            low, high = max(first, at), min(first + len(kept), at + len(view))
            if low < high:
                view[low - at : high - at] = kept[low - first : high - first]
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._at if size is None else size
        if self.error is None:
            try:
                self.raw.truncate(self._size)
            except BaseException as error:
                self.error = error
        return self._size

    def flush(self) -> None:
        """What is written is written."""


def _write(raw: RawIOBase, view: memoryview, at: int) -> None:
    raw.seek(at)
    while len(view):
        view = view[raw.write(view) or 0 :]


class Writer:
    """A NetCDF 4 file under way, on an empty file open for reading and writing; its variables grow along their first
    axis. `file` is its h5netcdf.File."""

    def __init__(self, stream: BinaryIO) -> None:
        import h5netcdf  # slow to load

        self._patient = _Patient(cast(BufferedRandom, stream).raw)
        self._open, self._lock, self._length = True, Lock(), 0
        self.file: Any = h5netcdf.File(self._patient, "w")

    def create(
        self, name: str, dims: Sequence[str], shape: Sequence[int], dtype: np.dtype[Any], chunks: Sequence[int]
    ) -> None:
        """A variable, of nothing yet."""
        sizes = {d: n if k else None for k, (d, n) in enumerate(zip(dims, shape, strict=True))}
        self.file.dimensions.update({d: n for d, n in sizes.items() if d not in self.file.dimensions})
        fill = np.nan if dtype.kind == "f" else None
        self.file.create_variable(name, tuple(dims), dtype, chunks=tuple(chunks), fillvalue=fill)

    def write(self, first: int, values: Mapping[str, np.ndarray]) -> None:
        """Entries from `first` of the first axis on. Any thread may call."""
        with self._lock:
            self.check()
            end = first + len(next(iter(values.values())))
            if end > self._length:
                self._length = end
                self.file.resize_dimension(self._axis(), end)
            for name, value in values.items():
                self.file.variables[name][first:end] = value
            self.check()

    def elsewhere(self) -> None:
        """No other process may write."""

    def move(self, first: int, to: int, n: int) -> None:
        """Entries first..first+n to a place before theirs."""
        axis = self._axis()
        for variable in self.file.variables.values():
            if variable.dimensions[:1] == (axis,):
                variable[to : to + n] = variable[first : first + n]

    def end(self, length: int, rest: xr.Dataset, attrs: Callable[[str], Mapping[str, Any]]) -> None:
        """Cut the first axis, say what variables are (`attrs` of a name), add a Dataset and close the file."""
        if length < self._length:
            self.file.resize_dimension(self._axis(), length)
        for name, variable in self.file.variables.items():
            variable.attrs.update(attrs(name))
        self.put(rest)
        self.close()
        self.check_written()

    def _axis(self) -> str:
        return next(iter(self.file.variables.values())).dimensions[0]

    def check(self) -> None:
        """Raise what a write has raised, and OSError where the file is closed."""
        self.check_written()
        if not self._open:
            raise OSError("the file is closed")

    def check_written(self) -> None:
        """Raise what a write has raised."""
        if self._patient.error is not None:
            raise self._patient.error

    def put(self, data: xr.Dataset) -> None:
        """Add a Dataset's variables and attributes."""
        from xarray.backends import H5NetCDFStore

        self.check()
        data.dump_to_store(H5NetCDFStore(self.file))
        self.check()

    def close(self) -> None:
        """Close the file. What a write has raised is left to `check_written`."""
        with self._lock:
            if self._open:
                self._open = False
                self.file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None:
            self.check_written()


@contextmanager
def begun(path: str | Path) -> Iterator[Writer]:
    """Yields a file under way beside path, which takes its place at the end, or is removed, after an exception."""
    with replacing(path) as scratch, failing_as(path), Writer(scratch) as writer:
        yield writer


def write(path: str | Path, data: xr.Dataset) -> Path:
    """Write a result whole."""

    def fill(stream: BinaryIO) -> None:
        with Writer(stream) as writer:
            writer.put(data)

    return write_whole(path, fill)


def opened(path: str | Path) -> xr.Dataset:
    """A result, its variables not yet read."""
    import xarray as xr

    return xr.open_dataset(path, engine="h5netcdf")


def attributes(path: str | Path) -> dict[str, Any]:
    """Of a result. For what is none, raises anything."""
    import h5netcdf

    with h5netcdf.File(path, "r") as file:
        return dict(file.attrs)
