"""The trial of a run's step: while the caller waits for the last chunks, or afterwards, it says the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, simulate
from sde.engine.interruption import Stop
from sde.engine.step_check import Trial
from sde.engine.time_grid import Grid, RunClock, length, root
from tests.sde.plans import walk

X = sp.Symbol("X", real=True)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Stop]:
    """The stops that trials were taken with."""
    found: list[Stop] = []
    take = Trial.take

    def noticed(self: Trial, stop: Stop) -> None:
        found.append(stop)
        take(self, stop)

    monkeypatch.setattr(Trial, "take", noticed)
    return found


@pytest.mark.parametrize("dt", [0.01, 0.5])
def test_a_trial_says_the_same_whenever_it_is_taken(dt: float, taken: list[Stop]) -> None:
    problem = SDE([X], [-X], [[X]])
    settings: dict[str, Any] = {"start": {X: 1.0}, "time": 2.0, "dt": dt, "paths": 3000}
    with pytest.warns(UserWarning, match="Try dt") if dt > 0.1 else nullcontext():
        beside = simulate(problem, threads=2, **settings)
        assert len(taken) == 1
        with ThreadPoolExecutor(2) as pool:
            after = simulate(problem, executor=pool, **settings)
    assert len(taken) == 1
    assert beside.attrs["step_error"] == after.attrs["step_error"] >= (0.05 if dt > 0.1 else 0)
    assert beside.attrs["result_hash"] == after.attrs["result_hash"]


def test_a_trial_that_was_stopped_is_taken_afterwards() -> None:
    plan = walk(paths=300, dt=0.01)
    grid = Grid(np.array([0.0, 1.0]), np.array([0, 100]), np.array([0, 100]))

    def trial() -> Trial:
        return Trial(plan, lambda refine: plan.driver, lambda some: RunClock(some, length, root), grid, False)

    stopped, other, stop = trial(), trial(), Stop()
    stop.set()
    stopped.take(stop)
    other.take(Stop())
    for (a, lost), (b, fewer) in zip(stopped.ends(), other.ends(), strict=True):
        assert a.tobytes() == b.tobytes() and lost == fewer == 0
