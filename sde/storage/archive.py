"""Named arrays and a JSON header in one file, which is refused unless it is what was written.

A line that names the format, then a NumPy archive (.npz, uncompressed) of arrays, never of objects, with the header
among them, then the SHA-256 of all before it. A file is read once, front to back, in memory that its size bounds;
nothing in it is run as a program.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from sde.storage.files import write_whole

MAGIC = b"noetherflow checkpoint 1\n"
DIGEST = 64
HEADER = "header"
MANIFEST = "manifest.json"
"""In a folder of such files, what tells of the folder."""

_BLOCK = 2**20
_NAME = re.compile(r"[A-Za-z0-9_.]{1,100}\.npy")
_NPY = re.compile(
    rb"\{'descr': '([<>|][biuf][1248])', 'fortran_order': False, 'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n"
)
_LOCAL = struct.Struct("<4s22xHH")
_MOST_AXES = 8


class Malformed(Exception):
    """Why a file, or what it holds, is not what was written."""


def write(path: Path, header: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
    """Write the file whole. Raises OSError naming it, ValueError for arrays of objects."""

    def fill(stream: BinaryIO) -> None:
        out = _Hashing(stream)
        out.write(MAGIC)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[arg-type]
            text = np.frombuffer(json.dumps(dict(header)).encode(), dtype=np.uint8)
            for name, array in {HEADER: text, **state}.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asarray(array, order="C"), allow_pickle=False)
        stream.write(out.digest.hexdigest().encode())

    write_whole(path, fill, "checkpoint")


def read(path: str | Path, arrays: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and state (arrays False: the header alone). Raises OSError, naming the file, unless it is what was
    written."""
    path = Path(path)
    try:
        with open(path, "rb", buffering=0, opener=_opened) as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError("not a file on a disk")
            try:
                return _read(stream, found.st_size, arrays)
            except Malformed as error:
                raise broken(path, str(error)) from error
    except (OSError, ValueError) as error:
        if str(error).startswith("checkpoint: "):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(f"checkpoint: the file must be readable; got {path} ({reason}). Check the path.") from error


NO_CHECKPOINT = "not a checkpoint"


def _opened(path: str, flags: int) -> int:
    """Opened without waiting for the other end of what may be a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def broken(path: Path, reason: str) -> OSError:
    """The error for a file that is not what was written."""
    advice = "Name another file" if reason == NO_CHECKPOINT else "Restore a copy, or delete it to begin anew"
    return OSError(f"checkpoint: the file must be as it was written; got {path} ({reason}). {advice}.")


def check_kind(path: Path, magic: bytes = MAGIC) -> None:
    """Raise OSError, naming the file, where there is one that does not even begin as these do: it may be somebody's."""
    try:
        if not path.exists():
            return
        if path.is_file():
            with path.open("rb") as stream:
                if stream.read(len(magic)) == magic:
                    return
    except OSError as error:
        raise OSError(
            f"checkpoint: the file must be readable; got {path} ({error.strerror}). Check the path."
        ) from error
    raise broken(path, NO_CHECKPOINT)


class _Hashing:
    """A stream that can only be written to, and adds up what went through."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.digest = stream, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.stream.write(data)
        return len(data)

    def flush(self) -> None:
        self.stream.flush()


class _Forward:
    """A file read once, front to back, adding up what went by."""

    def __init__(self, stream: io.RawIOBase | BinaryIO, size: int) -> None:
        self.stream, self.size, self.at, self.digest = stream, size, 0, hashlib.sha256()

    def fill(self, view: memoryview) -> None:
        """Read as much as view holds."""
        for first in range(0, len(view), _BLOCK):
            block = view[first : first + _BLOCK]
            got = 0
            while got < len(block):
                count = self.stream.readinto(block[got:])  # type: ignore[union-attr]
                if not count:
                    raise Malformed("truncated or altered")
                got += count
            self.digest.update(block)
            self.at += len(block)

    def take(self, count: int) -> bytes:
        if count > self.size - self.at:
            raise Malformed("truncated or altered")
        out = bytearray(count)
        self.fill(memoryview(out))
        return bytes(out)

    def go_to(self, position: int) -> None:
        """Past all up to a place, which may not lie behind."""
        if not self.at <= position <= self.size:
            raise Malformed("its parts overlap")
        while self.at < position:
            self.take(min(_BLOCK, position - self.at))


class _Middle(io.RawIOBase):
    """What lies between the first line and the digest, for `zipfile` to look the directory up in."""

    def __init__(self, stream: Any, first: int, length: int) -> None:
        super().__init__()
        self.stream, self.first, self.length, self._at = stream, first, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.length}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(self.length - self._at, 0)
        self.stream.seek(self.first + self._at)
        out = self.stream.read(left if size < 0 else min(size, left)) or b""
        self._at += len(out)
        return out


def _read(stream: Any, size: int, arrays: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    length = size - len(MAGIC) - DIGEST
    if stream.read(len(MAGIC)) != MAGIC:
        raise Malformed(NO_CHECKPOINT)
    if length < 0:
        raise Malformed("truncated or altered")
    found, problem = list[zipfile.ZipInfo](), None
    try:
        found = _directory(stream, length)
    except Malformed as error:  # told only where the digest is right
        problem = error
    stream.seek(0)
    forward, state = _Forward(stream, size - DIGEST), dict[str, np.ndarray]()
    try:
        for info in found:
            forward.go_to(len(MAGIC) + info.header_offset)
            name = info.filename.removesuffix(".npy")
            value = _array(forward, info, arrays or name == HEADER)
            if value is not None:
                state[name] = value
    except Malformed as error:
        problem = error
    forward.go_to(size - DIGEST)
    digest = forward.digest.hexdigest().encode()
    forward.size = size
    if forward.take(DIGEST) != digest:
        raise Malformed("truncated or altered")
    if problem is not None:
        raise problem
    if HEADER not in state:
        raise Malformed("no header")
    return _header(state.pop(HEADER)), state


def _directory(stream: Any, length: int) -> list[zipfile.ZipInfo]:
    """The archive's entries in order of place: stored as they are, each name once, together no longer than the file."""
    try:
        with zipfile.ZipFile(_Middle(stream, len(MAGIC), length)) as archive:  # type: ignore[arg-type]
            found = archive.infolist()
    except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, OSError, NotImplementedError) as error:
        raise Malformed("not an archive") from error
    names = {info.filename for info in found}
    if len(names) != len(found) or not all(_NAME.fullmatch(name) for name in names):
        raise Malformed("names that are double or strange")
    for info in found:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & ~0x808:
            raise Malformed(f"{info.filename} is compressed or encrypted")
    if sum(info.file_size for info in found) > length:
        raise Malformed("sizes beyond the file's")
    return sorted(found, key=lambda info: info.header_offset)


def _array(forward: _Forward, info: zipfile.ZipInfo, requested: bool) -> np.ndarray | None:
    """The array of an entry, whose bytes are as many as its shape says."""
    mark, name, extra = _LOCAL.unpack(forward.take(_LOCAL.size))
    if mark != b"PK\3\4" or forward.take(name) != info.filename.encode():
        raise Malformed(f"{info.filename} is not where it should be")
    forward.go_to(forward.at + extra)
    if not requested:
        return None
    start = forward.take(min(10, info.file_size))
    if start[:8] != b"\x93NUMPY\x01\x00":
        raise Malformed(f"{info.filename} is not an array")
    text = forward.take(min(int.from_bytes(start[8:], "little"), info.file_size - 10))
    match = _NPY.fullmatch(text)
    shape = () if match is None else tuple(int(n) for n in match[2].split(b",") if n.strip())
    left = info.file_size - len(start) - len(text)
    if match is None or len(shape) > _MOST_AXES:
        raise Malformed(f"{info.filename} is not an array of numbers")
    dtype = match[1].decode()
    if left > forward.size - forward.at or math.prod(shape) * int(dtype[2]) != left:
        raise Malformed(f"{info.filename} is not as long as its shape says")
    try:
        out = np.empty(shape, np.dtype(dtype))
    except (TypeError, ValueError) as error:
        raise Malformed(f"{info.filename} is not an array of numbers") from error
    raw = memoryview(cast(Any, out.reshape(-1).view(np.uint8))) if left else memoryview(b"")
    forward.fill(raw)
    if zlib.crc32(raw, zlib.crc32(text, zlib.crc32(start))) != info.CRC:
        raise Malformed(f"{info.filename} does not add up")
    if out.dtype.kind == "b" and left and raw.nbytes and out.view(np.uint8).max() > 1:
        raise Malformed(f"{info.filename} is neither true nor false")
    return out


def _header(text: np.ndarray) -> dict[str, Any]:
    """The header, a JSON object whose keys are there once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    def no(name: str) -> Any:
        raise ValueError(name)

    try:
        found = json.loads(text.tobytes().decode(), object_pairs_hook=once, parse_constant=no)
    except (ValueError, RecursionError) as error:
        raise Malformed("its header is not JSON as written") from error
    if not isinstance(found, dict):
        raise Malformed("its header is not a table")
    return found
