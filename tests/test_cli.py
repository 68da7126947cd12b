"""The command line as a stranger meets it: the records it writes, its exit codes, files, options and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import Result
from typer.testing import CliRunner

import sde.ensemble
import sde.study
from sde.cli import app
from symbolic.library import LIBRARY

GOOD = """
[parameters]
u = []
w = []
[data]
x = { law = "normal", mean = 0, std = 1 }
e = { law = "normal", mean = 0, std = 0.5, shape = [] }
[loss]
where = { y = "x + e" }
expression = "(u*w*x - y)**2"
[sgd]
learning_rate = 0.01
[run]
start = { u = 1.2, w = 0.6 }
time = 1.0
paths = 8
save_at = 3
observables = { C = "u**2 - w**2", v = "[u, w]" }
"""
ROWS = "a,b,label\n1,2,0\n3,5,2\n5,2,2\n2,1,1\n"
FROM_FILE = """
[parameters]
W = [2]
v = []
[data]
file = "train.csv"
inputs = ["a", "b"]
targets = ["label"]
standardize = true
[loss]
expression = "(v*(W@x) - y)**2"
[run]
start = { W = [0.3, 0.2], v = 0.5 }
time = 1.0
paths = 20
"""
STATISTICS = ["mean", "std", "sem", "min", "max", "q05", "q25", "q50", "q75", "q95"]
COMMAND = Path(sys.executable).with_name("noetherflow")


def run(*arguments: object) -> Result:
    """The command in this process; a defect's exception is raised here."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def record(*arguments: object) -> dict:
    result = run(*arguments, "--json", "-")
    assert result.exit_code in (0, 1, 3), result.stderr
    return json.loads(result.stdout)


def opened(path: Path | str) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf") as data:
        return data.load()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "train.csv").write_text(ROWS)
    (tmp_path / "file.toml").write_text(FROM_FILE)
    return tmp_path


# --- derive ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["good.toml", "softmax-regression", "two-layer-tanh", "matrix_factorization"])
def test_derive_writes_designs_fields(spec: str) -> None:
    found = record("derive", spec)
    assert set(found) == {
        "name",
        "parameters",
        "algebra",
        "independent_charges",
        "conservation_laws",
        "complete",
        "certificate",
        "charges",
    }
    assert set(found["algebra"]) == {"dimension", "symmetric", "antisymmetric"}
    assert found["algebra"]["dimension"] >= found["algebra"]["symmetric"] + found["algebra"]["antisymmetric"]
    size = sum(int(np.prod(shape, dtype=int)) for shape in found["parameters"].values())
    for charge in found["charges"]:
        assert set(charge) == {"expression", "generator", "kind", "class", "drift"}
        assert set(charge["generator"]) == {"A", "b"}
        A, b = (np.vectorize(Fraction)(np.array(charge["generator"][k], dtype=object)) for k in ("A", "b"))
        assert A.shape == (size, size) and b.shape == (size,) and np.array_equal(A, A.T)
        assert charge["class"] in ("convergent", "divergent", "frozen")
    assert found["name"] == ("good" if spec == "good.toml" else spec.replace("_", "-"))


def test_derive_of_designs_own_example() -> None:
    found = record("derive", "good.toml")
    assert found["parameters"] == {"u": [], "w": []}
    assert found["algebra"] == {"dimension": 1, "symmetric": 1, "antisymmetric": 0}
    assert (found["independent_charges"], found["conservation_laws"], found["complete"]) == (1, 1, True)
    assert found["certificate"] == "proved"
    assert found["charges"][0]["expression"] == "u**2 - w**2"
    assert found["charges"][0]["generator"] == {"A": [[1, 0], [0, -1]], "b": [0, 0]}
    assert found["charges"][0]["class"] == "convergent"


def test_derive_needs_no_run_section_and_speaks_to_people() -> None:
    Path("bare.toml").write_text(GOOD.partition("[run]")[0])
    result = run("derive", "bare.toml")
    assert result.exit_code == 0 and not result.stderr
    assert "u**2 - w**2" in result.stdout and "convergent" in result.stdout


# --- verify ---------------------------------------------------------------------------------------------------------

FIELDS = {"claim", "verdict", "statistic", "interval", "alpha", "paths"}


def check_verdicts(found: dict) -> None:
    assert {"supported", "verdicts"} <= set(found)
    for verdict in found["verdicts"]:
        assert set(verdict) >= FIELDS
        assert verdict["verdict"] in ("supported", "refuted", "inconclusive")
        assert isinstance(verdict["claim"], str) and len(verdict["interval"]) == 2
        assert 0 < verdict["alpha"] < 1 and isinstance(verdict["paths"], int)
    words = {v["verdict"] for v in found["verdicts"]}
    assert found["supported"] is (words == {"supported"})


def test_exit_code_0_when_all_is_supported() -> None:
    options = ("--time", 1, "--paths", 20, "--json", "v.json", "--report", "v.html")
    result = run("verify", "softmax-regression", *options)
    assert result.exit_code == 0, result.stdout
    found = json.loads(Path("v.json").read_text())
    check_verdicts(found)
    assert found["supported"] is True
    assert Path("v.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert "report: v.html" in result.stdout


def flipped(figures):
    """The sign of one entry of A is wrong."""
    wrong = figures.charges[0].A.copy()
    wrong[0, 0] = -wrong[0, 0]
    return replace(figures, charges=(replace(figures.charges[0], A=wrong), *figures.charges[1:]))


def test_exit_code_1_when_something_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sde.study, "verify", partial(sde.study.verify, numeric=flipped))
    result = run("verify", "good.toml", "--paths", 4, "--json", "v.json")
    assert result.exit_code == 1
    found = json.loads(Path("v.json").read_text())
    check_verdicts(found)
    assert "refuted" in {v["verdict"] for v in found["verdicts"]}


def test_exit_code_3_when_nothing_can_be_decided() -> None:
    result = run("verify", "two-layer-tanh", "--time", 0.1, "--paths", 2, "--json", "v.json")
    assert result.exit_code == 3
    found = json.loads(Path("v.json").read_text())
    check_verdicts(found)
    assert found["supported"] is False and found["verdicts"] == []


def test_exit_code_3_when_paths_are_too_few() -> None:
    result = run("verify", "good.toml", "--paths", 2, "--json", "v.json")
    assert result.exit_code == 3
    found = json.loads(Path("v.json").read_text())
    check_verdicts(found)
    assert {v["verdict"] for v in found["verdicts"]} == {"supported", "inconclusive"}


def test_the_options_of_verify_reach_it() -> None:
    options = {"learning-rate": 0.02, "batch-size": 2, "weight-decay": 0.1, "momentum": 0.5, "time": 0.2, "paths": 3}
    options |= {"seed": 5, "alpha": 0.05, "threads": 1}
    found = record("verify", "good.toml", *(part for k, v in options.items() for part in (f"--{k}", v)))
    check_verdicts(found)
    settings = found["settings"]
    for ours, given in (("paths per start", "paths"), *((k, k) for k in ("time", "seed", "alpha", "momentum"))):
        assert settings[ours] == options[given]
    assert (settings["learning rate"], settings["batch size"], settings["weight decay"]) == (0.02, 2, 0.1)
    assert settings["steps"] == 10
    assert {v["alpha"] for v in found["verdicts"]} <= {0.05}
    assert record("verify", "good.toml", "--steps", 4, "--paths", 2)["settings"]["steps"] == 4


# --- files of runs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["simulate", "train"])
def test_statistics_have_designs_dims(command: str) -> None:
    result = run(command, "good.toml", "-o", "run.nc")
    assert result.exit_code == 0 and "run.nc: 8 paths of good (0 exploded)" in result.stdout
    data = opened("run.nc")
    assert data.statistic.values.tolist() == STATISTICS
    assert data.u.dims == data.C.dims == ("statistic", "time")
    assert data.v.dims == ("statistic", "time", "v_0") and data.v.shape == (10, 3, 2)
    assert data.exploded.dims == ("time",) and data.exploded.values.tolist() == [0, 0, 0]
    assert data.time.values[0] == 0 and data.time.values[-1] == pytest.approx(1.0, rel=1e-12)
    assert data.u.sel(statistic="mean").values[0] == 1.2
    assert {"seed", "scheme", "dt", "spec_hash", "versions", "wall_seconds", "compile_seconds"} <= set(data.attrs)
    assert data.attrs["scheme"] == {"simulate": "euler-maruyama", "train": "sgd"}[command]


@pytest.mark.parametrize("command", ["simulate", "train"])
def test_kept_paths_have_designs_dims(command: str) -> None:
    assert (
        run(
            command,
            "matrix-factorization",
            "-o",
            "run.nc",
            "--keep",
            "paths",
            "--time",
            0.1,
            "--paths",
            3,
            "--save-at",
            2,
        ).exit_code
        == 0
    )
    data = opened("run.nc")
    assert data.U.dims[:2] == ("path", "time") and data.U.shape == (3, 2, 3, 2)
    assert data.W.dims[:2] == ("path", "time") and data.W.shape == (3, 2, 2, 4)
    assert data.exploded.dims == ("time",)
    assert np.array_equal(data.U.values[0, 0], LIBRARY["matrix-factorization"].start["U"])


def test_explosions_are_said_and_saved() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run("train", "good.toml", "-o", "run.nc", "--learning-rate", 3, "--steps", 400)
    assert result.exit_code == 0
    assert re.search(r"^warning: \d of 8 paths exploded and are left out", result.stderr)
    gone = opened("run.nc").exploded.values
    assert gone[0] == 0 and gone[-1] > 0
    assert f"8 paths of good ({gone[-1]} exploded)" in result.stdout


def test_full_batch_has_no_noise() -> None:
    assert run("train", "file.toml", "-o", "gd.nc", "--full-batch", "--paths", 3).exit_code == 0
    data = opened("gd.nc")
    assert data.attrs["kind"] == "gd"
    assert np.allclose(data.v.sel(statistic="std"), 0)


OVERRIDES = [
    ("train", "--learning-rate", "0.02", "learning_rate = 0.01", "learning_rate = 0.02"),
    ("train", "--batch-size", "4", "[run]", "batch_size = 4\n[run]"),
    ("train", "--weight-decay", "0.3", "[run]", "weight_decay = 0.3\n[run]"),
    ("train", "--momentum", "0.5", "[run]", "momentum = 0.5\n[run]"),
    ("train", "--time", "0.5", "time = 1.0", "time = 0.5"),
    ("train", "--steps", "37", "time = 1.0", "steps = 37"),
    ("train", "--paths", "5", "paths = 8", "paths = 5"),
    ("train", "--seed", "9", "paths = 8", "paths = 8\nseed = 9"),
    ("train", "--save-at", "6", "save_at = 3", "save_at = 6"),
    ("train", "--keep", "paths", "paths = 8", 'paths = 8\nkeep = "paths"'),
    ("train", "--dtype", "float32", "paths = 8", 'paths = 8\ndtype = "float32"'),
    ("simulate", "--learning-rate", "0.02", "learning_rate = 0.01", "learning_rate = 0.02"),
    ("simulate", "--batch-size", "4", "[run]", "batch_size = 4\n[run]"),
    ("simulate", "--weight-decay", "0.3", "[run]", "weight_decay = 0.3\n[run]"),
    ("simulate", "--momentum", "0.5", "[run]", "momentum = 0.5\n[run]"),
    ("simulate", "--time", "0.5", "time = 1.0", "time = 0.5"),
    ("simulate", "--dt", "0.05", "paths = 8", "paths = 8\ndt = 0.05"),
    ("simulate", "--seed", "9", "paths = 8", "paths = 8\nseed = 9"),
]


@pytest.mark.parametrize(("command", "option", "value", "old", "new"), OVERRIDES, ids=lambda v: str(v)[:15])
def test_an_option_does_what_the_file_would(command: str, option: str, value: str, old: str, new: str) -> None:
    assert GOOD.count(old) == 1
    Path("other.toml").write_text('name = "good"\n' + GOOD.replace(old, new))
    assert run(command, "good.toml", "-o", "plain.nc").exit_code == 0
    assert run(command, "good.toml", "-o", "option.nc", option, value).exit_code == 0
    assert run(command, "other.toml", "-o", "file.nc").exit_code == 0
    plain, option_, file = opened("plain.nc"), opened("option.nc"), opened("file.nc")
    xr.testing.assert_equal(option_, file)
    assert option_.attrs["spec_hash"] == file.attrs["spec_hash"] and option_.attrs["seed"] == file.attrs["seed"]
    assert not option_.equals(plain)


def test_threads_do_not_change_a_result() -> None:
    for n in (1, 2):
        assert run("simulate", "good.toml", "-o", f"{n}.nc", "--paths", 600, "--threads", n).exit_code == 0
    xr.testing.assert_equal(opened("1.nc"), opened("2.nc"))


def test_the_first_of_several_starts_is_run() -> None:
    text = (
        GOOD.replace("start = { u = 1.2, w = 0.6 }\n", "")
        + "[[run.start]]\nu = 0.3\nw = 1\n[[run.start]]\nu = 2\nw = 1\n"
    )
    Path("starts.toml").write_text(text)
    assert run("simulate", "starts.toml", "-o", "run.nc").exit_code == 0
    assert opened("run.nc").u.sel(statistic="mean").values[0] == 0.3


# --- JSON on standard output, names, lists --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("derive", "good.toml"),
        ("simulate", "good.toml", "-o", "run.nc"),
        ("train", "good.toml", "-o", "run.nc"),
        ("verify", "good.toml", "--paths", "2", "--time", "0.1"),
        ("library",),
        ("schemes",),
    ],
    ids=lambda a: a[0],
)
def test_json_to_standard_output_and_to_a_file_is_the_same(arguments: tuple[str, ...]) -> None:
    out = run(*arguments, "--json", "-")
    assert run(*arguments, "--json", "o.json").exit_code == out.exit_code
    timing = {"wall_seconds", "compile_seconds"}

    def steady(text: str) -> object:
        value = json.loads(text)
        return {k: v for k, v in value.items() if k not in timing} if isinstance(value, dict) else value

    assert steady(out.stdout) == steady(Path("o.json").read_text())
    assert "NaN" not in out.stdout and "Infinity" not in out.stdout


@pytest.mark.parametrize("name", list(LIBRARY))
def test_library_names_serve_in_place_of_a_spec(name: str) -> None:
    assert run("train", name, "-o", "run.nc", "--steps", 3, "--paths", 2, "--save-at", 2).exit_code == 0
    data = opened("run.nc")
    assert data.attrs["name"] == LIBRARY[name].build().name
    assert set(LIBRARY[name].start) <= set(data.data_vars)


def test_library_lists_every_loss() -> None:
    found = record("library")
    assert [row["name"] for row in found] == list(LIBRARY)
    assert all(all(row.values()) for row in found)
    shown = run("library")
    assert shown.exit_code == 0 and "rescaling" in shown.stdout


def test_schemes_lists_calculus_and_orders() -> None:
    found = {row["name"]: row for row in record("schemes")}
    assert found["euler-maruyama"] | {"reference": ""} == {
        "name": "euler-maruyama",
        "calculus": "ito",
        "noise": "general",
        "strong": "1/2",
        "weak": "1",
        "reference": "",
    }
    assert found["euler-maruyama"]["reference"]
    assert "euler-maruyama" in run("schemes").stdout


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


@pytest.mark.parametrize("name", list(STRANGERS))
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
from sde import cli, ensemble

def told(function):
    def call(*arguments):
        out = function(*arguments)
        Path("mark").touch()
        return out
    return call

if sys.argv.pop(1) == "merged":
    ensemble.statistics.merge = told(ensemble.statistics.merge)
else:
    ensemble.run_block = told(ensemble.run_block)
cli.main()
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


@pytest.mark.parametrize("command", ["simulate", "train"])
def test_ctrl_c_saves_what_is_complete(command: str) -> None:
    paths, length = (1_000_000, 10) if command == "simulate" else (2_000_000, 50)
    done = interrupted(
        "merged", command, "good.toml", "-o", "run.nc", "--json", "j.json", "--paths", paths, "--time", length
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
    assert done.stderr == "interrupted: nothing was complete yet, nothing was written\n" and done.stdout == ""
    assert set(os.listdir()) == before


def test_paths_saved_after_ctrl_c_are_those_of_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("simulate", "good.toml", "--paths", 600, "--keep", "paths", "--threads", 1)
    assert run(*options, "-o", "whole.nc").exit_code == 0
    interrupt_once(monkeypatch, after=1)
    assert run(*options, "-o", "part.nc").exit_code == 130
    whole, part = opened("whole.nc"), opened("part.nc")
    assert 0 < part.sizes["path"] <= 600
    xr.testing.assert_equal(part, whole.sel(path=part.path))


def interrupt_once(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C in the main thread, after so many chunks."""
    merge, calls = sde.ensemble.statistics.merge, []

    def merging(*arguments):
        calls.append(0)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        return merge(*arguments)

    monkeypatch.setattr(sde.ensemble.statistics, "merge", merging)


@pytest.mark.xfail(
    strict=True, reason="verify ignores attrs['interrupted'] of its runs and judges the paths that are left"
)
def test_ctrl_c_ends_a_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_once(monkeypatch, after=1)
    result = run("verify", "good.toml", "--paths", 600, "--json", "v.json", "--report", "v.html")
    assert result.exit_code == 130
