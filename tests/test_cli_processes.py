"""The command line on a stranger's losses, in real processes, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sde.api
import sde.engine.chunk
from tests.commands import COMMAND, GOOD, opened, record, run

pytestmark = pytest.mark.usefixtures("folder")

# --- a stranger's losses --------------------------------------------------------------------------------------------

NUMBER, PAIR = '{ law = "normal" }', '{ law = "normal", shape = [2] }'
TRIPLE, BITS = '{ law = "normal", shape = [3] }', '{ law = "bernoulli", p = 0.5, shape = [2] }'
STRANGERS = {
    "products": ({"a": [], "b": [], "c": []}, {"x": NUMBER, "e": NUMBER}, "(a*b*c*x - e)**2", 2, True),
    "matrix chain": ({"A": [2, 3], "B": [3, 2]}, {"x": PAIR, "y": PAIR}, "sum((A@B@x - y)**2)", 6, True),
    "norm": ({"w": [3]}, {"x": TRIPLE, "e": NUMBER}, "(w@x/norm(w) - e)**2", 1, True),
    "exp": ({"u": [], "v": []}, {"x": NUMBER}, "exp(-u*v*x) + u*v*x", 1, False),
    "log": ({"u": [2], "v": []}, {"x": PAIR}, "log(1 + exp(-v*(u@x)))", 1, False),
    "tanh": ({"W": [2, 2], "a": [2]}, {"x": PAIR, "e": NUMBER}, "(a@tanh(W@x) - e)**2", 0, False),
    "relu": ({"W": [2, 2], "a": [2]}, {"x": PAIR, "e": NUMBER}, "(a@relu(W@x) - e)**2", 2, False),
    "softmax": ({"W": [3, 2]}, {"x": PAIR, "k": BITS}, "-dot(k, log(softmax(W@x))[:2])", 2, False),
    "squares": ({"u": [3], "v": [3]}, {"x": TRIPLE, "e": NUMBER}, "(sum((u**2 - v**2)*x) - e)**2", 3, True),
    "indices": (
        {"U": [2, 2], "m": [2]},
        {"x": PAIR, "e": NUMBER},
        "(sum(U, axis=0)[1]*m[0]*x[0] + U[0,0]*m[1]*x[1] - e)**2",
        None,
        True,
    ),
    "3-d": ({"T": [2, 3, 2], "m": [3]}, {"x": PAIR, "y": PAIR}, "sum((m@(T@x).T - y)**2)", 6, True),
    "attention": (
        {"Q": [2, 2], "K": [2, 2]},
        {"x": '{ law = "normal", shape = [2, 2] }'},
        "sum((softmax(x@Q.T@K@x.T, axis=1)@x)**2)",
        3,
        False,
    ),
}


HEAVY = ("matrix chain", "log", "tanh", "squares")
"""Others beside them use the same of the grammar and the same schemes."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in HEAVY)) for n in STRANGERS])
def test_a_strangers_loss_derives_trains_and_simulates(name: str) -> None:
    parameters, data, expression, charges, closed = STRANGERS[name]
    tables = {
        "parameters": {k: str(shape) for k, shape in parameters.items()},
        "data": data,
        "run.start": dict.fromkeys(parameters, '{ law = "uniform", low = 0.3, high = 0.9 }'),
    }
    text = f"[loss]\nexpression = '{expression}'\n[run]\nsteps = 20\npaths = 4\nsave_at = 3\n"
    text += "".join(f"[{t}]\n" + "".join(f"{k} = {v}\n" for k, v in table.items()) for t, table in tables.items())
    Path("strange.toml").write_text(text)
    found = record("derive", "strange.toml")
    assert found["parameters"] == parameters
    assert charges is None or found["independent_charges"] == charges
    assert run("train", "strange.toml", "-o", "run.nc", "--keep", "paths").exit_code == 0
    got = opened("run.nc")
    for k, shape in parameters.items():
        assert got[k].shape == (4, 3, *shape) and np.isfinite(got[k]).all()
        assert (got[k].values[:, 0] != got[k].values[:, -1]).any()
    result = run("simulate", "strange.toml", "-o", "sde.nc")
    assert result.exit_code == (0 if closed else 2), result.stderr
    assert Path("sde.nc").exists() is closed


# --- real processes -------------------------------------------------------------------------------------------------


def test_the_installed_command_prints_json_only() -> None:
    done = subprocess.run([COMMAND, "derive", "good.toml", "--json", "-"], capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "good"
    assert "u**2 - w**2" in done.stderr


def test_the_installed_command_refuses_bad_input_in_one_line() -> None:
    Path("bad.toml").write_text(GOOD.replace("(u*w*x - y)**2", "__import__('os').system('touch pwned')"))
    before = sorted(os.listdir())
    done = subprocess.run([COMMAND, "train", "bad.toml", "-o", "run.nc"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("loss.expression, column 1: ")
    assert sorted(os.listdir()) == before


WATCHED = """
import sys
from pathlib import Path
from sde.cli import commands
from sde.engine import chunk
from sde.kernels.statistics import moments

def told(function):
    def call(*arguments):
        out = function(*arguments)
        Path("mark").touch()
        return out
    return call

if sys.argv.pop(1) == "merged":
    moments.merge = told(moments.merge)
else:
    chunk.run_block = told(chunk.run_block)
commands.main()
"""


def interrupted(when: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own that gets SIGINT once a chunk is "merged" or compiled work has "begun"."""
    command = [sys.executable, "-c", WATCHED, when, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        limit = time.monotonic() + 60
        while not Path("mark").exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.parametrize("command", ["simulate", pytest.param("train", marks=pytest.mark.slow)])
def test_ctrl_c_saves_what_is_complete(command: str) -> None:
    paths, length = (1_000_000, 10) if command == "simulate" else (2_000_000, 50)
    done = interrupted(
        "merged",
        command,
        "good.toml",
        "-o",
        "run.nc",
        "--json",
        "j.json",
        "--paths",
        paths,
        "--time",
        length,
        *["--no-check"] * (command == "simulate"),
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    data = opened("run.nc")
    assert data.attrs["interrupted"] == 1
    assert 0 < data.attrs["paths"] < paths
    assert np.isfinite(data.u.values).all() and data.u.sel(statistic="std").values[-1] > 0
    assert f"the {data.attrs['paths']} paths that were complete are saved in run.nc" in done.stderr
    assert json.loads(Path("j.json").read_text())["paths"] == data.attrs["paths"]


def test_ctrl_c_before_anything_is_complete_writes_nothing() -> None:
    before = {*os.listdir(), "mark"}
    done = interrupted(
        "begun", "simulate", "good.toml", "-o", "run.nc", "--json", "j.json", "--paths", 256, "--time", 10_000
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.endswith("interrupted: nothing was complete yet, nothing was written\n") and done.stdout == ""
    assert set(os.listdir()) == before


def test_paths_saved_after_ctrl_c_are_those_of_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("simulate", "good.toml", "--paths", 600, "--keep", "paths", "--threads", 1, "--no-check")
    assert run(*options, "-o", "whole.nc").exit_code == 0
    interrupt_once(monkeypatch, after=1)
    assert run(*options, "-o", "part.nc").exit_code == 130
    whole, part = opened("whole.nc"), opened("part.nc")
    assert 0 < part.sizes["path"] < 600
    xr.testing.assert_equal(part, whole.sel(path=part.path))


def interrupt_once(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C while a block is being run, after so many blocks."""
    block, calls = sde.engine.chunk.advance, []

    def pressing(*arguments):
        calls.append(0)
        if len(calls) == after + 1:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
        return block(*arguments)

    monkeypatch.setattr(sde.engine.chunk, "advance", pressing)


def test_ctrl_c_ends_a_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_once(monkeypatch, after=1)
    result = run("verify", "good.toml", "--paths", 600, "--json", "v.json", "--report", "v.html")
    assert result.exit_code == 130
