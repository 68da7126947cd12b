"""Files written whole: to a temporary neighbour first, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def write_whole(path: str | Path, write: Callable[[Path], object], what: str = "output") -> Path:
    """Let `write` fill a neighbour of path, force it to the disk, then rename it: a reader finds the old file or the new one, whole. Raises
    OSError naming the file, as `what`, when it cannot be written."""
    target = Path(path).resolve()
    if target.exists() and not target.is_file():  # a pipe or a device: there is nothing to rename over
        try:
            write(target)
        except OSError as error:
            raise _unwritable(target, error, what) from error
        return target
    with replacing(target, what) as scratch:
        try:
            write(scratch)
        except OSError as error:
            raise _unwritable(target, error, what) from error
    return target


@contextmanager
def replacing(path: str | Path, what: str = "output") -> Iterator[Path]:
    """Yields a neighbour of path to write to, which takes its place at the end, forced to the disk; or is removed, after an exception."""
    target = Path(path).resolve()
    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield scratch
        try:
            _force(scratch)
            os.replace(scratch, target)
            _force(target.parent)
        except OSError as error:
            raise _unwritable(target, error, what) from error
    finally:
        scratch.unlink(missing_ok=True)


def _force(path: Path) -> None:
    """Wait until a file's contents, or a folder's names, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> Path:
    """Write text whole."""
    return write_whole(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def write_netcdf(path: str | Path, data: xr.Dataset) -> Path:
    """Write a result whole, as NetCDF 4."""

    def fill(scratch: Path) -> None:
        with failing_as(path):
            data.to_netcdf(scratch, engine="h5netcdf")

    return write_whole(path, fill)


@contextmanager
def failing_as(path: str | Path) -> Iterator[None]:
    """What HDF5 raises when the disk is full, which may be a RuntimeError, as an OSError naming the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise _unwritable(Path(path).resolve(), OSError(reason), "output") from error


TIMINGS = ("wall_seconds", "compile_seconds", "versions", "result_hash", "run")
"""Attributes that say nothing of a result's numbers."""


def fingerprint(data: xr.Dataset) -> str:
    """SHA-256 of a result: names, dimensions and bits of all variables and coordinates, and the attributes but for TIMINGS. The same for a
    Dataset and for the file it was written to, and for two runs that came out alike to the bit; attrs["result_hash"] holds it."""
    digest = hashlib.sha256()
    for name in sorted(map(str, {**data.data_vars, **data.coords})):
        variable, values = data[name], np.asarray(data[name].values)
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


def check_writable(path: str | Path, what: str = "output") -> None:
    """Raise OSError now rather than after a long run when a file cannot be written."""
    target = Path(path).resolve()
    if target.is_dir():
        raise OSError(f"{what}: must be a file; got the folder {target}. Name a file in it.")
    if target.exists() and not target.is_file():
        return
    probe = target.with_name(f".{target.name}.{os.getpid()}.probe")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(target, error, what) from error


def _unwritable(target: Path, error: OSError, what: str) -> OSError:
    if "must be writable" in str(error):
        return error
    return OSError(
        f"{what}: the file must be writable; got {target} ({error.strerror or error}). Choose another path or make its folder."
    )
