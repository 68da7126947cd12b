"""Memory depends neither on the number of paths nor on the number of steps."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, simulate

PROGRAM = """
import json, resource, sys
import sympy as sp
from sde import SDE, simulate
X = sp.Symbol("X", real=True)
paths, steps = int(sys.argv[1]), int(sys.argv[2])
saved = int(sys.argv[3])
run = simulate(SDE([X], [-X], [[1]]), start={X: 0.5}, time=1.0, dt=1.0 / steps, paths=paths, save_at=saved, bound=4.0)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peak": peak, "paths": run.attrs["paths"]}))
"""


def peak(paths: int, steps: int, saves: int = 3) -> dict[str, Any]:
    """What a process of its own has taken at the most, in MiB."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(paths), str(steps), str(saves)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def few() -> dict[str, Any]:
    peak(10_000, 4)  # compiled
    return peak(1000, 4)


def test_a_million_paths_take_no_more_memory_than_a_thousand(few: dict[str, Any]) -> None:
    many = peak(1_000_000, 4)
    assert many["paths"] == 1_000_000
    assert many["peak"] - few["peak"] < 30


@pytest.mark.slow
def test_ten_million_paths_take_no_more_memory_than_a_thousand(few: dict[str, Any]) -> None:
    many = peak(10_000_000, 4)
    assert many["paths"] == 10_000_000
    assert many["peak"] - few["peak"] < 50
    wide, narrow = peak(10_000_000, 100, 101), peak(1000, 100, 101)
    assert wide["peak"] - narrow["peak"] < 50


def test_steps_take_no_memory(few: dict[str, Any]) -> None:
    """24 bytes a step would be 24 MiB."""
    long = peak(2, 1_000_000)
    assert long["peak"] - few["peak"] < 12


def test_quantiles_of_many_paths_are_right() -> None:
    """The median of an Ornstein-Uhlenbeck process is its mean: 5 standard errors."""
    x = sp.Symbol("X", real=True)
    run = simulate(SDE([x], [-x], [[1]]), start={x: 0.5}, time=1.0, dt=0.02, paths=200_000, save_at=3, bound=4.0)
    median = float(run.X.sel(statistic="q50")[-1])
    assert abs(median - 0.5 * (1 - 1 / 50) ** 50) < 5 * 1.2533 * np.sqrt(0.4367 / 200_000)
