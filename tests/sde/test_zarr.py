"""A result is the same in a zarr store as in a NetCDF file, whoever writes it; a store is there whole or not at all,
and nothing but a store of ours ever goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sympy as sp
import xarray as xr

from sde import SDE, InputError, simulate
from sde.api import show
from sde.engine.interruption import InterruptedWarning
from sde.storage import scratch_files, zarr_folder, zarr_store
from sde.storage.files import fingerprint
from tests.commands import run as command
from tests.sde.executors import Here

pytest.importorskip("zarr")

X = sp.Symbol("X", real=True)
OU = SDE([X], [-X], [[1]])
ALL: dict[str, Any] = {
    "observables": {"Z": sp.Matrix([X, X**2])},
    "events": {"up": X - 1},
    "covariance": ["X"],
    "histogram": {"X": [0.0, 1.0]},
}
PATHS, STEPS = 5000, 12


def stream(out: Path, **changes: Any) -> xr.Dataset:
    """20 chunks of paths, in a file."""
    settings: dict[str, Any] = {
        "start": {X: 1.0},
        "time": 1.0,
        "dt": 0.1,
        "paths": PATHS,
        "save_at": 4,
    }
    with patch("sde.engine.plan.CHUNK_STEPS", 0):
        return simulate(OU, check=False, keep="paths", out=out, **{**settings, **ALL, **changes})


def names(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def same(one: xr.Dataset, two: xr.Dataset) -> None:
    assert fingerprint(one) == fingerprint(two)
    assert one.attrs.keys() == two.attrs.keys() and set(one.coords) == set(two.coords)
    for name in one.variables:
        assert one[name].identical(two[name]) and one[name].dtype == two[name].dtype


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_a_store_holds_what_a_file_does(dtype: str, tmp_path: Path) -> None:
    file = stream(tmp_path / "a.nc", dtype=dtype)
    same(stream(tmp_path / "a.zarr", dtype=dtype), file)
    same(stream(tmp_path / "a.zarr", dtype=dtype, seed=0, threads=1), file)  # over the first
    same(xr.open_zarr(tmp_path / "a.zarr").load(), file)
    assert names(tmp_path) == {"a.nc", "a.zarr"}


def test_processes_write_their_own_chunks(tmp_path: Path) -> None:
    here, file = Here(), stream(tmp_path / "a.nc")
    same(stream(tmp_path / "a.zarr", executor=here), file)
    assert here.sent[1] < file.X.nbytes / 2  # rows of X and Z take three times that
    with patch("sde.storage.zarr_store.os.path.isdir", return_value=False):  # another machine
        blind = Here()
        same(stream(tmp_path / "b.zarr", executor=blind), file)
    assert blind.sent[1] > 3 * file.X.nbytes
    same(stream(tmp_path / "c.zarr", executor="processes", threads=2), file)


def stopping(n: int) -> Callable[[int], None]:
    left = [n]

    def tick(n: int) -> None:
        left[0] -= n
        if left[0] < 0:
            left[0] = 2**60
            os.kill(os.getpid(), signal.SIGINT)

    return tick


def test_chunks_that_are_left_out_leave_no_gap(tmp_path: Path) -> None:
    def answer(fn: Any, task: Any) -> Any:
        if {3, 11} & set(task.chunks):
            raise MemoryError
        return fn(task)

    with pytest.warns(UserWarning, match="failed 3 times|interrupted"):
        parts = [stream(tmp_path / name, executor=Here(answer)) for name in ("a.nc", "a.zarr")]
    same(*parts)
    whole = stream(tmp_path / "b.zarr")
    assert parts[1].sizes["path"] == PATHS - 2 * 256
    assert whole.sel(path=parts[1].path).X.equals(parts[1].X)


def test_an_interrupted_stream_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sde.engine.checkpoint.Checkpoint.due", lambda self: True)
    settings: dict[str, Any] = {"out": tmp_path / "a.zarr", "checkpoint": tmp_path / "run"}
    with pytest.warns(InterruptedWarning):
        part = stream(progress=stopping(PATHS * STEPS // 3), threads=1, **settings)
    assert 0 < part.sizes["path"] < PATHS
    same(stream(executor=Here(), **settings), stream(tmp_path / "a.nc"))
    assert names(tmp_path) == {"a.nc", "a.zarr", "run"}


def test_the_command_line_writes_and_shows_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for out in ("run.nc", "run.zarr", "run.zarr"):
        assert command("simulate", "rescaling", "-o", out, "--time", "1", "--paths", "50").exit_code == 0
    file, store = xr.open_dataset("run.nc", engine="h5netcdf"), xr.open_zarr("run.zarr")
    same(store.load(), file.load())
    assert store.attrs["result_hash"] == file.attrs["result_hash"] == fingerprint(store)
    told = [show.read(name) for name in ("run.nc", "run.zarr")]
    assert told[0]["run"] == told[1]["run"] and told[1]["kind"] == "result" and told[1]["complete"]
    assert "rescaling" in command("show", "run.zarr").output
    done = command("show", "run.zarr", "--json", "run.zarr/x.json")
    assert done.exit_code == 2 and names(tmp_path / "run.zarr") == names(tmp_path / "run.zarr") - {"x.json"}
    done = command("train", "rescaling", "-o", "run.zarr", "--json", "run.zarr/x.json")
    assert done.exit_code == 2 and "must be a file of its own" in done.output


def foreign(folder: Path, kind: str) -> None:
    """Something at folder that no run may replace."""
    if kind == "file":
        folder.write_text("mine")
    elif kind == "folder":
        folder.mkdir()
        (folder / "mine.txt").write_text("mine")
    elif kind == "other store":
        xr.Dataset({"a": ("x", [1.0])}, attrs={"run": "5"}).to_zarr(str(folder), zarr_format=2)
    else:
        stream(folder, paths=10)
        if kind == "file in ours":
            (folder / "X" / "notes.txt").write_text("mine")
        elif kind == "folder in ours":
            (folder / "more").mkdir()
            (folder / "more" / "mine.txt").write_text("mine")
        else:
            (folder / "X" / "0.1").symlink_to(folder.parent / "precious")


KINDS = ("file", "folder", "other store", "file in ours", "folder in ours", "link in ours")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_ours_is_never_replaced(kind: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    foreign(tmp_path / "a.zarr", kind)
    before = {p: p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()}
    with pytest.raises(OSError, match=r"may replace only a result of noetherflow's; got .*a\.zarr \(a f"):
        stream(tmp_path / "a.zarr")
    assert {p: p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()} == before


def test_what_comes_to_lie_there_meanwhile_stays(tmp_path: Path) -> None:
    stream(tmp_path / "a.zarr", paths=10)

    def late(n: int) -> None:
        (tmp_path / "a.zarr" / "late.txt").write_text("mine")

    with pytest.raises(OSError, match=r"holds 'late\.txt'"):
        stream(tmp_path / "a.zarr", progress=late)
    assert (tmp_path / "a.zarr" / "late.txt").read_text() == "mine" and names(tmp_path) == {"a.zarr"}
    zarr_folder.remove(tmp_path / "a.zarr")
    assert names(tmp_path / "a.zarr") == {"late.txt"}


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "a.zarr").symlink_to(tmp_path / "far" / "b.zarr")
    for seed in (1, 2):
        found = stream(tmp_path / "a.zarr", seed=seed)
        assert found.attrs["seed"] == str(seed) and found.X.notnull().all()
    assert (tmp_path / "a.zarr").is_symlink() and names(tmp_path / "far") == {"b.zarr"}


@pytest.mark.parametrize("swap", [zarr_folder.exchange, lambda one, two: False], ids=["at once", "aside"])
def test_a_store_takes_the_place_of_another(swap: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_folder, "exchange", swap)
    (tmp_path / "a.zarr").mkdir()  # an empty folder is nothing
    hashes = [fingerprint(stream(tmp_path / "a.zarr", seed=seed)) for seed in (1, 2)]
    assert hashes[0] != hashes[1] and names(tmp_path) == {"a.zarr"}

    def failing(one: Path, two: Path) -> None:
        if str(one).endswith(".part") and not os.path.exists(two):
            raise OSError(28, "No space left on device")
        rename(one, two)

    rename = os.rename
    if swap is not zarr_folder.exchange:
        monkeypatch.setattr(os, "rename", failing)
        calls: list[int] = []
        with pytest.raises(OSError):
            stream(tmp_path / "a.zarr", seed=3, progress=calls.append)
        assert calls


KILLED = """
import sys
import numpy as np
from sde.storage import zarr_store
with zarr_store.begun(sys.argv[1]) as writer:
    writer.create("X", ("path",), (8,), np.dtype(float), (4,))
    writer.write(0, {"X": np.ones(4)})
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_a_killed_writer_leaves_nothing_that_stays(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path / "a.zarr")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"begun\n"
        (left,) = names(tmp_path)
        stream(tmp_path / "a.zarr", paths=10)
        assert names(tmp_path) == {left, "a.zarr"}  # it lives
        writer.kill()
        writer.wait()
    (tmp_path / left / "mine.txt").write_text("mine")
    stream(tmp_path / "a.zarr", paths=10)
    assert names(tmp_path) == {left, "a.zarr"} and names(tmp_path / left) == {"mine.txt"}
    (tmp_path / left / "mine.txt").unlink()
    zarr_store.check(tmp_path / "a.zarr")
    assert names(tmp_path) == {"a.zarr"}


def test_where_there_are_no_locks_age_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch_files, "fcntl", None)
    handle, beside = scratch_files.create_folder(tmp_path / "a.zarr")
    os.close(handle)
    (beside / "X").mkdir()
    os.utime(beside, (0, 0))
    scratch_files.sweep(tmp_path / "a.zarr", folder=True)
    assert beside.exists()  # what is in it is young
    os.utime(beside / "X", (0, time.time() - 2 * scratch_files.STALE))
    os.utime(beside, (0, 0))
    scratch_files.sweep(tmp_path / "a.zarr", folder=True)
    assert not beside.exists()


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr_folder, "force", full)
    with pytest.raises(OSError, match=r"must be writable; got .*a\.zarr \(No space left"):
        stream(tmp_path / "a.zarr")
    assert names(tmp_path) == set()


def test_without_zarr_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.setattr("sde.api.prepared_run.load", lambda *_: pytest.fail("compiled before refusing"))
    with pytest.raises(
        InputError, match=r"output: a \.zarr folder needs zarr; got .* pip install 'noetherflow\[zarr\]'"
    ):
        stream(tmp_path / "a.zarr")
    assert names(tmp_path) == set()


def test_attributes_are_only_read(tmp_path: Path) -> None:
    stream(tmp_path / "a.zarr", paths=10)
    attributes = tmp_path / "a.zarr" / ".zattrs"
    for text in (b"[" * 10**5, b"\\xff", b"[]", b'{"run": "[]"}', b"{}"):
        attributes.write_bytes(text)
        with pytest.raises(OSError, match="show: must be a result"):
            show.read(tmp_path / "a.zarr")
    attributes.unlink()
    attributes.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="show: must be a result"):
        show.read(tmp_path / "a.zarr")
    os.unlink(attributes)
    os.mkfifo(attributes)
    with pytest.raises(OSError, match="show: must be a result"):
        show.read(tmp_path / "a.zarr")
