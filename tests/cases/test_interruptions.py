"""Runs that are interrupted or cannot save answer within a second, keep what is complete, and say so."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, SGD, simulate, train
from sde.engine import checkpoint, chunk
from sde.engine.checkpoint import Checkpoint
from sde.engine.ensemble import CheckpointWarning
from sde.engine.gathering import Gathering
from sde.engine.interruption import InterruptedWarning
from sde.storage.files import fingerprint
from symbolic import Dataset, Loss
from tests.cases.long_runs import (
    OU,
    RESCALING,
    X,
    Y,
    a,
    after_chunks,
    b,
    press,
    until,
    x,
    y,
)
from tests.commands import COMMAND, opened, run


def answer(call: Callable[[], Any], begun: threading.Event, after: float = 0.4) -> float:
    """Seconds from Ctrl-C, so long after compiled work has begun, to the end of a call that cannot complete a chunk."""
    pressed, ended = list[float](), threading.Event()

    def later() -> None:
        if begun.wait(120) and not ended.wait(after):
            pressed.append(time.monotonic())
            press()

    presser = threading.Thread(target=later)
    presser.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        ended.set()
        begun.set()
        presser.join()
    return time.monotonic() - pressed[0]


# --- a compiled step is never longer than a second without looking up
# ---------------------------------------------------


def rows(n: int) -> Loss:
    """A loss with no closed form over n rows: its SDE takes all of them in every step."""
    xs = np.linspace(-1, 1, n)
    return Loss(sp.exp(-a * b * x) + a * b * x * y, [a, b], Dataset({x: xs, y: xs}))


LONG: dict[str, Callable[[], Any]] = {
    "rows of a data set": lambda: simulate(
        rows(200_000), SGD(0.01), start={a: 0.5, b: 0.5}, time=1.0, dt=0.01, paths=4096, save_at=2
    ),
    "rows of a data set, paths of one chunk": lambda: simulate(
        rows(400_000), SGD(0.01), start={a: 0.5, b: 0.5}, time=1.0, dt=0.01, paths=64, save_at=2
    ),
    "gradient descent on a data set": lambda: train(
        rows(400_000), SGD(0.01), start={a: 0.5, b: 0.5}, steps=100, paths=4096, full_batch=True, save_at=2
    ),
    "a large batch of a law": lambda: train(
        RESCALING, SGD(0.01, batch_size=10**8), start={"u": 1.2, "w": 0.6}, steps=100, paths=4096, save_at=2
    ),
    "a large batch without replacement": lambda: train(
        rows(20_000),
        SGD(0.01, batch_size=19_000, replacement=False),
        start={a: 0.5, b: 0.5},
        steps=1000,
        paths=4096,
        save_at=2,
    ),
    "a path's own steps": lambda: simulate(
        SDE([X, Y], [-1000 * Y, 1000 * X], [[1], [0]]),
        start={X: 1.0, Y: 0.0},
        time=100.0,
        dt=10.0,
        paths=4096,
        save_at=2,
        scheme="adaptive-euler",
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_case_d_ctrl_c_is_answered_within_a_second(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, advance = threading.Event(), chunk.advance

    def told(*arguments: Any) -> Any:
        begun.set()
        return advance(*arguments)

    monkeypatch.setattr(chunk, "advance", told)
    assert answer(LONG[name], begun) < 1.0


@pytest.fixture
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs cut as finely as long ones are."""
    monkeypatch.setattr("sde.engine.plan.CHUNK_STEPS", 0)


# --- interrupted results say so
# ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("many_chunks")
@pytest.mark.parametrize("command", ["simulate", "train", "paths", "stream"])
def test_case_d_a_partial_result_warns(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after_chunks(monkeypatch, 20)
    settings: dict[str, Any] = {"start": {"u": 1.2, "w": 0.6}, "paths": 20_000, "save_at": 2}
    if command in ("paths", "stream"):
        settings |= {"keep": "paths"} | ({"out": tmp_path / "p.nc"} if command == "stream" else {})

    def call() -> Any:
        if command == "train":
            return train(RESCALING, SGD(0.05), steps=20, **settings)
        return simulate(RESCALING, SGD(0.05), time=1.0, dt=0.05, **settings)

    with pytest.warns(InterruptedWarning, match=r"interrupted; the result holds the \d+ of 20000 paths"):
        data = call()
    assert data.attrs["interrupted"] == 1 and 0 < data.attrs["paths"] < 20_000


@pytest.mark.usefixtures("many_chunks")
def test_case_d_a_second_ctrl_c_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> None:
        press()
        time.sleep(0.2)
        press()

    after_chunks(monkeypatch, 20, twice)
    with pytest.raises(KeyboardInterrupt):
        simulate(RESCALING, SGD(0.05), start={"u": 1.2, "w": 0.6}, time=1.0, dt=0.05, paths=20_000)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("many_chunks")
def test_case_d_a_users_own_handlers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = list[int]()
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        after_chunks(monkeypatch, 5, lambda: press(signal.SIGTERM))
        data = simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=20_000, checkpoint=tmp_path / "c")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] and data.attrs["interrupted"] == 0


TERMINATED = """
import sys, sympy as sp
from sde import SDE, simulate
X = sp.Symbol("X", real=True)
simulate(SDE([X], [-X], [[1]]), start={X: 0.0}, time=4.0, dt=0.001, paths=2_000_000, save_at=2, checkpoint="c")
print("not reached")
"""


def test_case_d_sigterm_in_python_saves_and_ends(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINATED], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    until((tmp_path / "c").exists, process)
    before = (tmp_path / "c").stat().st_mtime_ns
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.communicate(timeout=60) == ("", None) and process.returncode == -signal.SIGTERM
    assert time.monotonic() - began < 5 and (tmp_path / "c").stat().st_mtime_ns > before
    _, state = checkpoint.read(tmp_path / "c")
    assert np.unpackbits(state["done"]).sum() > 0


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)  # Ctrl-C: tests/test_cli_processes.py
def test_case_d_a_command_saves_what_is_complete(number: int, code: int) -> None:
    options = ("good.toml", "--paths", "20000", "--time", "10", "-o", "run.nc", "--checkpoint", "c")
    process = subprocess.Popen([COMMAND, "simulate", *options], stderr=subprocess.PIPE, text=True)
    until(Path("c").exists, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "noetherflow resume c goes on" in err and "Traceback" not in err, err
    assert opened("run.nc").attrs["interrupted"] == 1
    assert run("resume", "c", "-o", "run.nc").exit_code == 0


# --- checkpoints
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("many_chunks")
def test_case_d_the_first_chunks_are_saved_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saves, began, write = list[float](), time.monotonic(), Checkpoint.save

    def told(self: Checkpoint, state: Any) -> None:
        write(self, state)
        saves.append(time.monotonic() - began)

    monkeypatch.setattr(Checkpoint, "save", told)
    first = list[float]()
    after_chunks(
        monkeypatch, 3, lambda: first.append(time.monotonic() - began)
    )  # with two threads the first is complete by then
    simulate(OU, start={X: 0.0}, time=10.0, dt=0.001, paths=20_000, threads=2, save_at=2, checkpoint=tmp_path / "c")
    assert len(saves) >= 2 and saves[0] - first[0] < 1.0


def folder_gone(place: Path) -> None:
    place.parent.rename(place.parent.with_name("elsewhere"))


def a_folder_there(place: Path) -> None:
    while not place.is_dir():  # the run may be about to write it
        place.unlink(missing_ok=True)
        with suppress(FileExistsError):
            place.mkdir()


@pytest.mark.usefixtures("many_chunks")
@pytest.mark.parametrize("spoil", [folder_gone, a_folder_there])
def test_case_d_a_checkpoint_that_fails_warns_and_the_run_goes_on(
    spoil: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "deep" / "c"
    place.parent.mkdir()
    whole = simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=20_000)
    after_chunks(monkeypatch, 10, lambda: spoil(place))
    monkeypatch.setattr(Checkpoint, "due", lambda _: True)
    with pytest.warns(CheckpointWarning, match="checkpoint: .*the run goes on") as told:
        data = simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=20_000, checkpoint=place)
    assert fingerprint(data) == fingerprint(whole)
    said = [str(w.message) for w in told if w.category is CheckpointWarning]
    assert len(said) == 2 and "the run's end is not saved" in said[1]


@pytest.mark.usefixtures("many_chunks")
def test_case_d_a_disk_that_was_full_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later saves are tried again: the last one is there, and the run is told to be saved by one warning only."""
    sync, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(0)
        if len(calls) < 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(Checkpoint, "due", lambda _: True)
    with pytest.warns(CheckpointWarning) as told:
        simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=20_000, checkpoint=tmp_path / "c")
    assert sum(w.category is CheckpointWarning for w in told) == 1
    _, state = checkpoint.read(tmp_path / "c")
    assert np.unpackbits(state["done"], count=40).all()


@pytest.mark.usefixtures("many_chunks")
def test_an_exception_while_a_chunk_is_taken_in_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a signal's handler that is not ours: half a chunk would be in the counts."""
    take, taken = Gathering.take, list[int]()

    def broken(self: Gathering, piece: Any) -> None:
        take(self, piece)
        if threading.current_thread() is threading.main_thread():
            taken.append(0)
            if len(taken) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(Gathering, "take", broken)
    with pytest.raises(KeyboardInterrupt):
        simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=20_000, threads=2)
    assert len(taken) == 2
