"""The formats that results are written in: a path's ending says which, .zarr a zarr store, any other NetCDF."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sde.storage import netcdf, zarr_store
from sde.storage.files import check_ending, check_writable

if TYPE_CHECKING:
    import xarray as xr


class Writer(Protocol):
    """A result under way, whose variables are filled along their first axis."""

    def create(
        self, name: str, dims: Sequence[str], shape: Sequence[int], dtype: np.dtype[Any], chunks: Sequence[int]
    ) -> None: ...
    def write(self, first: int, values: Mapping[str, np.ndarray]) -> None: ...
    def elsewhere(self) -> Callable[[int, Mapping[str, np.ndarray]], None] | None: ...
    def move(self, first: int, to: int, n: int) -> None: ...
    def end(self, length: int, rest: xr.Dataset, attrs: Callable[[str], Mapping[str, Any]]) -> None: ...
    def check(self) -> None: ...


@dataclass(frozen=True)
class Format:
    """check(path): raises before a run what a write would; write(path, data), whole; begun(path): a Writer, whole at
    the end; opened(path), attributes(path): of what was written."""

    name: str
    check: Callable[[str | Path], None]
    write: Callable[[str | Path, xr.Dataset], Path]
    begun: Callable[[str | Path], AbstractContextManager[Writer]]
    opened: Callable[[str | Path], xr.Dataset]
    attributes: Callable[[str | Path], dict[str, Any]]


NETCDF = Format("NetCDF", check_writable, netcdf.write, netcdf.begun, netcdf.opened, netcdf.attributes)
ZARR = Format("zarr", zarr_store.check, zarr_store.write, zarr_store.begun, zarr_store.opened, zarr_store.attributes)


def refuse_other_endings(path: str | Path) -> None:
    """Raise InputError for a name that ends as files of none of these formats do."""
    if format_of(path) is NETCDF:
        check_ending(path, "output", "NetCDF")


def format_of(path: str | Path) -> Format:
    """By the path's ending."""
    return ZARR if Path(path).suffix.lower() == ".zarr" else NETCDF
