"""The folder of a zarr store (format 2) as files: what of it is ours, how it takes its place, how it goes.

Only what a store is made of is ever removed; where anything else lies, the folder is left alone.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

GROUP = (".zgroup", ".zattrs", ".zmetadata")
"""Files of a group."""
LONGEST = 64 * 2**20
"""Bytes of attributes that are read."""
_OF_ARRAY = re.compile(r"\.zarray|\.zattrs|\d{1,18}(\.\d{1,18})*|[\w.]{0,100}\.partial")
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_EXCHANGE, _HERE = 2, -100
"""RENAME_EXCHANGE and AT_FDCWD of Linux."""


def _files(folder: str | Path) -> Iterator[tuple[os.DirEntry[str], bool]]:
    """All that lies in a folder and in its folders, and whether a store has such a thing there; each folder after what
    is in it."""
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            yield entry, entry.name in GROUP and entry.is_file(follow_symlinks=False)
            continue
        with os.scandir(entry.path) as found:
            inner = list(found)
        for one in inner:
            yield one, bool(_OF_ARRAY.fullmatch(one.name)) and one.is_file(follow_symlinks=False)
        yield entry, not inner or any(one.name == ".zarray" for one in inner)


def attributes(path: Path) -> dict[str, Any]:
    """Of a store, read without anything of it run. Raises OSError where there are none."""
    with open(path / ".zattrs", "rb", opener=lambda name, _: os.open(name, _READ)) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError("not a file on a disk")
        data = stream.read(LONGEST + 1)
    try:
        found = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise OSError(errno.EINVAL, "attributes that are not as they were written") from error
    if not isinstance(found, dict):
        raise OSError(errno.EINVAL, "attributes that are not as they were written")
    return found


def other(path: Path) -> str:
    """What lies at a path beside a result of ours, which alone may be replaced; empty where there is nothing."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return ""
    if not stat.S_ISDIR(mode):
        return "a file"
    if not os.listdir(path):
        return ""
    odd = next((os.path.relpath(entry.path, path) for entry, known in _files(path) if not known), None)
    if odd is not None:
        return f"a folder that holds {odd!r}"
    try:
        run = json.loads(str(attributes(path).get("run")))
    except (OSError, ValueError, RecursionError):
        run = None
    return "" if isinstance(run, dict) and "command" in run else "a folder of something else"


def tidy(folder: Path) -> None:
    """Remove what killed writers of a store have left in it."""
    for entry, known in _files(folder):
        if known and entry.name.endswith(".partial"):
            os.unlink(entry.path)


def force(folder: Path) -> None:
    """Wait until a store is on the disk."""
    for entry, _ in _files(folder):
        handle = os.open(entry.path, _READ)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove(folder: str | Path) -> None:
    """Remove a store; a folder that holds anything else stays, with that."""
    for entry, known in _files(folder):
        if known:
            with suppress(OSError):
                (os.rmdir if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)
    with suppress(OSError):
        os.rmdir(folder)


def exchange(one: Path, two: Path) -> bool:
    """Let two folders take each other's names at one moment; whether this system can."""
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    return swap(_HERE, os.fsencode(one), _HERE, os.fsencode(two), _EXCHANGE) == 0
