"""C3, C6: runs killed at random moments come to the bits of undisturbed ones, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills import EAGER, Survivor, survive

STREAM = (
    EAGER
    + """
import sys
from sde import SGD, simulate
from symbolic.library import LIBRARY
loss = LIBRARY["rescaling"].build()
start, kept = {"u": 1.2, "w": 0.6}, {"keep": "paths", "save_at": 11, "out": sys.argv[2]}
kept["checkpoint"] = sys.argv[3] if len(sys.argv) > 3 else None
simulate(loss, SGD(0.05), start=start, time=10.0, dt=0.01, paths=int(sys.argv[1]), seed=3, **kept)
"""
)


def saved(command: str, *options: object) -> Survivor:
    """A command with a checkpoint, resumed from it after a kill."""
    return Survivor(
        (command, "good.toml", *options, "-o", "run.nc", "--checkpoint", "c"),
        ("resume", "c", "-o", "run.nc"),
        "run.nc",
        frozenset({"c"}),
    )


def streamed(paths: int, *names: str) -> Survivor:
    """A stream, with a checkpoint where a second name is given; begun again as it was."""
    return Survivor([paths, *names], [paths, *names], names[0], frozenset(names[1:]), STREAM)


SURVIVORS = {
    "simulate": lambda n: saved("simulate", "--paths", 2 * n, "--time", 4),
    "simulate paths": lambda n: saved("simulate", "--paths", n, "--time", 4, "--keep", "paths"),
    "train": lambda n: saved("train", "--paths", 2 * n, "--time", 4),
    "stream": lambda n: streamed(n, "s.nc"),
    "stream with a checkpoint": lambda n: streamed(n, "s.nc", "c"),
}


@pytest.mark.parametrize(
    ("kind", "kills", "paths"),
    [
        ("stream with a checkpoint", 1, 4000),  # without streams, in few kills: tests/test_cli_resume.py
        *(pytest.param(kind, 3, 20_000, marks=pytest.mark.slow) for kind in SURVIVORS),
        *(pytest.param(kind, 20, 20_000, marks=pytest.mark.slow) for kind in SURVIVORS),
    ],
)
@pytest.mark.usefixtures("folder")
def test_case_c6_kills_at_random_moments(kind: str, kills: int, paths: int, tmp_path: Path) -> None:
    survive(SURVIVORS[kind](paths), tmp_path, kills, seed=kills)
