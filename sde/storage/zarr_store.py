"""Results as zarr stores, format 2: a folder of small files, which many processes may write at once, each chunks of its
own. Needs `pip install noetherflow[zarr]`.

Format 3 says nothing of text, which labels results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.storage import scratch_files, zarr_folder
from sde.storage.files import failing_as, force, located
from symbolic.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

FORMAT: Any = 2
NAME = "zarr"


def _zarr(path: str | Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        rule = "a .zarr folder needs zarr"
        raise InputError.of(
            "output", rule, str(path), "pip install 'noetherflow[zarr]', or name a .nc file."
        ) from error
    return zarr


def check(path: str | Path, what: str = "output") -> None:
    """Raise now rather than after a long run: InputError without zarr, OSError where a store cannot be written or
    something else lies. What killed processes left of it goes."""
    _zarr(path)
    target = _free(path, what)
    with failing_as(target, what):
        scratch_files.sweep(target, folder=True)
        handle, beside = scratch_files.create_folder(target)
        os.close(handle)
        os.rmdir(beside)


def _free(path: str | Path, what: str) -> Path:
    """Where a path leads, which nothing may lie at but a store of ours."""
    target = located(path, what)
    with failing_as(target, what):
        found = zarr_folder.other(target)
    if found:
        raise OSError(
            f"{what}: a .zarr folder may replace only a result of noetherflow's; got {target} ({found}). Choose another"
            " path."
        )
    return target


@contextmanager
def begun(path: str | Path, what: str = "output") -> Iterator[Writer]:
    """Yields a store under way beside path, which takes its place at the end, forced to the disk; or is removed, after
    an exception. Raises OSError naming the folder, as `what`."""
    zarr, target = _zarr(path), _free(path, what)
    with failing_as(target, what):
        scratch_files.sweep(target, folder=True)
        handle, beside = scratch_files.create_folder(target)
    try:
        with failing_as(target, what):
            zarr.create_group(str(beside), zarr_format=FORMAT)
        yield Writer(beside)
        with failing_as(target, what):
            zarr_folder.tidy(beside)
            zarr_folder.force(beside)
            force(beside)
        _put(beside, _free(path, what), what)
    finally:
        os.close(handle)
        with suppress(OSError):
            zarr_folder.remove(beside)


def _put(made: Path, target: Path, what: str) -> None:
    """Give a folder its name; the store that had it goes."""
    with failing_as(target, what):
        if not target.exists() or not os.listdir(target):
            os.rename(made, target)
        elif not zarr_folder.exchange(made, target):
            aside = scratch_files.new_name(target)
            os.rename(target, aside)
            try:
                os.rename(made, target)
            except OSError:
                os.rename(aside, target)
                raise
            zarr_folder.remove(aside)
        force(target.parent)


class Writer:
    """A store under way, of arrays whose first axis is filled piece by piece."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._made = folder, dict[str, Any]()

    def create(
        self, name: str, dims: Sequence[str], shape: Sequence[int], dtype: np.dtype[Any], chunks: Sequence[int]
    ) -> None:
        """An array, of nothing yet."""
        group = _zarr(self.folder).open_group(str(self.folder), mode="r+", zarr_format=FORMAT)
        fill = np.nan if dtype.kind == "f" else None
        made = group.create_array(
            name, shape=tuple(shape), chunks=tuple(chunks), dtype=dtype, fill_value=fill, compressors=None
        )
        made.attrs["_ARRAY_DIMENSIONS"] = list(dims)
        self._made[name] = made

    def write(self, first: int, values: Mapping[str, np.ndarray]) -> None:
        """Entries from `first` of the first axis on, whole chunks. Any thread may call."""
        for name, value in values.items():
            self._made[name][first : first + len(value)] = value

    def elsewhere(self) -> Callable[[int, Mapping[str, np.ndarray]], None] | None:
        """`write` for other processes, where there is such a thing; it raises OSError or ImportError where a process
        does not see the folder."""
        return partial(put, str(self.folder))

    def move(self, first: int, to: int, n: int) -> None:
        """Entries first..first+n to a place before theirs."""
        for made in self._made.values():
            made[to : to + n] = made[first : first + n]

    def end(self, length: int, rest: xr.Dataset, attrs: Callable[[str], Mapping[str, Any]]) -> None:
        """Cut the first axis, say what arrays are (`attrs` of a name), and add a Dataset."""
        for name, made in self._made.items():
            made.resize((length, *made.shape[1:]))
            made.attrs.update(dict(attrs(name)))
        rest.drop_encoding().to_zarr(str(self.folder), mode="a", zarr_format=FORMAT, consolidated=True)

    def check(self) -> None:
        """Writing has raised what it had to."""


def put(folder: str, first: int, values: Mapping[str, np.ndarray]) -> None:
    """What `Writer.write` does, in any process that sees the folder."""
    import zarr

    if not os.path.isdir(folder):
        raise FileNotFoundError(folder)
    group = zarr.open_group(folder, mode="r+", zarr_format=FORMAT)
    for name, value in values.items():
        group[name][first : first + len(value)] = value  # type: ignore[index]


def write(path: str | Path, data: xr.Dataset) -> Path:
    """Write a result whole."""
    with begun(path) as writer, failing_as(path):
        writer.end(0, data, lambda name: {})
    return located(path)


def opened(path: str | Path) -> xr.Dataset:
    """A result, its variables not yet read."""
    import xarray as xr

    return xr.open_zarr(str(path), chunks=None, zarr_format=FORMAT)


def attributes(path: str | Path) -> dict[str, Any]:
    """Of a result. Raises OSError for what is none."""
    return zarr_folder.attributes(Path(path))
