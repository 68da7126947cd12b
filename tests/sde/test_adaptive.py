"""Paths that choose their steps: against one path at a time by hand, and what no neighbour, save or thread may
change."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import convergence, simulate
from symbolic import SDE, SGD
from symbolic.library import LIBRARY
from tests.naive.adaptive import path

X, Y, s = sp.symbols("X Y s", real=True)
STEEP = SDE([X], [X - X**3], [[X / 2]], name="steep")
GRID = 0.1 * np.arange(11)


def SLOPE(x: np.ndarray) -> np.ndarray:
    return np.array([[1 - 3 * x[0] ** 2]])


def run(sde: SDE = STEEP, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "start": {X: 8.0},
        "time": 1.0,
        "dt": 0.1,
        "paths": 40,
        "save_at": 11,
        "keep": "paths",
        "scheme": "adaptive-euler",
    }
    return simulate(sde, **settings | changes)


def test_paths_are_those_by_hand() -> None:
    """Two coupled states, two noises, time in the coefficients; then the same with additive noise, whose rate does not
    count."""
    for noise, b in (
        ([[X / 2, 0], [s, Y]], lambda x, t: np.array([[x[0] / 2, 0], [t, x[1]]])),
        ([[1, s], [0, 2]], lambda x, t: np.array([[1, t], [0, 2.0]])),
    ):
        sde = SDE([X, Y], [Y - X**3, -Y * X**2 + s], noise, time=s)
        found = run(sde, start={X: 3.0, Y: -1.0}, seed=5)
        grid = 0.1 * np.arange(11)
        for number in (0, 17):
            states, _ = path(
                lambda x, t: np.array([x[1] - x[0] ** 3, -x[1] * x[0] ** 2 + t]),
                b,
                lambda x: np.array([[-3 * x[0] ** 2, 1], [-2 * x[0] * x[1], -(x[0] ** 2)]]),
                [3.0, -1.0],
                grid,
                5,
                number,
                found.attrs["size"],
                sde.noise_class == "additive",
            )
            got = np.stack([found.X.values[number], found.Y.values[number]], axis=1)
            assert got == pytest.approx(states, rel=1e-9)


def test_a_path_does_not_know_its_neighbours() -> None:
    """Same bits alone and in company, from a start of its own among wild ones, for any threads, chunks and dtype. (The
    first paths' starts set the states' size.)"""
    for dtype in ("float64", "float32"):
        starts = np.linspace(-20.0, 20.0, 1000)
        whole = run(start={X: starts}, paths=1000, dtype=dtype)
        again = run(start={X: starts}, paths=1000, dtype=dtype, threads=1)
        tame = run(
            start={X: np.where((np.arange(1000) == 300) | (np.arange(1000) < 16), starts, 0.1)}, paths=1000, dtype=dtype
        )
        assert np.array_equal(whole.X.values, again.X.values)
        assert np.array_equal(whole.X.values[300], tame.X.values[300])
        assert whole.attrs["own_steps"] == again.attrs["own_steps"] > 1.5 * tame.attrs["own_steps"]


def test_saves_are_hit_whatever_they_are() -> None:
    found = run(time=1.1, dt=0.1, save_at=[0.0, 0.123, 0.5, 1.1])
    assert found.time.values.tolist() == [0.0, 0.123, 0.5, 1.1]


def test_steps_are_counted() -> None:
    """The tally over paths is the number of steps by hand; nobody gives up."""
    found = run(paths=3, seed=9)
    steps = 0
    for number in range(3):
        _, times = path(
            lambda x, t: x - x**3, lambda x, t: x[:, None] / 2, SLOPE, [8.0], GRID, 9, number, found.attrs["size"]
        )
        steps += len(times) - 1
    assert (found.attrs["own_steps"], found.attrs["gave_up_paths"]) == (steps, 0)
    assert "own_steps" not in run(scheme="tamed-euler").attrs


def test_events_have_the_times_of_the_steps() -> None:
    """The first own step after which X < 2, not the end of the grid's step."""
    found = run(paths=20, events={"low": 2 - X})
    for number in range(20):
        hit = np.nan

        def drift(state: np.ndarray, t: float) -> np.ndarray:
            nonlocal hit
            if state[0] < 2 and np.isnan(hit):
                hit = t
            return state - state**3

        path(drift, lambda x, t: x[:, None] / 2, SLOPE, [8.0], GRID, 0, number, found.attrs["size"])
        assert found.low_time.values[number] == pytest.approx(hit, abs=1e-12)
    assert (found.low_time.values % 0.1 > 1e-6).any()


def test_where_euler_explodes_it_does_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = run(scheme="euler-maruyama", keep="statistics")
    assert plain.attrs["exploded_paths"] == 40
    assert run(keep="statistics").attrs["exploded_paths"] == 0
    steep = SDE([X], [-(X**5)], [[X**2 / 2]])
    assert run(steep, start={X: 6.0}, keep="statistics").attrs["exploded_paths"] == 0


def test_a_path_that_would_never_arrive_gives_up_and_is_counted() -> None:
    """A turn of 10^8 per unit time, with nothing to pull it inward, asks for more than a million steps before the first
    save."""
    turning = SDE([X, Y], [-Y * (X**2 + Y**2) ** 2, X * (X**2 + Y**2) ** 2], [[1], [0]])
    with pytest.warns(UserWarning, match="exploded"):
        lost = run(turning, start={X: 100.0, Y: 0.0}, paths=2, keep="statistics", check=False)
    assert lost.attrs["exploded_paths"] == lost.attrs["gave_up_paths"] == 2


def test_lost_paths_are_dated_by_their_own_clock() -> None:
    """sqrt(1/2 - s) has no value after 1/2: all paths are lost in the first step that begins later."""
    sde = SDE([X], [sp.sqrt(sp.Rational(1, 2) - s) - X**3], [[1]], time=s)
    with pytest.warns(UserWarning, match="exploded"):
        found = run(sde, start={X: np.linspace(-5, 5, 40)}, time=1.0, dt=0.4, save_at=2)
    times = found.explosion_time.values
    assert (times > 0.5).all() and len(np.unique(times)) >= 3 and np.isnan(found.X.values[:, -1]).all()


def test_a_loss_runs_so_too() -> None:
    loss = LIBRARY["rescaling"].build()
    settings: dict[str, Any] = {"start": {"u": 1.2, "w": 0.6}, "time": 1.0, "dt": 0.05, "paths": 20_000, "save_at": 2}
    found = [simulate(loss, SGD(0.1), scheme=name, **settings) for name in ("adaptive-euler", "milstein-levy:2")]
    means = [(float(r.u.sel(statistic="mean")[-1]), float(r.u.sel(statistic="sem")[-1])) for r in found]
    assert abs(means[0][0] - means[1][0]) < 4 * np.hypot(means[0][1], means[1][1]) + 0.004


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="refine"):
        run(refine=2)
    with pytest.raises(ValueError, match="convergence.exact"):
        convergence(STEEP, "adaptive-euler", start={X: 1.0})
