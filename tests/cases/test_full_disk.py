"""C5: a disk that is full is one line and exit code 2, or one OSError; the process lives, and nothing is left
behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from sde import SDE, simulate
from sde.engine import checkpoint, stream
from sde.storage import netcdf
from sde.storage.files import write_figure, write_text
from sde.storage.netcdf import write as write_netcdf
from tests import disks
from tests.commands import COMMAND

ROOT = str(Path(__file__).parents[2])
X = sp.Symbol("X", real=True)
pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[disks.Disk]:
    with disks.small(tmp_path / "small") as found:
        yield found


@pytest.fixture
def full(tmp_path: Path) -> Iterator[disks.Disk]:
    with disks.small(tmp_path / "small", 100) as found:
        found.fill(0)
        yield found


def process(disk: disks.Disk, *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(c) for c in command],
        capture_output=True,
        text=True,
        preexec_fn=disk.limit,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


SHORT = ("--paths", 20, "--time", 0.2)
PATHS = ("--keep", "paths", "--paths", 2000, "--save-at", 101)
COMMANDS: dict[str, tuple[Any, ...]] = {
    "simulate": ("simulate", "good.toml", *PATHS, "-o", "{}/run.nc"),
    "train": ("train", "good.toml", *PATHS, "-o", "{}/run.nc"),
    "derive": ("derive", "matrix-factorization", "--json", "{}/theory.json"),
    "verify --report": ("verify", "good.toml", *SHORT, "--report", "{}/report.html"),
    "verify --json": ("verify", "good.toml", *SHORT, "--json", "{}/report.json"),
    "library": ("library", "--json", "{}/library.json"),
}


QUICK = ("simulate", "derive", "verify --report")
"""One of each writer: NetCDF, text and pages."""


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] * (c not in QUICK)) for c in COMMANDS])
def test_case_c5_every_command_on_a_full_disk_is_one_line_and_exit_2(case: str, full: disks.Disk) -> None:
    done = process(full, COMMAND, *(str(c).format(full.folder) for c in COMMANDS[case]))
    assert done.returncode == 2, done
    assert done.stderr.startswith("output: the file must be writable") and done.stderr.count("\n") == 1, done.stderr
    assert str(full.folder) in done.stderr and full.names() == set()


STREAM = """
import gc, sys
import sympy as sp
from sde import SDE, simulate
X = sp.Symbol("X", real=True)
settings = dict(start={X: 0.0}, time=1.0, dt=0.01, keep="paths", seed=1)
for paths in (20_000, 8000):
    try:
        simulate(SDE([X], [-X], [[1]]), paths=paths, out=sys.argv[1], **settings)
    except OSError as error:
        print(error)
    gc.collect()
small = simulate(SDE([X], [-X], [[1]]), paths=500, out=sys.argv[1], **settings)
print(float(small.X.values.sum()), "alive")
"""


def test_case_c5_a_stream_that_fills_its_disk_leaves_a_living_process(disk: disks.Disk) -> None:
    done = process(disk, sys.executable, "-c", STREAM, disk.folder / "s.nc")
    assert done.returncode == 0 and done.stderr == "", done
    first, second, last = done.stdout.splitlines()
    assert first == second and first.startswith("output: the file must be writable; got ") and "s.nc" in first
    assert last.endswith("alive") and disk.names() == {"s.nc"}
    with xr.open_dataset(disk.folder / "s.nc", engine="h5netcdf") as found:
        assert found.sizes["path"] == 500 and float(last.split()[0]) == float(found.X.values.sum())


@pytest.mark.parametrize("leave", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (4096, 409_600)), 40_960])
def test_case_c5_every_writer_on_a_full_disk(leave: int, disk: disks.Disk) -> None:
    """From no byte left to a fifth of the disk: the error names the file, whatever of HDF5's own records still had
    room."""
    if disk.limit is not None:
        pytest.skip("needs a disk that is full for this process")
    disk.fill(leave)
    data = xr.Dataset(
        {"a": (("path", "time"), np.ones((4, 200_000)))} | {f"b{i}": ("time", np.ones(200_000)) for i in range(4)}
    )
    big = np.zeros(2 * disks.SIZE)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8))
    figure.subplots().imshow(np.random.default_rng(0).random((600, 600)))
    for write in (
        lambda path: write_text(path, "x" * 2 * disks.SIZE),
        lambda path: write_netcdf(path, data),
        lambda path: checkpoint.write(path, {"identity": "", "engine": {}}, {"a": big}),
        lambda path: write_figure(path, figure),
    ):
        with pytest.raises(OSError, match=r"the file must be writable; got .*out\.png \(No space left"):
            write(disk.folder / "out.png")
        gc.collect()
        assert disk.names() == set()


@pytest.mark.parametrize(
    "allowed", [pytest.param(n, marks=[pytest.mark.slow] * (n not in (0, 5, 20, 75))) for n in range(0, 80, 5)]
)
def test_case_c5_whichever_write_fails_first(allowed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any of the writes that HDF5 makes of a stream may be the first to fail, header, chunk or record."""
    calls, write = list[int](), netcdf._write

    def failing(raw: Any, view: memoryview, at: int) -> None:
        calls.append(at)
        if len(calls) > allowed:
            raise OSError(28, "No space left on device")
        write(raw, view, at)

    settings: dict[str, Any] = {"start": {X: 0.0}, "time": 1.0, "dt": 0.1, "paths": 3000, "keep": "paths"}
    with monkeypatch.context() as patch:
        patch.setattr(netcdf, "_write", failing)
        patch.setattr("sde.engine.plan.CHUNK_STEPS", 0)
        with pytest.raises(OSError, match=r"the file must be writable; got .*s\.nc \(No space left"):
            simulate(SDE([X], [-X], [[1]]), out=tmp_path / "s.nc", **settings).close()
        assert len(calls) > allowed
    gc.collect()
    assert set(os.listdir(tmp_path)) == {"good.toml", "file.toml", "train.csv"}


def test_case_c5_a_closed_file_and_a_half_written_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle of a chunk, and a file closed under a thread that still writes."""
    settings: dict[str, Any] = {"start": {X: 0.0}, "time": 1.0, "dt": 0.1, "paths": 3000, "keep": "paths"}
    monkeypatch.setattr("sde.engine.plan.CHUNK_STEPS", 0)
    write = stream.Stream.write

    def closing(self: Any, *arguments: Any) -> None:
        self.writer.close()
        write(self, *arguments)

    def breaking(self: stream.Stream, first: int, rows: np.ndarray, *ends: Any) -> None:
        write(self, first, rows[:, :, :-1] if first else rows, *ends)

    for broken, kind, words in ((closing, OSError, "the file is closed"), (breaking, TypeError, "broadcast")):
        with monkeypatch.context() as patch:
            patch.setattr(stream.Stream, "write", broken)
            with pytest.raises(kind, match=words):
                simulate(SDE([X], [-X], [[1]]), out=tmp_path / "s.nc", **settings)
        gc.collect()
        assert not [name for name in os.listdir(tmp_path) if "s.nc" in name]
    simulate(SDE([X], [-X], [[1]]), out=tmp_path / "s.nc", **settings).close()


@pytest.mark.parametrize(
    "command",
    [
        ("library",),
        pytest.param(("library", "--json", "-"), marks=pytest.mark.slow),
        pytest.param(("derive", "rescaling", "--json", "-"), marks=pytest.mark.slow),
    ],
)
def test_case_c5_standard_output_on_a_full_disk(command: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as out:
        done = subprocess.run([COMMAND, *command], stdout=out, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("output: standard output must be writable; got No space left")
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
        assert subprocess.run([COMMAND, *command], stdout=out, stderr=out).returncode == 2
        assert subprocess.run([COMMAND, "derive", "nothing.toml"], stdout=out, stderr=out).returncode == 2


def test_case_c5_a_stream_is_what_xarray_would_write(tmp_path: Path) -> None:
    """Through our file or HDF5's own: the same variables, attributes, types and chunks."""
    data = simulate(SDE([X], [-X], [[1]]), start={X: 0.0}, time=1.0, dt=0.1, paths=300, events={"high": X - 1})
    write_netcdf(tmp_path / "ours.nc", data)
    data.to_netcdf(tmp_path / "theirs.nc", engine="h5netcdf")
    with (
        xr.open_dataset(tmp_path / "ours.nc", engine="h5netcdf") as ours,
        xr.open_dataset(tmp_path / "theirs.nc", engine="h5netcdf") as theirs,
    ):
        xr.testing.assert_identical(ours, theirs)
        for name in ours.variables:
            own, other = ({**found[name].encoding, "source": None} for found in (ours, theirs))
            assert str(own) == str(other)
