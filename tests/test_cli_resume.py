"""Runs of the command line killed in mid-run and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

from sde.storage.files import fingerprint
from tests.commands import opened, run

pytestmark = pytest.mark.usefixtures("folder")

EAGER = """
from sde.cli import commands
from sde.engine.checkpoint import Checkpoint
Checkpoint.due = lambda self: True
commands.main()
"""


def killed(*arguments: object) -> None:
    """The command, writing checkpoints as often as it can, killed in mid-run by SIGKILL."""
    process = subprocess.Popen([sys.executable, "-c", EAGER, *map(str, arguments)], stderr=subprocess.PIPE)
    limit = time.monotonic() + 60
    before = Path("c").stat().st_mtime_ns if Path("c").exists() else 0
    while (not Path("c").exists() or Path("c").stat().st_mtime_ns == before) and time.monotonic() < limit:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize(("command", "keep"), [("simulate", "statistics"), ("train", "paths")])
def test_a_killed_run_is_resumed_to_the_same_bits(command: str, keep: str) -> None:
    options = ("good.toml", "--paths", 40_000, "--time", 4, "--keep", keep, "--seed", 5)
    assert run(command, *options, "-o", "whole.nc").exit_code == 0
    given = set(os.listdir())
    killed(command, *options, "-o", "run.nc", "--checkpoint", "c")
    assert not Path("run.nc").exists()
    Path("good.toml").write_text("changed since")
    done = run("resume", "c", "-o", "run.nc")
    assert done.exit_code == 0, done.stderr
    assert set(os.listdir()) == given | {"c", "run.nc"}
    whole, resumed = opened("whole.nc"), opened("run.nc")
    assert whole.attrs["result_hash"] == resumed.attrs["result_hash"] == fingerprint(resumed) == fingerprint(whole)
    xr.testing.assert_equal(whole, resumed)


def test_resume_refuses_what_is_not_whole() -> None:
    assert run("simulate", "good.toml", "--checkpoint", "c", "-o", "whole.nc").exit_code == 0
    Path("c").write_bytes(Path("c").read_bytes()[:-1000])
    for arguments in (("resume", "c"), ("resume", "nothing"), ("simulate", "good.toml", "--checkpoint", "c")):
        refused = run(*arguments, "-o", "run.nc")
        assert refused.exit_code == 2 and refused.stderr.startswith("checkpoint: the file must be ")
        assert str(Path(arguments[-1])) in refused.stderr and not Path("run.nc").exists()


def test_a_data_file_changed_since_is_refused() -> None:
    assert run("train", "file.toml", "--steps", 400, "-o", "whole.nc", "--checkpoint", "c").exit_code == 0
    rows = Path("train.csv").read_text()
    Path("train.csv").write_text(rows.replace("3,5,2", "3,5,1"))
    refused = run("resume", "c", "-o", "run.nc")
    assert refused.exit_code == 2 and "checkpoint: must be of the same run" in refused.stderr
    Path("train.csv").write_text(rows)
    assert run("resume", "c", "-o", "run.nc").exit_code == 0


@pytest.mark.parametrize("option", ["--check", "--no-check"])
def test_a_run_that_says_whether_it_is_checked_is_resumed(option: str) -> None:
    options = ("simulate", "good.toml", "--paths", 600, option, "--checkpoint", "c")
    assert run(*options, "-o", "whole.nc").exit_code == 0
    done = run("resume", "c", "-o", "run.nc")
    assert done.exit_code == 0, done.stderr
    assert opened("run.nc").attrs["result_hash"] == opened("whole.nc").attrs["result_hash"]
