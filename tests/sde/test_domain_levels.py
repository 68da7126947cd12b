"""Events and extremes of states that have a domain, against closed forms at any step. Alpha is 7e-6 a number."""

from __future__ import annotations

from math import erfc, sqrt
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad

from sde import SDE, simulate
from symbolic import running, states
from tests.sde.test_bent_levels import PATHS, leaves, near, run

X, Y, V = sp.symbols("X Y V", real=True)


def walk(*domain: Any) -> SDE:
    return SDE([X], [0], [[1]], domain={X: domain})


def test_a_reflecting_wall_is_not_passed() -> None:
    """docs/theory.md eq. (6.18): W from 1/2, reflected at 1, is at the wall first when W is; above 0.9 likewise."""
    events = {
        "beyond": X > 1.01,
        "cube": X**3 > 1.02,
        "over": X > 1,
        "at": X >= 1,
        "near": X > 0.9,
        "log": sp.log(X + 9) >= sp.log(10),
    }
    found = run(walk("reflect", -sp.oo, 1), {X: 0.5}, events=events, observables={"top": running(max, X)})
    counts = {name: found[f"{name}_count"].values[-1] for name in events}
    assert counts["beyond"] == counts["cube"] == counts["over"] == 0
    for name, gap in (("at", 0.5), ("near", 0.4), ("log", 0.5)):
        assert near(counts[name], erfc(gap / sqrt(2))), name
    mean, sem, most = found.top.sel(statistic=["mean", "sem", "max"]).values[:, -1]
    assert most == 1 and abs(mean - 0.5 - quad(lambda m: erfc(m / sqrt(2)), 0, 0.5)[0]) < 4.5 * sem


@pytest.mark.slow
def test_two_reflecting_walls() -> None:
    """Unfolded at 0, |W| from 1/2 reaches 1 where W leaves (-1, 1)."""
    events = {"beyond": X > 1.01, "below": X < -0.01, "at": X >= 1, "ground": X <= 0}
    found = run(walk("reflect", 0, 1), {X: 0.5}, events=events, dt=0.02, time=0.4)
    assert found.beyond_count.values[-1] == found.below_count.values[-1] == 0
    for name in ("at", "ground"):
        assert near(found[f"{name}_count"].values[-1], leaves(1.5, 0.5, 0.4)), name


@pytest.mark.slow
def test_a_period_has_no_beyond() -> None:
    """On a circle of length 1 from 1/2, X > 0.9 is reached upwards at 0.9 and downwards through 0."""
    events = {
        "beyond": X > 1.01,
        "below": X < 0,
        "high": X > 0.9,
        "low": X < 0.1,
        "wave": sp.sin(2 * sp.pi * X) < -0.99,
    }
    found = run(walk("periodic", 0, 1), {X: 0.5}, events=events, dt=0.005, time=0.1,
                observables={"top": running(max, X), "least": running(min, X)})  # fmt: skip
    assert found.beyond_count.values[-1] == found.below_count.values[-1] == 0
    for name in ("high", "low"):
        assert near(found[f"{name}_count"].values[-1], leaves(0.5, 0.4, 0.1)), name
    angle = np.arccos(0.99) / (2 * np.pi)
    assert abs(found.wave_count.values[-1] / PATHS - leaves(0.75 - angle, 0.25 - angle, 0.1)) < 0.03
    assert found.top.sel(statistic="max").values.max() <= 1 and found.least.sel(statistic="min").values.min() >= 0


@pytest.mark.parametrize("unit", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_entries_of_arrays_are_followed_around_a_period(unit: int) -> None:
    """As above from 1/5 in one step, on (0, 1) and fourfold on (-1, 3): eq. (6.18)."""
    Y, low, high = states("Y", (2,)), 0 if unit == 1 else -1, 1 if unit == 1 else 3
    sde = SDE(Y, np.zeros(2), np.full(2, unit), domain={Y: ("periodic", low, high)})
    events = {"high": Y[0] > low + 0.9 * unit}
    if unit == 4:
        events |= {"low": Y[1] < low + 0.4, "cube": Y[1] ** 3 > (low + 3.6) ** 3}
    found = run(sde, {Y: np.full(2, low + unit / 5)}, events=events, dt=0.04, time=0.04,
                observables={"top": running(max, Y[1])})  # fmt: skip
    assert found.attrs["crossings"] == "bridge"
    for name in events:
        down = 0.1 if name == "low" else 0.2
        assert near(found[f"{name}_count"].values[-1], leaves(0.9 - down, down, 0.04)), name
    assert low + 0.9 * unit < found.top.sel(statistic="max").values.max() <= high


@pytest.mark.slow
def test_absorption_and_an_event_at_the_wall_are_one() -> None:
    """P(W from 1/2 reaches 0 until 1) = erfc(1/sqrt 8), and no path is at one without the other."""
    events = {"hit": X <= 0, "log": sp.log(X + 1) <= 0, "below": X < 0, "near": X < 0.1}
    found = run(walk("absorb", 0, sp.oo), {X: 0.5}, events=events, keep="paths",
                observables={"least": running(min, X), "root": running(min, X**3)})  # fmt: skip
    absorbed = found.X.values[:, -1] == 0
    for name in ("hit", "log"):
        assert (np.isfinite(found[f"{name}_time"].values) == absorbed).all(), name
    assert near(absorbed.sum(), erfc(0.5 / sqrt(2))) and near(found.near_count.values[-1], erfc(0.4 / sqrt(2)))
    assert found.below_count.values[-1] == 0
    least = found.least.values[:, -1]
    assert ((least == 0) == absorbed).all() and least.min() == 0
    assert found.root.values[:, -1].min() == 0
    exact = quad(lambda m: 1 - erfc((0.5 - m) / sqrt(2)), 0, 0.5)[0]
    assert abs(least.mean() - exact) < 4.5 * least.std() / sqrt(PATHS)


@pytest.mark.parametrize("stop", [None, "first"])
def test_stops_at_an_absorbing_wall_above(stop: str | None) -> None:
    found = run(walk("absorb", -sp.oo, 1), {X: 0.5}, events={"hit": X >= 1}, stop=stop)
    assert near(found.hit_count.values[-1], erfc(0.5 / sqrt(2)))
    assert found.X.sel(statistic="max").values.max() == 1


@pytest.mark.parametrize("scheme", [None, pytest.param("full-truncation", marks=pytest.mark.slow)])
def test_what_is_never_negative_has_no_event_below(scheme: str | None) -> None:
    sde = SDE([V], [0.05 - V], [[sp.sqrt(V) / 2]], domain={V: "nonnegative"})
    events = {"below": V < -0.001, "cube": V**3 < 0, "root": sp.sqrt(V) < -0.001}
    found = simulate(sde, start={V: 0.05}, time=1.0, dt=0.01, paths=1000, seed=3, scheme=scheme, events=events,
                     observables={"least": running(min, V)}, check=False)  # fmt: skip
    assert [found[f"{name}_count"].values[-1] for name in events] == [0, 0, 0]
    assert found.least.sel(statistic="min").values.min() >= 0


@pytest.mark.slow
def test_several_states_stay_in_their_domains() -> None:
    sde = SDE([X, Y], [0, 0], [[1, 0], [0, 1]], domain={X: ("reflect", 0, 1), Y: ("reflect", -1, 1)})
    events = {"sum": X + Y > 2.01, "product": X * Y > 1.01, "radius": X**2 + Y**2 > 2.01, "both": sp.Max(X, Y) > 1.01}
    observed = {"top": running(max, X + Y), "far": running(max, X**2 + Y**2)}
    found = run(sde, {X: 0.5, Y: 0}, events=events, dt=0.05, observables=observed)
    assert [found[f"{name}_count"].values[-1] for name in events] == [0, 0, 0, 0]
    assert found.top.sel(statistic="max").values.max() <= 2 and found.far.sel(statistic="max").values.max() <= 2
