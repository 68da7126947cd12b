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


HEAVY = SDE([X], [0], [[5 * X]])


@pytest.mark.parametrize("more", [{}, {"keep": "paths"}, {"paths": 6000}, {"observables": {"q": X**2}}], ids=str)
def test_steps_that_move_the_bulk_are_told_where_tails_are_heavy(more: dict[str, Any]) -> None:
    """Euler of dX = 5 X dW at dt = .05: q95 is 11.5 for .0139, beside a standard deviation of 10^2 to 10^5; and what
    asks for quartiles leaves the result alone."""
    settings: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "dt": 0.05, "paths": 1000, "save_at": 3} | more
    with pytest.warns(UserWarning, match=r"dt = 0\.05 puts the distribution of X off by"):
        checked = simulate(HEAVY, **settings)
    assert checked.equals(simulate(HEAVY, check=False, **settings))


V = sp.Symbol("V", real=True)
FINE: dict[str, tuple[SDE, dict[str, Any]]] = {
    "a short step": (HEAVY, {"dt": 0.001}),
    "a better scheme": (SDE([X], [0], [[X]]), {"dt": 0.02, "scheme": "sriw1"}),
    "heavy tails of a stationary law": (SDE([X], [-X], [[sp.sqrt(1 + 4 * X**2)]]), {"dt": 0.002, "time": 4.0}),
    "what is smooth, cubed": (SDE([X, V], [V, -X - V], [[0], [1]]), {"time": 40.0, "observables": {"c": X**5}}),
}


@pytest.mark.parametrize("name", FINE)
def test_steps_that_are_short_are_not_told_where_tails_are_heavy(name: str) -> None:
    sde, more = FINE[name]
    start = dict.fromkeys(sde.states, float(name in ("a short step", "a better scheme")))
    assert simulate(sde, **({"start": start, "time": 1.0, "paths": 1000, "save_at": 3} | more)).step_error <= 0.05


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
