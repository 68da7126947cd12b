"""The command compare: what it says, writes, exits with and refuses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.commands import opened, record, run

pytestmark = pytest.mark.usefixtures("folder")
QUICK = ("--time", 0.5, "--learning-rate", 0.02, "--batch-size", 16)


def test_compare_says_and_writes_what_it_found() -> None:
    found = record("compare", "good.toml", *QUICK, "--paths", 300, "-o", "far.nc", "--figure", "far.svg")
    kept = opened("far.nc")
    assert found["variables"]["difference"]["dims"] == ["observable", "model", "learning_rate"]
    assert found["variables"]["difference"]["values"] == kept.difference.values.tolist()
    assert kept.observable.values.tolist() == ["C", "v[0]", "v[1]"]
    assert kept.attrs["sentence"] == found["sentence"] and kept.attrs["result_hash"] == found["result_hash"]
    assert "slope 2" in Path("far.svg").read_text(encoding="utf-8")
    assert found["run"]["settings"]["paths"] == 300
    again = run("show", "far.nc").stdout.splitlines()[-1].split()
    assert again[:2] == ["noetherflow", "compare"] and "--paths" in again
    assert run(*shlex.split(" ".join(again[1:]))).exit_code in (0, 3)
    assert opened("run.nc").attrs["result_hash"] == found["result_hash"]


def test_exit_code_says_whether_every_slope_is_decided() -> None:
    """[run] paths is for simulate and train: rounds find how many there are to be."""
    wide = run("compare", "good.toml", *QUICK, "--width", 1e9, "--budget", 3e6, "--json", "wide.json")
    narrow = run("compare", "good.toml", *QUICK, "--width", 1e-9, "--budget", 3e6)
    assert narrow.exit_code == 3 and "not decided" in narrow.stdout
    read = json.loads(Path("wide.json").read_text(encoding="utf-8"))
    assert read["run"]["settings"]["paths"] is None
    assert (wide.exit_code == 0) == all(all(row) for row in read["variables"]["decided"]["values"])


@pytest.mark.parametrize(
    "options, said",
    [
        (("--momentum", 0.5), "without momentum"),
        (("--svag", 1), "compare.svag"),
        (("--budget", 0), "compare.budget"),
        (("--width", -1), "compare.width"),
        (("--time", 0.001), "at least 4 steps"),
        (("--figure", "missing/far.svg"), "missing"),
    ],
)
def test_bad_input_ends_with_code_two(options: tuple[object, ...], said: str) -> None:
    result = run("compare", "good.toml", "--paths", 4, *options)
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.stderr
