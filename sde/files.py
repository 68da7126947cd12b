"""Files written whole: to a temporary neighbour first, then renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


def write_whole(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a neighbour of path, then rename it. Raises OSError naming the file when it cannot be written."""
    target = Path(path).resolve()
    if target.exists() and not target.is_file():  # a pipe or a device: there is nothing to rename over
        write(target)
        return target
    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        write(scratch)
        os.replace(scratch, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        scratch.unlink(missing_ok=True)
    return target


def write_text(path: str | Path, text: str) -> Path:
    """Write text whole."""
    return write_whole(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def write_netcdf(path: str | Path, data: xr.Dataset) -> Path:
    """Write a result whole, as NetCDF 4."""
    return write_whole(path, lambda scratch: data.to_netcdf(scratch, engine="h5netcdf"))


def check_writable(path: str | Path) -> None:
    """Raise OSError now rather than after a long run when a file cannot be written."""
    target = Path(path).resolve()
    if target.is_dir():
        raise OSError(f"output: must be a file; got the folder {target}. Name a file in it.")
    if target.exists() and not target.is_file():
        return
    probe = target.with_name(f".{target.name}.{os.getpid()}.probe")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: OSError) -> OSError:
    return OSError(
        f"output: the file must be writable; got {target} ({error.strerror or error}). Choose another path or make its folder."
    )
