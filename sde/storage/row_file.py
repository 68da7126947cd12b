"""Records of one length, each at a place of its own in a file beside a checkpoint: what kills the process spoils none
but those being written, and the checkpoint holds the digests of those that count.

(An HDF5 file does not survive a process that is killed while it writes: its records of where things lie are in memory.)
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, cast

import numpy as np

from sde.storage.archive import broken, check_kind
from sde.storage.files import check_writable, failing_as, located

MAGIC = b"noetherflow rows 1\n"
_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def beside(checkpoint: Path) -> Path:
    """Where the rows of a checkpoint lie."""
    target = located(checkpoint, "checkpoint")
    return target.with_name(f"{target.name}.rows")


def check(path: Path) -> None:
    """Raise OSError, naming the file, where rows cannot be written, or something else lies."""
    check_writable(path, "checkpoint")
    check_kind(path, MAGIC)


class RowFile:
    """Records of at most `length` bytes of the run `mark` (ASCII). Raises OSError for a path that cannot be written, or
    where something else lies."""

    def __init__(self, path: Path, mark: str, length: int) -> None:
        self.path, self.length = path, length
        self._head = MAGIC + mark.encode("ascii") + b"\n"
        self._lock, self._stream = Lock(), cast("BinaryIO | None", None)
        check(path)

    def exists(self) -> bool:
        """Whether there are any."""
        return self.path.exists()

    def open(self) -> None:
        """Open what is there. Raises OSError, naming the file, for one of another run."""
        with self._lock, failing_as(self.path, "checkpoint"):
            stream = self._opened(0)
            stream.seek(0)
            head = stream.read(len(self._head))
        if head != self._head:
            raise broken(self.path, "of another run")

    def write(self, index: int, arrays: Sequence[np.ndarray]) -> bytes:
        """Write a record, the arrays one after another; its SHA-256. The first of a file that is not open begins it
        anew. Any thread may call."""
        views = [memoryview(cast(Any, np.ascontiguousarray(a))).cast("B") for a in arrays if a.size]
        digest = hashlib.sha256()
        for view in views:
            digest.update(view)
        with self._lock, failing_as(self.path, "checkpoint"):
            stream = self._stream or self._begun()
            stream.seek(len(self._head) + index * self.length)
            for view in views:
                while len(view):
                    view = view[stream.write(view) :]
        return digest.digest()

    def read(self, index: int, arrays: Sequence[np.ndarray]) -> bytes:
        """Fill arrays (C order) from a record, in order; its SHA-256. What is not there is left as it is."""
        digest = hashlib.sha256()
        with self._lock, failing_as(self.path, "checkpoint"):
            stream = self._opened(0)
            stream.seek(len(self._head) + index * self.length)
            for array in arrays:
                view = memoryview(cast(Any, array)).cast("B") if array.size else memoryview(b"")
                got = 0
                while got < len(view) and (count := stream.readinto(view[got:])):  # type: ignore[attr-defined]
                    got += count
                digest.update(view)
        return digest.digest()

    def sync(self) -> None:
        """Wait until what is written is on the disk."""
        if self._stream is not None:
            with failing_as(self.path, "checkpoint"):
                os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close it; it can be opened again."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None

    def remove(self) -> None:
        """Close and remove it."""
        self.close()
        with failing_as(self.path, "checkpoint"):
            self.path.unlink(missing_ok=True)

    def _begun(self) -> BinaryIO:
        stream = self._opened(os.O_CREAT)
        stream.truncate(0)
        stream.write(self._head)
        return stream

    def _opened(self, more: int) -> BinaryIO:
        if self._stream is None:
            self._stream = cast(BinaryIO, os.fdopen(os.open(self.path, _FLAGS | more, 0o666), "r+b", buffering=0))
            if not stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode):
                raise OSError("not a file on a disk")
        return self._stream
