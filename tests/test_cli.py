"""The command line as a stranger meets it: the records it writes, its exit codes, files, options and what Ctrl-C
leaves."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sde.api import verifying
from symbolic.library import LIBRARY
from tests.commands import GOOD, STATISTICS, opened, record, run

pytestmark = pytest.mark.usefixtures("folder")

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
        "certificate_reason",
        "charges",
        "families",
        "structure",
        "further_laws",
        "undecided",
    }
    assert set(found["algebra"]) == {"dimension", "symmetric", "antisymmetric"}
    assert found["algebra"]["dimension"] >= found["algebra"]["symmetric"] + found["algebra"]["antisymmetric"]
    size = sum(int(np.prod(shape, dtype=int)) for shape in found["parameters"].values())
    for charge in found["charges"]:
        assert set(charge) == {"name", "expression", "generator", "kind", "class", "reason", "drift"}
        assert set(charge["generator"]) == {"size", "A", "b"} and charge["generator"]["size"] == size
        entries = {(i, j): Fraction(c) for i, j, c in charge["generator"]["A"]}
        assert all(entries[j, i] == c and 0 <= i < size for (i, j), c in entries.items())
        assert all(0 <= i < size and Fraction(c) for i, c in charge["generator"]["b"])
        assert charge["class"] in ("convergent", "divergent", "frozen")
    assert found["name"] == ("good" if spec == "good.toml" else spec.replace("_", "-"))


def test_derive_of_designs_own_example() -> None:
    found = record("derive", "good.toml")
    assert found["parameters"] == {"u": [], "w": []}
    assert found["algebra"] == {"dimension": 1, "symmetric": 1, "antisymmetric": 0}
    assert (found["independent_charges"], found["conservation_laws"], found["complete"]) == (1, 1, True)
    assert found["certificate"] == "proved"
    assert found["charges"][0]["expression"] == "u**2 - w**2"
    assert found["charges"][0]["generator"] == {"size": 2, "A": [[0, 0, 1], [1, 1, -1]], "b": []}
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
        assert verdict["verdict"] in ("supported", "refuted", "inconclusive", "not tested")
        assert (verdict["verdict"] == "not tested") == bool(verdict["reason"]) <= bool(verdict["needs"])
        assert isinstance(verdict["claim"], str) and len(verdict["interval"]) == 2
        assert 0 < verdict["alpha"] < 1 and isinstance(verdict["paths"], int)
    assert found["counts"] == {w: sum(v["verdict"] == w for v in found["verdicts"]) for w in found["counts"]}
    words = {v["verdict"] for v in found["verdicts"]} - {"not tested"}
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
    monkeypatch.setattr(verifying, "verify", partial(verifying.verify, numeric=flipped))
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
    result = run("verify", "good.toml", "--paths", 2, "--time", 8, "--json", "v.json")
    assert result.exit_code == 3
    found = json.loads(Path("v.json").read_text())
    check_verdicts(found)
    assert {v["verdict"] for v in found["verdicts"]} == {"supported", "inconclusive", "not tested"}
    assert {v["needs"] for v in found["verdicts"] if v["verdict"] == "not tested"}


def test_what_was_not_tested_is_counted_everywhere() -> None:
    """In the headline, the terminal, the JSON, the page and beside the exit code, with what it would take."""
    result = run("verify", "good.toml", "--paths", 200, "--time", 4, "--json", "v.json", "--report", "v.html")
    found = json.loads(Path("v.json").read_text())
    left = [v for v in found["verdicts"] if v["verdict"] == "not tested"]
    assert left and found["counts"]["not tested"] == len(left)
    assert {v["group"] for v in left} >= {"equilibrium"} and all(v["reason"] and v["needs"] for v in left)
    (needs,) = {v["needs"] for v in left if v["group"] == "equilibrium" and "start 1" in v["subject"]}
    assert re.fullmatch(r"more time: about t = [\d.e+]+", needs) and float(needs.rpartition(" ")[2]) > 4
    assert found["theory"]["certificate"] == "proved" and found["theory"]["classes"] == {"convergent": 1}
    assert "charges: u**2 - w**2, convergent: driven by noise to a finite equilibrium" in result.stdout
    assert result.stdout.count("by the forecast the run ends") == 1
    headline = f"{len(left)} not tested"
    assert headline in result.stdout and headline in Path("v.html").read_text()
    value = needs.rpartition(" ")[2]
    assert value in result.stdout and value in Path("v.html").read_text()
    said = " ".join(result.stderr.split())
    assert f"{len(left)} of {len(found['verdicts'])} claims NOT TESTED (exit code {result.exit_code}: " in said
    assert value in said and "more time: about t = " in said


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
    assert result.exit_code == 1  # every path is lost
    assert re.search(r"^warning: \d of 8 paths exploded \(100.000%\) and are left out", result.stderr)
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


NAMED = ("rescaling", "matrix-factorization", "two-layer-linear", "two-layer-relu", "softmax-regression", "swiglu")
"""By the command in every run of the tests; all train in tests/symbolic/test_library.py."""


@pytest.mark.parametrize("name", [n if n in NAMED else pytest.param(n, marks=pytest.mark.slow) for n in LIBRARY])
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
        "strong": "1/2; additive 1",
        "weak": "1",
        "reference": "",
    }
    assert found["euler-maruyama"]["reference"]
    assert "euler-maruyama" in run("schemes").stdout


def test_a_report_is_markdown_by_its_suffix() -> None:
    result = run("verify", "two-layer-tanh", "--time", 0.1, "--paths", 2, "--report", "v.md")
    assert result.exit_code == 3 and "report: v.md" in result.stdout
    text = Path("v.md").read_text(encoding="utf-8")
    assert text.startswith("# two-layer-tanh: inconclusive\n\n> For two-layer-tanh the theory has no charge")


def test_a_report_of_no_format_is_refused_before_any_run() -> None:
    result = run("verify", "two-layer-tanh", "--report", "v.txt")
    assert result.exit_code == 2 and "report: is written as HTML or Markdown; got 'v.txt'" in result.output
    assert not Path("v.txt").exists()


def test_a_schedule_is_an_option() -> None:
    options = ("--time", 1, "--paths", 4, "--schedule", "warmup(0.5)")
    assert run("train", "good.toml", *options, "-o", "run.nc").exit_code == 0
    told = run("train", "good.toml", "--time", 1, "--schedule", "wormup(0.5)", "-o", "run.nc")
    assert told.exit_code == 2 and "Did you mean 'warmup'" in told.stdout + told.stderr
