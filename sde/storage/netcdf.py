"""NetCDF through a file of ours, so that a disk that is full never reaches HDF5, which does not survive it.

A failed write leaves an HDF5 file half closed, and the process dies when that is collected. Here HDF5 writes to an
object that always says yes: after the first error it keeps what comes in memory, so that HDF5 can close the file in
order, and then the error is raised.
"""

from __future__ import annotations

import os
from io import BufferedRandom, RawIOBase
from typing import TYPE_CHECKING, Any, BinaryIO, cast

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
    """A NetCDF 4 file under way, on an empty file open for reading and writing. `file` is its h5netcdf.File."""

    def __init__(self, stream: BinaryIO) -> None:
        import h5netcdf  # slow to load

        self._patient = _Patient(cast(BufferedRandom, stream).raw)
        self._open = True
        self.file: Any = h5netcdf.File(self._patient, "w")

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
        if self._open:
            self._open = False
            self.file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None:
            self.check_written()
