"""C3: scratch files have names that nobody can guess, belong to one writer each, and go with it, at the latest in the
next run."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
import xarray as xr

from sde.engine import checkpoint
from sde.reports.report import Report
from sde.storage import files, scratch_files
from sde.storage.files import check_writable, replacing, write_figure, write_text, write_whole
from sde.storage.netcdf import write as write_netcdf

LEFT = re.compile(r"\..*\.[0-9a-f]{16}\.part")
DATA = xr.Dataset({"a": ("time", np.arange(3.0))})
REPORT = Report("name", (), {}, (), (), (), ())
FIGURE = matplotlib.figure.Figure()
WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: write_text(path, "text"),
    "netcdf": lambda path: write_netcdf(path, DATA),
    "json": REPORT.to_json,
    "html": REPORT.to_html,
    "checkpoint": lambda path: checkpoint.write(path, {"identity": "", "engine": {}}, {"a": np.arange(3)}),
    "figure": lambda path: write_figure(path.with_suffix(".png"), FIGURE),
}


@pytest.mark.parametrize("job", [check_writable, *list(WRITERS.values())[:2]], ids=["check", "text", "netcdf"])
def test_case_c3_eight_threads_and_twelve_calls_each(job: Callable[[Path], object], tmp_path: Path) -> None:
    errors = list[BaseException]()

    def calls() -> None:
        for _ in range(12):
            try:
                job(tmp_path / "run.nc")
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=calls) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert set(os.listdir(tmp_path)) <= {"run.nc"}


@pytest.mark.parametrize("kind", WRITERS)
def test_case_c3_an_error_leaves_the_old_file_and_nothing_else(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.png"
    target.write_text("before")

    def fail(*_: object) -> None:
        assert any(LEFT.fullmatch(name) for name in os.listdir(tmp_path))
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="the file must be writable; got .*out.png"):
            WRITERS[kind](target)
    assert os.listdir(tmp_path) == ["out.png"] and target.read_text() == "before"
    WRITERS[kind](target)
    assert os.listdir(tmp_path) == ["out.png"] and target.read_bytes() != b"before"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
@pytest.mark.parametrize("kind", WRITERS)
def test_case_c3_modes_follow_the_umask(kind: str, mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        WRITERS[kind](tmp_path / "out.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.png").stat().st_mode) == mode


def test_case_c3_names_cannot_be_guessed_nor_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that lies where the file would be made is neither followed nor taken: another name is drawn."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    drawn = iter(["0" * 16, "1" * 16, "2" * 16])
    (tmp_path / f".out.{'0' * 16}.part").symlink_to(victim)
    os.link(victim, tmp_path / f".out.{'1' * 16}.part")
    with monkeypatch.context() as patch:
        patch.setattr(scratch_files.secrets, "token_hex", lambda _: next(drawn))
        patch.setattr(scratch_files, "sweep", lambda _: None)
        write_text(tmp_path / "out", "text")
    assert victim.read_text() == "mine" and (tmp_path / "out").read_text() == "text"
    seen = set[str]()
    for _ in range(20):
        with replacing(tmp_path / "out"):
            seen |= {name for name in os.listdir(tmp_path) if LEFT.fullmatch(name)}
    assert len(seen) >= 20 and not any(str(os.getpid()) in name for name in seen if os.getpid() > 999)


KILLED = """
import os, sys
from sde.storage.files import replacing
with replacing(sys.argv[1]) as stream:
    stream.write(b"half")
    stream.flush()
    print("ready", flush=True)
    sys.stdin.read()
"""


def under_way(target: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


NAMES = ["run.nc", "a [1]*.nc", "ü" * 120, "x" * 250, ".hidden"]


@pytest.mark.parametrize("name", NAMES)
def test_case_c3_what_a_killed_process_left_goes_with_the_next_run(name: str, tmp_path: Path) -> None:
    target = tmp_path / name
    process = under_way(target)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(os.listdir(tmp_path)) == 1
    check_writable(tmp_path / "other")
    assert len(os.listdir(tmp_path)) == 1
    check_writable(target)
    assert os.listdir(tmp_path) == []


def test_case_c3_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    target = tmp_path / "run.nc"
    process = under_way(target)
    check_writable(target)
    write_text(target, "ours")
    assert len(os.listdir(tmp_path)) == 2
    process.communicate("")
    assert process.returncode == 0 and os.listdir(tmp_path) == ["run.nc"] and target.read_text() == "half"


def test_case_c3_only_regular_files_of_ours_are_removed(tmp_path: Path) -> None:
    target, victim = tmp_path / "run.nc", tmp_path / "victim"
    victim.write_text("mine")
    kept = [f".run.nc.{'a' * 15}.part", f".run.nc.{'g' * 16}.part", f".run.ncx.{'a' * 16}.part", "run.nc.part"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    (tmp_path / f".run.nc.{'b' * 16}.part").symlink_to(victim)
    (tmp_path / f".run.nc.{'c' * 16}.part").mkdir()
    os.mkfifo(tmp_path / f".run.nc.{'d' * 16}.part")
    ours = tmp_path / f".run.nc.{'e' * 16}.part"
    ours.write_text("left")
    foreign = tmp_path / f".run.nc.{'f' * 16}.part"
    foreign.write_text("theirs")
    if os.geteuid() == 0:
        os.chown(foreign, 12345, 12345)
    check_writable(target)
    assert not ours.exists() and victim.read_text() == "mine"
    assert foreign.exists() == (os.geteuid() == 0)
    assert set(kept) < set(os.listdir(tmp_path)) and len(os.listdir(tmp_path)) == len(kept) + 4 + foreign.exists()


def test_case_c3_without_locks_age_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    for locks in (None, fcntl):
        old, new = tmp_path / f".run.nc.{'a' * 16}.part", tmp_path / f".run.nc.{'b' * 16}.part"
        for path in (old, new):
            path.write_text("left")
        os.utime(old, (time.time() - 2 * scratch_files.STALE,) * 2)
        with monkeypatch.context() as patch:
            patch.setattr(scratch_files, "fcntl", locks)
            patch.setattr(fcntl, "flock", none)
            write_text(tmp_path / "run.nc", "text")
        assert not old.exists() and new.exists() and (tmp_path / "run.nc").read_text() == "text"


def test_case_c3_a_scratch_file_taken_for_a_left_over_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a file's making and its lock another process may have removed it: never is a file without a name written
    to."""
    hold, lost = scratch_files._hold, list[str]()

    def late(handle: int) -> bool:
        if len(lost) < 3:
            lost.append(*(name for name in os.listdir(tmp_path)))
            os.unlink(tmp_path / lost[-1])
        return hold(handle)

    monkeypatch.setattr(scratch_files, "_hold", late)
    write_text(tmp_path / "run.nc", "text")
    assert len(lost) == 3 and (tmp_path / "run.nc").read_text() == "text" and os.listdir(tmp_path) == ["run.nc"]


def test_case_c3_a_reader_is_never_kept_out(tmp_path: Path) -> None:
    """HDF5 locks what it reads: a shared lock on a file that is just being put in its place must not stop it."""
    with replacing(tmp_path / "run.nc"), open(tmp_path / os.listdir(tmp_path)[0], "rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)


@pytest.mark.parametrize("bad", ["folder", "circle", "no/such/run.nc", "file/run.nc", "x" * 300, "nul\0l"])
@pytest.mark.parametrize("job", [check_writable, WRITERS["text"], WRITERS["netcdf"]], ids=["check", "text", "netcdf"])
def test_case_c3_what_cannot_be_a_file_is_one_clean_error(
    job: Callable[[Path], object], bad: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a file")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(OSError, match=r"^output: (the file must be writable|must be a)") as refused:
        job(tmp_path / bad)
    assert "\n" not in str(refused.value)
    assert sorted(os.listdir(tmp_path)) == ["circle", "file", "folder"]


def test_case_c3_links_to_a_target_are_kept(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "text"
    assert write_whole("/dev/null", lambda stream: stream.write(b"x")) == Path("/dev/null")
    assert files.located(tmp_path / "link") == tmp_path / "real"
