"""Time grids: saves on steps, steps no longer than asked, the last time exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sde.engine.time_grid import Grid, continuous, discrete

EPS = 1e-9


def check(grid: Grid, time: float, dt: float) -> None:
    assert grid.time[0] == 0 and grid.time[-1] == time
    assert len(grid.time) == grid.steps + 1
    assert (grid.length > 0).all() and (grid.length <= dt * (1 + EPS)).all()
    assert np.sum(grid.length) == pytest.approx(time, rel=1e-12)
    assert grid.time[1:] - grid.time[:-1] == pytest.approx(grid.length, rel=1e-9)
    assert (np.diff(grid.saves) > 0).all() and grid.saves[0] >= 0 and grid.saves[-1] == grid.steps


@pytest.mark.parametrize(
    ("time", "dt", "steps"),
    [
        (1.1, 0.1, 11),
        (2.1, 0.3, 7),
        (1.0, 0.3, 4),
        (0.3, 0.1, 3),
        (0.7, 0.7, 1),
        (100.0, 0.01, 10_000),
        (1e-3, 1e-4, 10),
    ],
)
def test_awkward_steps(time: float, dt: float, steps: int) -> None:
    grid = continuous(time, dt, 2)
    check(grid, time, dt)
    assert grid.steps == steps
    assert grid.saves.tolist() == [0, steps]


@settings(max_examples=150, deadline=None)
@given(time=st.floats(1e-3, 1e3), parts=st.floats(1.0, 400.0), count=st.integers(2, 60))
def test_every_count_of_saves_lands_on_steps(time: float, parts: float, count: int) -> None:
    dt = time / parts
    grid = continuous(time, dt, count)
    check(grid, time, dt)
    kept = min(count, int(np.ceil(parts * (1 - 1e-12))) + 1)
    assert len(grid.saves) == kept
    assert grid.time[grid.saves] == pytest.approx(np.linspace(0, time, kept), rel=1e-12, abs=1e-300)
    assert grid.steps <= np.ceil(parts) + count


@settings(max_examples=150, deadline=None)
@given(
    time=st.floats(0.1, 100.0),
    parts=st.floats(1.0, 200.0),
    places=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12, unique=True),
)
def test_every_array_of_saves_is_hit_exactly(time: float, parts: float, places: list[float]) -> None:
    dt, times = time / parts, np.unique(np.array(places) * time)
    grid = continuous(time, dt, times.tolist())
    check(grid, time, dt)
    last = times[:-1] if time - times[-1] <= 8e-16 * time else times
    assert np.array_equal(grid.time[grid.saves], np.append(last, time))


def test_an_array_need_not_hold_the_ends() -> None:
    grid = continuous(2.0, 0.3, [0.5, 1.0])
    assert grid.time[grid.saves].tolist() == [0.5, 1.0, 2.0]
    assert continuous(2.0, 0.3, [0.0]).time[continuous(2.0, 0.3, [0.0]).saves].tolist() == [0.0, 2.0]
    assert continuous(2.0, 2.0, [2.0]).saves.tolist() == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 2.0, 2), "dt: must not exceed the time 1.0; got 2.0"),
        ((1.0, 0.0, 2), "dt: must be positive and finite"),
        ((1.0, -0.1, 2), "dt: must be positive and finite"),
        ((1.0, float("nan"), 2), "dt: must be positive and finite"),
        ((0.0, 0.1, 2), "time: must be positive and finite"),
        ((-1.0, 0.1, 2), "time: must be positive and finite"),
        ((float("inf"), 0.1, 2), "time: must be positive and finite"),
        ((1.0, 0.1, 1), "save_at: a count needs at least 2"),
        ((1.0, 0.1, True), "save_at: times must increase"),
        ((1.0, 0.1, []), "save_at: times must increase"),
        ((1.0, 0.1, [0.5, 0.4]), "save_at: times must increase"),
        ((1.0, 0.1, [0.5, 0.5]), "save_at: times must increase"),
        ((1.0, 0.1, [-0.5, 0.5]), "save_at: times must increase"),
        ((1.0, 0.1, [0.5, 1.5]), r"save_at: times must increase within \[0, 1.0\]"),
        ((1.0, 0.1, [0.5, float("nan")]), "save_at: times must increase"),
        ((1.0, 0.1, [[0.5]]), "save_at: times must increase"),
    ],
)
def test_refusals(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        continuous(*arguments)


@settings(max_examples=100, deadline=None)
@given(steps=st.integers(1, 3000), rate=st.floats(1e-4, 2.0), count=st.integers(2, 200))
def test_discrete_saves_are_steps(steps: int, rate: float, count: int) -> None:
    grid = discrete(steps, rate, count)
    assert grid.steps == steps and (grid.length == rate).all()
    assert np.array_equal(grid.time, rate * np.arange(steps + 1))
    assert grid.saves[0] == 0 and grid.saves[-1] == steps and (np.diff(grid.saves) > 0).all()
    assert len(grid.saves) == min(count, steps + 1) or count > (steps + 1) / 2
    assert (
        np.abs(
            np.linspace(0, steps, count)
            - grid.saves[np.searchsorted(grid.saves, np.round(np.linspace(0, steps, count)))]
        ).max()
        <= 0.5
    )


def test_discrete_times_are_multiples_of_the_rate() -> None:
    grid = discrete(10, 0.25, [0.5, 1.0])
    assert grid.saves.tolist() == [2, 4, 10]
    with pytest.raises(ValueError, match="times of discrete SGD must be multiples of the learning rate 0.25"):
        discrete(10, 0.25, [0.3])
    with pytest.raises(ValueError, match="must be multiples"):
        discrete(2_000_000, 0.5, [0.25])


@pytest.mark.parametrize(
    ("steps", "rate", "times"),
    [(3, 0.1, [0.0, 0.1, 0.2, 0.3]), (100, 0.57, [0.0, 57.0]), (7, 0.1, [0.7]), (6, 0.7, [2.1, 4.2])],
)
def test_discrete_times_as_a_user_writes_them(steps: int, rate: float, times: list[float]) -> None:
    """0.1 * 3 is not 0.3 in binary; the user's 0.3 still is step 3."""
    grid = discrete(steps, rate, times)
    expected = [round(v / rate) for v in times]
    assert grid.saves.tolist() == (expected if expected[-1] == steps else [*expected, steps])


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_discrete_refuses_odd_counts(steps: Any) -> None:
    with pytest.raises(ValueError, match="steps: must be a whole number of at least 1"):
        discrete(steps, 0.1, 2)
