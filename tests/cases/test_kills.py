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
start, kept = {"u": 1.2, "w": 0.6}, {"keep": "paths", "save_at": 11, "out": sys.argv[1]}
kept["checkpoint"] = sys.argv[2] if len(sys.argv) > 2 else None
simulate(loss, SGD(0.05), start=start, time=10.0, dt=0.01, paths=20_000, seed=3, **kept)
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


SURVIVORS = {
    "simulate": saved("simulate", "--paths", 40_000, "--time", 4),
    "simulate paths": saved("simulate", "--paths", 20_000, "--time", 4, "--keep", "paths"),
    "train": saved("train", "--paths", 40_000, "--time", 4),
    "stream": Survivor(["s.nc"], ["s.nc"], "s.nc", program=STREAM),
    "stream with a checkpoint": Survivor(["s.nc", "c"], ["s.nc", "c"], "s.nc", frozenset({"c"}), STREAM),
}


@pytest.mark.parametrize(
    ("kind", "kills"),
    [(kind, 3) for kind in SURVIVORS] + [pytest.param(kind, 20, marks=pytest.mark.slow) for kind in SURVIVORS],
)
@pytest.mark.usefixtures("folder")
def test_case_c6_kills_at_random_moments(kind: str, kills: int, tmp_path: Path) -> None:
    survive(SURVIVORS[kind], tmp_path, kills, seed=kills)
