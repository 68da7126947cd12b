"""A verification shows its phases, and gives what it has measured when it is broken off."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sde.engine.interruption import InterruptedWarning
from sde.verification.runs import Evidence, Kind, Run
from tests.cases.long_runs import (
    verification,
)
from tests.commands import COMMAND, opened, run

# --- verify: phases, and what is complete
# ------------------------------------------------------------------------------------


def break_off(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """Ctrl-C as the run begins."""
    inner = Evidence.make

    def pressing(evidence: Evidence, begun: Run) -> None:
        if begun == run:
            raise KeyboardInterrupt
        inner(evidence, begun)

    monkeypatch.setattr(Evidence, "make", pressing)


@pytest.fixture(scope="module")
def whole() -> Any:
    return verification()


@pytest.mark.parametrize(
    ("run", "missing"),
    [
        (Run(Kind.EVERY_SGD), {"pathwise identity", "mean drift", "approach", "equilibrium", "gradient descent"}),
        pytest.param(
            Run(Kind.DRIFT_SGD), {"mean drift", "approach", "equilibrium", "gradient descent"}, marks=pytest.mark.slow
        ),
        pytest.param(Run(Kind.SDE), {"approach", "equilibrium", "gradient descent"}, marks=pytest.mark.slow),
        (Run(Kind.SDE, 2), {"approach", "equilibrium", "gradient descent"}),
        pytest.param(Run(Kind.GD, 2), {"equilibrium", "gradient descent"}, marks=pytest.mark.slow),
        (Run(Kind.EIGHTH_GD), {"gradient descent"}),
    ],
)
def test_case_d_an_interrupted_verification_reports_what_was_measured(
    run: Run, missing: set[str], whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(monkeypatch, run)
    with pytest.warns(InterruptedWarning, match="the report holds the claims that were measured"):
        part = verification()
    assert part.interrupted and not part.supported and part.outcome == "inconclusive"
    reasons = {u.reason for u in part.untested if u.reason.startswith("interrupted")}
    assert reasons == {"interrupted before it was measured"}
    left = {u.group for u in part.untested if u.reason.startswith("interrupted")}
    assert left == missing
    measured = {v.claim: v.statistic for v in whole.tested}
    assert 0 < len(part.tested) < len(whole.tested)
    assert all(measured[v.claim] == v.statistic for v in part.tested)
    assert {v.claim for v in whole.verdicts} <= {v.claim for v in part.verdicts}
    assert all(u.needs for u in part.untested) and part.counts["not tested"] == len(part.untested)
    assert "interrupted" in str(part) and "not tested" in str(part)


def test_case_d_a_verification_with_nothing_measured_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    break_off(monkeypatch, Run(Kind.SGD, 1))
    with pytest.raises(KeyboardInterrupt):
        verification()


@pytest.mark.usefixtures("folder")
def test_case_d_the_command_writes_json_first(monkeypatch: pytest.MonkeyPatch) -> None:
    from sde.reports.report import Report

    break_off(monkeypatch, Run(Kind.SDE, 1))
    done = run("verify", "good.toml", "--paths", 30, "--json", "v.json", "--report", "v.html")
    found = json.loads(Path("v.json").read_text())
    assert done.exit_code == 130 and found["interrupted"] and not found["supported"]
    assert found["counts"]["not tested"] == sum(v["verdict"] == "not tested" for v in found["verdicts"]) > 0
    assert "interrupted: " in done.stderr and "claims were measured" in done.stderr
    page = Path("v.html").read_text()
    assert "This verification was interrupted." in page and "Not tested" in page
    for name in ("v.json", "v.html"):
        Path(name).unlink()

    def second(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Report, "to_html", second)
    done = run("verify", "good.toml", "--paths", 30, "--json", "v.json", "--report", "v.html")
    assert done.exit_code == 130 and json.loads(Path("v.json").read_text())["verdicts"] and not Path("v.html").exists()
    assert "the rest is not written" in done.stderr


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_case_d_a_killed_verification_is_resumed_to_the_same_report(kills: int) -> None:
    options = ("good.toml", "--paths", str(70 * kills), "--time", str(kills))
    first = run("verify", *options, "--json", "whole.json")
    assert first.exit_code in (0, 3), first.stderr
    for _ in range(kills):
        process = subprocess.Popen(
            [COMMAND, "verify", *options, "--json", "v.json", "--checkpoint", "c"], stderr=subprocess.PIPE, text=True
        )
        seen = len(os.listdir("c")) if Path("c").exists() else 0
        limit = time.monotonic() + 60
        while (
            process.poll() is None
            and time.monotonic() < limit
            and (not Path("c/manifest.json").exists() or len(os.listdir("c")) <= seen)
        ):
            time.sleep(0.002)
        process.kill()
        process.communicate()
    Path("good.toml").write_text("changed since")
    done = run("resume", "c", "--json", "v.json", "--report", "v.html")
    assert done.exit_code in (0, 3), done.stderr
    whole, again = (json.loads(Path(name).read_text()) for name in ("whole.json", "v.json"))
    assert whole == again and Path("v.html").exists()
    assert run("resume", "c", "-o", "x.nc").exit_code == 2


def test_case_d_progress_says_phase_share_and_time_left(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sde.engine.progress.EVERY", 0.0)
    verification(progress=True)
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == "" and any("SGD from start 2 (2 of " in line for line in lines)
    for phase in (
        "derivation",
        "every single step of SGD",
        "mean drift of the SDE",
        "SDE from start 3",
        "gradient descent with smaller steps",
    ):
        assert any(phase in line for line in lines), phase
    shares = [int(line.partition("%")[0].rpartition(" ")[2]) for line in lines if "derivation" not in line]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] >= 98
    assert any("left" in line for line in lines)
    verification(progress=False)
    assert capfd.readouterr() == ("", "")


# --- twenty kills
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", ["simulate", "train", "verify"])
def test_case_d_twenty_kills_at_random_moments(command: str) -> None:
    options = ("good.toml", "--paths", "20000" if command != "verify" else "300", "--time", "4")
    out = ("--json", "whole.json") if command == "verify" else ("-o", "whole.nc")
    began = time.monotonic()
    subprocess.run([COMMAND, command, *options, *out], check=False, capture_output=True)
    took, rng = time.monotonic() - began, np.random.default_rng(1)
    end = ("--json", "run.json") if command == "verify" else ("-o", "run.nc")
    for seconds in rng.uniform(0.2, 1.0, 20) * took:
        process = subprocess.Popen([COMMAND, command, *options, *end, "--checkpoint", "c"], stderr=subprocess.PIPE)
        time.sleep(seconds)
        process.kill()
        process.communicate()
    assert run(command, *options, *end, "--checkpoint", "c").exit_code in (0, 3)
    if command == "verify":
        assert json.loads(Path("whole.json").read_text()) == json.loads(Path("run.json").read_text())
    else:
        assert opened("whole.nc").attrs["result_hash"] == opened("run.nc").attrs["result_hash"]
