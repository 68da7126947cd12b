"""Results and checkpoints say what was run, whole, and `noetherflow show` tells it and how to run it again."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from sde import SDE, SGD, simulate, train
from sde.engine import compiling
from sde.engine.program import _machine_code, load
from sde.storage.files import TIMINGS, fingerprint
from sde.storage.netcdf import write as write_netcdf
from symbolic import Dataset, Loss, Normal, Uniform
from symbolic.codegen.prepare import prepare
from symbolic.library import LIBRARY
from symbolic.problem.optimizer import warmup
from tests.commands import COMMAND, FROM_FILE, GOOD, opened, run

pytestmark = pytest.mark.usefixtures("folder")
X, u, w, x, e = sp.symbols("X u w x e", real=True)
OU = SDE([X], [-X], [[sp.sqrt(2)]], name="ou")


def told(data: xr.Dataset) -> dict[str, Any]:
    return json.loads(data.attrs["run"])


def again(file: str) -> str:
    return json.loads(run("show", file, "--json", "-").stdout)["again"]


# --- what stands in a result
# ---------------------------------------------------------------------------------------------


def test_case_d_a_result_of_a_spec_holds_its_text_and_data() -> None:
    options = ("--learning-rate", 0.02, "--batch-size", 2, "--seed", 5)
    assert run("train", "file.toml", "-o", "run.nc", *options).exit_code == 0
    found = told(opened("run.nc"))
    assert found["call"]["text"] == FROM_FILE and found["call"]["spec"] == str(Path("file.toml").resolve())
    data = Path("train.csv").read_bytes()
    assert (
        found["data_file"]["name"] == "train.csv" and found["data_file"]["sha256"] == hashlib.sha256(data).hexdigest()
    )
    assert found["sgd"] == {
        "learning_rate": 0.02,
        "batch_size": 2,
        "weight_decay": 0.0,
        "momentum": 0.0,
        "replacement": True,
        "nesterov": False,
        "schedule": None,
    }
    assert found["settings"]["start"] == {"W": [0.3, 0.2], "v": 0.5} and found["settings"]["seed"] == 5
    assert (
        found["settings"]["steps"] == 50
        and found["settings"]["dtype"] == "float64"
        and found["settings"]["scheme"] == "sgd"
    )
    assert {"noetherflow", "sympy", "numpy", "scipy", "numba", "llvmlite", "python"} == set(found["versions"])
    assert found["processor"] and len(found["kernels"]) == 12


def test_case_d_a_result_of_python_holds_loss_laws_and_rows() -> None:
    rows = np.linspace(-1, 1, 7)
    loss = Loss((u * w * x - e) ** 2, [u, w], [Dataset({x: rows}), {e: Normal(0, sp.Rational(1, 2))}], name="mixed")
    sgd = SGD(0.1, batch_size=2, weight_decay=0.01, momentum=0.5, replacement=False, schedule=warmup(2.0))
    data = train(
        loss, sgd, start={u: 1.2, w: Uniform(0, 1)}, steps=5, paths=10, save_at=2, observables={"C": u**2 - w**2}
    )
    found = told(data)
    assert found["problem"]["expression"] == str(loss.expression) and found["problem"]["parameters"] == {
        "u": [],
        "w": [],
    }
    laws = {law["law"]: law for law in found["problem"]["data"]}
    assert laws["dataset"]["rows"] == 7 and laws["dataset"]["sha256"] == hashlib.sha256(rows.tobytes()).hexdigest()
    assert laws["normal"]["names"] == ["e"] and "1/4" in json.dumps(laws["normal"])
    assert (
        found["sgd"]["schedule"] == "Min(1, t/2)"
        and found["sgd"]["replacement"] is False
        and found["sgd"]["momentum"] == 0.5
    )
    assert found["settings"]["start"]["w"]["law"] == "Uniform" and found["settings"]["observables"] == {
        "C": "u**2 - w**2"
    }
    assert found["call"] is None and found["data_file"] is None


def test_case_d_a_result_of_an_sde_holds_its_coefficients() -> None:
    t = sp.Symbol("t", real=True)
    mu = sp.Symbol("mu", real=True)
    problem = SDE([X], [mu * sp.sin(t) - X], [[X / 2]], "stratonovich", t, "driven", [mu])
    data = simulate(
        problem,
        start={X: np.linspace(0, 1, 2000)},
        time=1.0,
        dt=0.1,
        paths=2000,
        parameters={mu: 2.0},
        scheme="heun",
        save_at=[0.5, 1.0],
    )
    found = told(data)
    assert found["problem"]["drift"] == ["-X + mu*sin(t)"] and found["problem"]["diffusion"] == [["X/2"]]
    assert found["problem"]["interpretation"] == "stratonovich" and found["problem"]["time"] == "t"
    settings = found["settings"]
    assert settings["dt"] == data.attrs["dt"] and settings["scheme"] == "heun" and settings["save_at"] == [0.5, 1.0]
    assert settings["parameters"] == {"mu": 2.0} and settings["time"] == 1.0
    assert settings["start"]["X"] == {
        "shape": [2000],
        "sha256": hashlib.sha256(np.linspace(0, 1, 2000).tobytes()).hexdigest(),
    }


def test_case_d_a_loss_under_another_scheme_is_told_as_the_loss() -> None:
    loss = Loss((u * w * x - x) ** 2, [u, w], {x: Normal(0, 1)})
    data = simulate(loss, SGD(0.1), start={u: 1.2, w: 0.6}, time=1.0, paths=10, scheme="milstein-levy", save_at=2)
    assert "expression" in told(data)["problem"] and told(data)["sgd"]["learning_rate"] == 0.1


def test_case_d_a_sweep_holds_all_its_values() -> None:
    mu = sp.Symbol("mu", real=True)
    problem = SDE([X], [-mu * X], [[1]], parameters=[mu])
    data = simulate(problem, start={X: 0.0}, time=1.0, dt=0.1, paths=10, parameters={mu: [0.5, 1.0]}, save_at=2)
    assert told(data)["settings"]["parameters"] == {"mu": [0.5, 1.0]}
    assert data.attrs["result_hash"] == fingerprint(data)
    assert data.X.attrs["long_name"] == "state X"


def test_case_d_the_record_is_no_part_of_the_results_hash(tmp_path: Path) -> None:
    assert "run" in TIMINGS
    data = simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=10, save_at=2)
    assert fingerprint(data.assign_attrs(run="other")) == fingerprint(data) == data.attrs["result_hash"]
    long = data.assign_attrs(run=json.dumps({"text": "ä" * 300_000}))
    assert json.loads(opened(write_netcdf(tmp_path / "long.nc", long)).attrs["run"]) == {"text": "ä" * 300_000}


@pytest.mark.parametrize("keep", ["statistics", "paths"])
def test_case_d_variables_have_names_and_units(keep: str) -> None:
    assert run("train", "good.toml", "-o", "run.nc", "--keep", keep).exit_code == 0
    data = opened("run.nc")
    assert data.time.attrs["long_name"] == "learning-rate time t = eta*k" and data.time.attrs["units"] == "1"
    assert data.u.attrs["long_name"] == "parameter u" and data.C.attrs["long_name"] == "C = u**2 - w**2"
    assert data.exploded.attrs["long_name"] and all("units" in data[v].attrs for v in ("u", "w", "C", "v", "exploded"))
    assert simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=10).time.attrs["long_name"] == "time"


# --- noetherflow show
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "name", "options"),
    [
        ("simulate", "good.toml", ("--paths", 20, "--seed", 3, "--dt", 0.005)),
        ("train", "a 'quoted' $(name).toml", ("--steps", 30, "--weight-decay", 0.1, "--keep", "paths")),
        ("train", "file.toml", ("--full-batch", "--paths", 2)),
        ("simulate", "rescaling", ("--paths", 30, "--time", 1, "--scheme", "euler-maruyama", "--dtype", "float32")),
    ],
)
def test_case_d_the_command_shown_makes_the_result_again(command: str, name: str, options: tuple[object, ...]) -> None:
    if name.startswith("a "):
        Path(name).write_text(GOOD)
    assert run(command, name, "-o", "first.nc", *options).exit_code == 0
    words = shlex.split(again("first.nc"))
    assert words[:2] == ["noetherflow", command] and words[3:5] == ["-o", "run.nc"]
    assert run(*words[1:]).exit_code == 0
    assert opened("run.nc").attrs["result_hash"] == opened("first.nc").attrs["result_hash"]
    shown = run("show", "first.nc").stdout
    assert again("first.nc") in shown and "learning rate" in shown and "to run it again:" in shown


def test_case_d_the_shell_takes_the_command_as_it_is_shown() -> None:
    name = "it's; touch pwned; $(touch pwned).toml"
    Path(name).write_text(GOOD)
    assert run("train", name, "-o", "first.nc").exit_code == 0
    line = again("first.nc").replace("noetherflow", shlex.quote(str(COMMAND)), 1)
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not Path("pwned").exists()
    assert opened("run.nc").attrs["result_hash"] == opened("first.nc").attrs["result_hash"]


def test_case_d_a_spec_that_has_changed_can_be_had_back() -> None:
    text = GOOD.replace("[parameters]", "# ünicode, and a \\ backslash\n[parameters]")
    Path("good.toml").write_text(text)
    assert run("train", "good.toml", "-o", "first.nc").exit_code == 0
    assert "has changed" not in run("show", "first.nc").stdout
    Path("good.toml").write_text("other")
    assert "the spec has changed since: noetherflow show first.nc --spec > good.toml" in run("show", "first.nc").stdout
    Path("good.toml").unlink()
    assert "the spec is gone" in run("show", "first.nc").stdout
    assert run("show", "first.nc", "--spec").stdout == text
    assert run("train", "file.toml", "-o", "f.nc").exit_code == 0
    Path("train.csv").write_text("changed")
    assert "the data file is not what it was" in run("show", "f.nc").stdout


def test_case_d_a_python_run_shows_its_call() -> None:
    write_netcdf("p.nc", simulate(OU, start={X: 0.5}, time=1.0, dt=0.1, paths=10, seed=4, save_at=2))
    shown = run("show", "p.nc").stdout
    assert 'drift            ["-X"]' in shown and "in Python: simulate(sde, " in shown
    assert "start={'X': 0.5}" in shown and "seed=4" in shown and "time=1.0" in shown
    assert run("show", "p.nc", "--spec").exit_code == 2


def test_case_d_checkpoints_folders_and_reports_are_shown_too() -> None:
    assert run("simulate", "good.toml", "-o", "run.nc", "--checkpoint", "c").exit_code == 0
    assert again("c") == again("run.nc")
    assert "c: checkpoint of simulate, good" in run("show", "c").stdout
    options = ("--paths", 20, "--seed", 2, "--json", "v.json", "--report", "v.html", "--checkpoint", "folder")
    assert run("verify", "good.toml", *options).exit_code in (0, 3)
    assert again("folder") == again("v.json") and shlex.split(again("folder"))[1] == "verify"
    assert "--seed 2" in again("folder")
    simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=10, checkpoint="python")
    assert "in Python: simulate(sde" in run("show", "python").stdout


def test_case_d_a_report_says_what_was_run() -> None:
    written = ("--json", "v.json", "--report", "v.html")
    assert run("verify", "file.toml", "--paths", 20, "--time", 0.2, *written, "--checkpoint", "c").exit_code in (
        0,
        1,
        3,
    )
    found, page = json.loads(Path("v.json").read_text()), Path("v.html").read_text()
    settings = found["settings"]
    assert settings["replacement"] is True and settings["schedule"] == "none" and settings["weight decay"] == 0.0
    assert list(settings["starts"]) == ["start 1", "start 2", "start 3"] and settings["starts added"] == 2
    assert settings["starts"]["start 1"] == "W = [0.3, 0.2], v = 0.5"
    assert (
        settings["spec"] == FROM_FILE
        and hashlib.sha256(Path("train.csv").read_bytes()).hexdigest() in settings["data file"]
    )
    assert found["run"]["call"]["text"] == FROM_FILE and len(found["run"]["settings"]["start"]) == 3
    assert run("resume", "c", "--report", "v.md").exit_code in (0, 1, 3)
    document = Path("v.md").read_text()
    for text in WHAT_WAS_RUN:
        assert (text in found["settings"] and text in page and f"| {text} |" in document) or text == "spec"
    assert f"spec:\n\n```\n{FROM_FILE.rstrip()}\n```" in document and "standardize = true" in page
    assert str(settings["kernels"]) in document and settings["processor"] in document.replace("\\", "")


WHAT_WAS_RUN = (
    *("learning rate", "batch size", "replacement", "schedule", "weight decay", "momentum", "starts", "starts added"),
    *("seed", "loss", "parameters", "data", "data file", "spec", "versions", "processor", "kernels"),
)


FORGED = {
    "problem": {"loss": "\x1b]0;owned\x07 [red]x[/red]"},
    "command": "train",
    "versions": {},
    "sgd": {},
    "settings": {},
}


@pytest.mark.parametrize(
    "record",
    [
        "not JSON",
        "[" * 100_000,
        "[]",
        "{}",
        json.dumps({"problem": 3, "command": "train"}),
        json.dumps({**FORGED, "call": 7, "data_file": [1]}),
        json.dumps({**FORGED, "call": {"command": "train; touch pwned", "spec": "x"}}),
        json.dumps(
            {
                **FORGED,
                "call": {
                    "command": "train",
                    "spec": "$(touch pwned)",
                    "text": 5,
                    "sgd": 3,
                    "run": {"paths": "; touch pwned"},
                },
            }
        ),
    ],
)
def test_case_d_a_forged_record_is_only_read(record: str) -> None:
    write_netcdf("f.nc", xr.Dataset({"a": ("x", [1.0])}, attrs={"run": record}))
    before = sorted(p.name for p in Path().iterdir())
    done = run("show", "f.nc")
    assert done.exit_code in (0, 2) and "\x1b" not in done.stdout + done.stderr
    if done.exit_code == 2:
        assert done.stderr.startswith("show: must be a result") and "f.nc" in done.stderr
    else:
        assert "[red]x[/red]" in done.stdout
        assert shlex.split(again("f.nc"))[0] != "touch"
    assert sorted(p.name for p in Path().iterdir()) == before


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x89HDF\r\n\x1a\nbroken", b"noetherflow checkpoint 1\nbroken", b"{", b'{"a": 1}']
)
def test_case_d_what_is_no_result_is_refused(content: bytes) -> None:
    Path("f").write_bytes(content)
    for name in ("f", "missing", "."):
        done = run("show", name)
        assert done.exit_code == 2 and name in done.stderr and "Traceback" not in done.stderr


# --- exit codes, --version, --quiet, compiling
# ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "simulate", "resume"])
def test_case_d_exit_code_1_when_every_path_is_lost(command: str) -> None:
    Path("lost.toml").write_text(GOOD.replace("u = 1.2", "u = 1e40"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = ("lost.toml", "-o", "run.nc", "--checkpoint", "c")
        done = run("train" if command == "resume" else command, *options)
        done = run("resume", "c", "-o", "run.nc") if command == "resume" else done
    assert done.exit_code == 1 and "every path was lost" in done.stderr
    assert int(opened("run.nc").exploded[-1]) == 8


def test_case_d_some_lost_paths_are_no_failure() -> None:
    law = '{ law = "bernoulli", p = 0.5 }'
    Path("some.toml").write_text(
        GOOD.replace("start = { u = 1.2, w = 0.6 }", "").replace("paths = 8", "paths = 64")
        + f"[run.start]\nw = 0.6\nu = {law}\n"
    )
    assert run("train", "some.toml", "-o", "run.nc", "--learning-rate", 0.01).exit_code == 0


def test_case_d_version_and_quiet() -> None:
    from importlib.metadata import version

    assert run("--version").stdout == f"noetherflow {version('noetherflow')}\n"
    done = run("--quiet", "simulate", "good.toml", "-o", "run.nc")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "") and Path("run.nc").exists()
    done = run("-q", "verify", "good.toml", "--paths", 20, "--json", "-")
    assert json.loads(done.stdout)["name"] == "good" and done.stderr == ""
    done = run("simulate", "good.toml", "-o", "run.nc")
    assert done.stdout != ""


def test_case_d_a_compilation_is_told_once_and_never_from_the_cache(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "TEXT_SECONDS", 0.01)
    said = list[str]()

    def make() -> None:
        module = prepare(SDE([X], [-X * sp.Rational(7, 3)], [[1]]), "euler-maruyama", {}, "float64").module
        _machine_code.cache_clear()
        with compiling.reporting(True, said.append):
            load(module.text, module.manifest)

    make()
    assert len(said) == 1 and said[0].startswith("compiling (once, about ") and said[0].endswith(" s)")
    make()
    assert len(said) == 1
    with compiling.reporting(False, said.append):
        load(*(lambda m: (m.text + "\n", m.manifest))(prepare(OU, "euler-maruyama", {}, "float64").module))
    assert len(said) == 1


def test_results_at_the_same_times_keep_their_own_labels() -> None:
    """The index of times is made once; what is written at a result's times is its own."""
    first = simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=10, save_at=3)
    first.time.attrs["mine"] = 1
    loss = simulate(LIBRARY["rescaling"].build(), SGD(0.05), start={"u": 1.2, "w": 0.6}, time=1.0, dt=0.1, paths=10,
                    save_at=3)  # fmt: skip
    again = simulate(OU, start={X: 0.0}, time=1.0, dt=0.1, paths=10, save_at=3)
    assert loss.time.attrs["long_name"].startswith("learning-rate time") and again.time.attrs["long_name"] == "time"
    assert "mine" not in again.time.attrs and first.time.equals(again.time)
