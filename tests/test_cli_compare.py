"""The command compare: what it says, writes, exits with and refuses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from sde.api import comparison
from tests.cases.long_runs import press
from tests.commands import opened, record, run

pytestmark = pytest.mark.usefixtures("folder")
QUICK = ("--time", 0.5, "--learning-rate", 0.02, "--batch-size", 16)


def test_compare_says_and_writes_what_it_found() -> None:
    found = record("compare", "good.toml", *QUICK, "--paths", 300, "-o", "far.nc", "--figure", "far.svg")
    kept = opened("far.nc")
    assert found["variables"]["difference"]["dims"] == ["observable", "model", "learning_rate"]
    assert found["variables"]["difference"]["values"] == kept.difference.values.tolist()
    assert kept.observable.values.tolist() == ["C", "v[0]", "v[1]", "loss"]
    assert kept.attrs["sentence"] == found["sentence"] and kept.attrs["result_hash"] == found["result_hash"]
    assert "slope 2" in Path("far.svg").read_text(encoding="utf-8")
    assert found["run"]["settings"]["paths"] == 300
    again = run("show", "far.nc").stdout.splitlines()[-1].split()
    assert again[:2] == ["noetherflow", "compare"] and "--paths" in again
    assert run(*shlex.split(" ".join(again[1:]))).exit_code == 0
    assert opened("run.nc").attrs["result_hash"] == found["result_hash"]


def test_exit_code_is_about_the_users_rate_and_slopes_only_where_asked() -> None:
    """[run] paths is for simulate and train: rounds find how many there are to be."""
    plain = run("compare", "good.toml", *QUICK, "--budget", 5e6, "--json", "plain.json")
    narrow = run("compare", "good.toml", *QUICK, "--width", 1e-9, "--budget", 1e6)
    assert plain.exit_code == 0 and "not decided" in plain.stdout and "slopes are not within" not in plain.stdout
    assert narrow.exit_code == 3 and "12 of 12 slopes are not within --width" in narrow.stdout
    read = json.loads(Path("plain.json").read_text(encoding="utf-8"))
    assert read["run"]["settings"]["paths"] is None
    assert all(all(row) for row in read["variables"]["told"]["values"])
    few = run("compare", "good.toml", *QUICK, "--paths", 8)
    assert few.exit_code == 3 and "differences at your learning rate are not told" in few.stdout


def test_a_spec_that_rests_long_before_its_time_is_compared_where_orders_show() -> None:
    Path("long.toml").write_text(Path("good.toml").read_text().replace("time = 1.0", "time = 40.0"))
    options = ("--learning-rate", 0.05, "--batch-size", 16, "--paths", 64)
    found = record("compare", "long.toml", *options)
    assert 0.2 < found["run"]["settings"]["time"] < 4
    assert "not at the spec's 40" in found["horizon"] and "--time 40 compares there" in found["horizon"]
    asked = record("compare", "long.toml", *options, "--time", 2)
    assert asked["run"]["settings"]["time"] == 2 and "horizon" not in asked


def test_ctrl_c_keeps_the_rounds_that_were_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = comparison._Race._round

    def pressed_in_the_second(self: Any, shown: Any, goal: float) -> None:
        if self.spent:
            press()
        whole(self, shown, goal)

    endless = ("compare", "good.toml", *QUICK, "--width", 1e-9, "--budget", 1e6)
    with monkeypatch.context() as patch:
        patch.setattr(comparison._Race, "_round", pressed_in_the_second)
        result = run(*endless, "-o", "part.nc", "--figure", "part.svg")
    assert result.exit_code == 130
    assert "is off by" in result.stdout and "rounds of paths that were complete" in result.stderr
    assert opened("part.nc").attrs["interrupted"] == 1 and Path("part.svg").exists()
    monkeypatch.setattr(comparison._Race, "_round", lambda *arguments: press())
    early = run(*endless, "-o", "none.nc")
    assert early.exit_code == 130 and "nothing was written" in early.stderr and not Path("none.nc").exists()


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
