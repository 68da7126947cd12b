"""Files written whole: to a scratch file beside them first, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from sde.storage import scratch_files
from symbolic.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


def located(path: str | Path, what: str = "output") -> Path:
    """Where a path leads, links followed but to a pipe or a device, which may have no name. Raises OSError for what is
    no path."""
    try:
        given = Path(path)
        with suppress(OSError):
            if not stat.S_ISREG(mode := given.stat().st_mode) and not stat.S_ISDIR(mode):
                return given.absolute()
        return given.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(f"{what}: must be a path; got {str(path)!r} ({reason}). Choose another path.") from error


def write_whole(path: str | Path, write: Callable[[BinaryIO], object], what: str = "output") -> Path:
    """Let `write` fill a scratch file beside path, force it to the disk, then rename it: a reader finds the old file or
    the new one, whole. Raises OSError naming the file, as `what`, when it cannot be written."""
    with replacing(path, what) as stream, failing_as(path, what):
        write(stream)
        stream.flush()
    return located(path, what)


@contextmanager
def replacing(path: str | Path, what: str = "output") -> Iterator[BinaryIO]:
    """Yields a file beside path, open for reading and writing, which takes its place at the end, forced to the disk; or
    is removed, after an exception. What other processes left of this path when they were killed goes too. Raises
    OSError naming the file, as `what`.
    """
    target = located(path, what)
    with failing_as(target, what):
        endless = target.exists() and not target.is_file()
    if endless:
        with _device(target, what) as stream:
            yield stream
        return
    with failing_as(target, what):
        scratch_files.sweep(target)
        stream, beside = scratch_files.create(target)
    try:
        yield stream
        with failing_as(target, what):
            stream.flush()
            os.fsync(stream.fileno())
            if not scratch_files.LOCKS:
                stream.close()
            os.replace(beside, target)
            stream.close()
            force(target.parent)
    finally:
        with suppress(OSError):  # a full disk is told of once
            stream.close()
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def _device(target: Path, what: str) -> Iterator[BinaryIO]:
    """The same for a pipe or a device, which there is nothing to rename over: it gets all at the end."""
    with failing_as(target, what):
        stream = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
    try:
        yield stream
        with failing_as(target, what):
            stream.flush()
            stream.seek(0)
            with open(target, "wb", buffering=0) as out:
                shutil.copyfileobj(stream, out)
    finally:
        with suppress(OSError):
            stream.close()


def force(folder: Path) -> None:
    """Wait until a folder's names are on the disk, where there is such a thing."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> Path:
    """Write text whole."""
    return write_whole(path, lambda stream: stream.write(text.encode()))


def write_figure(path: str | Path, figure: Any) -> Path:
    """Write a Matplotlib figure whole; the file's ending says the format (PNG where there is none). Raises ValueError
    for an unknown one."""
    kind = Path(path).suffix[1:].lower() or "png"
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise InputError(
            f"plot: the file's ending must name a format; got {str(path)!r} ({kind}). Use one of"
            f" {', '.join(sorted(known))}."
        )
    return write_whole(path, lambda stream: figure.savefig(stream, format=kind), "plot")


@contextmanager
def failing_as(path: str | Path, what: str = "output") -> Iterator[None]:
    """What is raised when a disk is full, which from HDF5 may be a RuntimeError, as an OSError naming the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if "must be writable" in str(error):
            raise
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise OSError(
            f"{what}: the file must be writable; got {located(path, what)} ({reason}). Choose another path or make its"
            " folder."
        ) from error


TIMINGS = ("wall_seconds", "compile_seconds", "versions", "result_hash", "run")
"""Attributes that say nothing of a result's numbers."""


def fingerprint(data: xr.Dataset) -> str:
    """SHA-256 of a result: names, dimensions and bits of all variables and coordinates, and the attributes but for
    TIMINGS. The same for a Dataset and for the file it was written to, and for two runs that came out alike to the bit;
    attrs["result_hash"] holds it.
    """
    digest = hashlib.sha256()
    for name in sorted(map(str, data.variables)):
        variable = data.variables[name]
        values = np.asarray(variable.data)
        if values.dtype.kind in "OUST":
            payload = json.dumps([str(v) for v in values.ravel()]).encode()
        else:
            numbers = values.astype(values.dtype.newbyteorder("<"))
            if numbers.dtype.kind == "f":
                numbers[np.isnan(numbers)] = np.nan
            payload = numbers.tobytes()
        kind = values.dtype.kind if values.dtype.kind not in "OUST" else "text"
        digest.update(
            f"{name} {variable.dims} {values.shape} {kind}{values.dtype.itemsize if kind != 'text' else ''};".encode()
        )
        digest.update(payload)
    for key in sorted(set(map(str, data.attrs)) - set(TIMINGS)):
        value = data.attrs[key]
        digest.update(f"{key}={value.item() if hasattr(value, 'item') else value!s};".encode())
    return digest.hexdigest()


TEXTS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".toml", ".md", ".markdown", ".html", ".htm", ".ipynb")
TABLES = (".parquet", ".feather", ".npy", ".npz", ".pkl", ".pickle", ".mat", ".xlsx", ".zarr")
ENDINGS = frozenset((*TEXTS, *TABLES, ".pdf", ".png", ".svg"))
"""Endings that name a format."""


def check_ending(path: str | Path, what: str, written: str, endings: Collection[str] = ()) -> None:
    """Raise InputError for a name that ends as files of another format than the one `written` do. endings: its own."""
    if Path(path).suffix.lower() in ENDINGS - set(endings):
        do = f"Let it end in {' or '.join(endings)}." if endings else "Let it end in .nc, or .zarr for zarr."
        raise InputError.of(what, f"is written as {written}", str(path), do)


def check_writable(path: str | Path, what: str = "output") -> None:
    """Raise OSError now rather than after a long run when a file cannot be written. What killed processes left of it
    goes."""
    target = located(path, what)
    with failing_as(target, what):
        folder = target.is_dir()
    if folder:
        raise OSError(f"{what}: must be a file; got the folder {target}. Name a file in it.")
    with failing_as(target, what):
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if target.exists() and not target.is_file():
            return
        scratch_files.sweep(target)
        stream, beside = scratch_files.create(target)
        with stream:
            beside.unlink(missing_ok=True)
