"""Scratch files: what is being written lies beside its target, under a name that nobody can guess, locked while it is
in use.

The lock tells a file under way from one that a killed process left behind: the next who writes the same target removes
the latter. Where there are no locks, age tells.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import time
from typing import BinaryIO, cast

from sde.storage import zarr_folder

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

LOCKS = fcntl is not None
STALE = 24 * 3600.0
"""Seconds after which an untouched scratch file is taken for left behind, where the file system has no locks."""

_LONGEST = 180
_TRIES = 100
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_RECHECK = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def create(target: Path) -> tuple[BinaryIO, Path]:
    """A new, empty file beside target, open for reading and writing, and its path. Its mode follows the umask. Raises
    OSError."""
    handle, path = _created(target, lambda path: os.open(path, _FLAGS, 0o666))
    return cast(BinaryIO, os.fdopen(handle, "w+b")), path


def create_folder(target: Path) -> tuple[int, Path]:
    """A new, empty folder beside target: its descriptor, which holds it until it is closed, and its path."""

    def make(path: Path) -> int:
        path.mkdir(0o777)
        try:
            return os.open(path, _FOLDER)
        except FileNotFoundError as error:  # taken for a left-over, as below
            raise FileExistsError(path) from error

    return _created(target, make)


def new_name(target: Path) -> Path:
    """A name beside target that nobody can guess."""
    return target.with_name(f".{_stem(target.name)}.{secrets.token_hex(8)}.part")


def _created(target: Path, make: Callable[[Path], int]) -> tuple[int, Path]:
    for _ in range(_TRIES):
        path = new_name(target)
        try:
            handle = make(path)
        except FileExistsError:
            continue
        try:
            if _hold(handle) and _names(path, handle):
                return handle, path
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # another process took it for a left-over between the two calls, and removes it
    raise FileExistsError(f"no new name was to be had beside {target}")


def sweep(target: Path, folder: bool = False) -> None:
    """Remove what killed processes left of this target: regular files of ours that nobody holds, or of a `folder`,
    folders. What cannot be removed stays."""
    mark = re.compile(rf"\.{re.escape(_stem(target.name))}\.[0-9a-f]{{16}}\.part")
    try:
        with os.scandir(target.parent) as entries:
            left = [entry.path for entry in entries if mark.fullmatch(entry.name)]
    except OSError:
        return
    for path in left:
        with suppress(OSError):
            _remove(path, folder)


def _remove(path: str, folder: bool) -> None:
    found = os.lstat(path)
    right = stat.S_ISDIR if folder else stat.S_ISREG
    if not right(found.st_mode) or (hasattr(os, "geteuid") and found.st_uid != os.geteuid()):
        return
    drop = zarr_folder.remove if folder else os.unlink
    if folder:
        with os.scandir(path) as entries:  # what is written lies within
            found = max([found, *(entry.stat(follow_symlinks=False) for entry in entries)], key=lambda s: s.st_mtime)
    if fcntl is None:
        if _stale(found):
            drop(path)
        return
    handle = os.open(path, _FOLDER if folder else _RECHECK)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            if not _stale(found):
                return
        if _names(path, handle):
            drop(path)
    finally:
        os.close(handle)


def _hold(handle: int) -> bool:
    """Mark a file as in use until it is closed. Shared: HDF5 takes such a lock to read, and must not be kept out once
    the file has its name."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _names(path: str | Path, handle: int) -> bool:
    """Whether the path still is the open file."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _stale(found: os.stat_result) -> bool:
    return time() - found.st_mtime > STALE


def _stem(name: str) -> str:
    """A target's name as part of a file name: cut where the whole would be longer than file systems take."""
    raw = os.fsencode(name)
    if len(raw) <= _LONGEST:
        return name
    return f"{raw[: _LONGEST // 2].decode('utf-8', 'ignore')}-{hashlib.sha256(raw).hexdigest()[:32]}"
