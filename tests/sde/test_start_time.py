"""Runs that begin at another time than 0: the bits of the same equation with t shifted, dates on the equation's
clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, SGD, Jump, expectation, simulate
from symbolic import Loss, Normal, integral, running
from symbolic.errors import InputError

X, t, k = sp.symbols("X t k", real=True)
LATE = 2.5


def forced(clock: sp.Expr) -> SDE:
    return SDE([X], [sp.sin(3 * clock) - X], [[1 + sp.cos(clock) / 2]], time=t)


@pytest.mark.parametrize("scheme", ["euler-maruyama", "adaptive-euler"])
def test_the_bits_are_those_of_a_shifted_equation(scheme: str) -> None:
    args = {"start": {X: 0.3}, "time": 1.5, "dt": 0.125, "paths": 40, "scheme": scheme, "keep": "paths"}
    args["crossings"] = "steps"
    observed = {"f": sp.cos(t) * X}
    moved, events = forced(t + sp.Rational(5, 2)), {"up": X - 1}
    late = simulate(forced(t), start_time=LATE, observables=observed, events=events, **args)
    shifted = simulate(moved, observables={"f": sp.cos(t + sp.Rational(5, 2)) * X}, events=events, **args)
    for name in ("X", "f"):
        if scheme == "euler-maruyama":
            assert np.array_equal(late[name].values, shifted[name].values), name
        assert np.allclose(late[name].values, shifted[name].values, rtol=0, atol=1e-12), name  # own steps round
    assert np.allclose(late.time.values, shifted.time.values + LATE, rtol=0, atol=1e-15 * 8)
    assert np.allclose(late.up_time.values, shifted.up_time.values + LATE, equal_nan=True)
    assert not np.array_equal(late.X.values, simulate(forced(t), **args).X.values)


def test_saves_and_steps_are_on_the_clock_of_the_equation() -> None:
    jump = SDE([X], [sp.Piecewise((1, t < sp.Rational(31, 10)), (0, True))], [[0]], time=t)
    run = simulate(jump, start={X: 0.0}, time=1.0, start_time=LATE, dt=0.3, paths=2, save_at=[2.5, 2.9, 3.5])
    assert np.allclose(run.time, [2.5, 2.9, 3.5]) and run.time.values[-1] == 3.5
    assert np.allclose(run.X.sel(statistic="mean"), [0.0, 0.4, 0.6], atol=1e-5)
    named = simulate(jump, start={X: 0.0}, time=1.0, start_time=LATE, dt=0.5, paths=2, steps_at=[3.1], check=False)
    assert named.X.sel(statistic="mean").values[-1] == pytest.approx(0.6, abs=1e-5)
    negative = simulate(SDE([X], [t], [[0]], time=t), start={X: 0.0}, time=1.0, start_time=-2, dt=0.01, paths=2)
    assert negative.X.sel(statistic="mean").values[-1] == pytest.approx(-1.5, abs=0.01)
    assert negative.time.values[[0, -1]].tolist() == [-2.0, -1.0]


def test_a_step_left_out_sees_the_time_of_the_run() -> None:
    """The equation is slow but from t = 5 on."""
    fast = SDE([X], [-X * sp.Piecewise((400, t > 5), (1, True))], [[1]], time=t)
    early, late = (simulate(fast, start={X: 1.0}, time=1.0, start_time=s, paths=2, check=False) for s in (0.0, 5.5))
    assert late.attrs["dt"] < early.attrs["dt"] / 2


def test_schedules_go_on() -> None:
    u, w, x, y = sp.symbols("u w x y", real=True)
    loss = Loss((u * w * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})
    args = {"start": {u: 1.2, w: 0.6}, "time": 4.0, "dt": 0.1, "paths": 20}
    runs = [
        simulate(loss, SGD(learning_rate=0.1, schedule=s), start_time=b, **args)
        for s, b in (("min(t/8, 1)", 4.0), ("min((t + 4)/8, 1)", 0.0))
    ]
    assert np.array_equal(runs[0].u.values, runs[1].u.values)


def test_expectations_begin_then() -> None:
    growth = SDE([X], [t * X], [[X / 10]], time=t)
    found = expectation(growth, X, tolerance=0.05, start={X: 1.0}, time=1.0, start_time=1.0)
    assert found.value == pytest.approx(np.exp(1.5), abs=0.2)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"start_time": "later"}, "start_time: must be a finite number; got 'later'"),
        ({"start_time": np.inf}, "start_time: must be a finite number"),
        ({"start_time": 2.0, "save_at": [0.5, 1.0]}, r"times must increase within \[2, 3.0\]"),
        ({"start_time": 2.0, "steps_at": [0.5]}, r"steps_at: must be times within \[2, 3\]"),
    ],
)
def test_what_cannot_be_is_refused(bad: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        simulate(forced(t), **({"start": {X: 0.0}, "time": 1.0, "paths": 2} | bad))


def test_stops_jumps_and_the_past_begin_then_too() -> None:
    """The run of the shifted equation, for paths with clocks of their own; an impulse before the run is none of it."""

    def run(moved: float, begin: float) -> Any:
        clock = t + sp.Rational(moved)
        impulses = Jump({X: X + 1}, at=[at - moved for at in (1.0, 3.0, 3.5) if at >= moved])
        rated = Jump({X: X / 2}, rate=1 + sp.cos(clock))
        made = SDE([X], [sp.sin(3 * clock) - X], [[1 + sp.cos(clock) / 2]], time=t, jumps=[impulses, rated])
        past = {"high": running(max, X * sp.cos(clock)), "area": integral(clock * X)}
        return simulate(
            made, start={X: 0.3}, start_time=begin, time=1.5, dt=0.125, paths=40, keep="paths", check=False,
            observables=past, events={"up": X - 2}, stop="first",
        )  # fmt: skip

    late, shifted = run(0.0, LATE), run(LATE, 0.0)
    for name in ("X", "high", "area"):
        assert late[name].values == pytest.approx(shifted[name].values, abs=1e-11), name
    assert late.stop_time.values == pytest.approx(shifted.stop_time.values + LATE, abs=1e-11, nan_ok=True)
    assert 3 < np.isfinite(late.stop_time.values).sum() < 38


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_begin_with_the_path_at_any_time(dtype: str) -> None:
    """0.1 in float32 is more than 0.1."""
    still = SDE([X], [0], [[0]], time=t)
    run = simulate(still, start={X: -3.0}, start_time=0.1, time=1.0, dt=0.5, paths=2, dtype=dtype, check=False,
                   observables={"m": running(max, X)}, keep="paths", save_at=3)  # fmt: skip
    assert (run.m.values == -3).all()


@pytest.mark.parametrize(("began", "dt"), [(1e16, 0.5), (-1e16, 0.5), (1e9, 1e-3), (2.0**40, 0.1)])
def test_a_start_so_late_that_steps_are_rounded_away_is_refused(began: float, dt: float) -> None:
    with pytest.raises(InputError, match=r"^start_time: must be near enough to 0 for steps of"):
        simulate(SDE([X], [1], [[1]]), start={X: 0.0}, time=1.0, start_time=began, dt=dt, paths=2)
    with pytest.raises(InputError, match=r"^expectation.start_time: must be near enough to 0"):
        expectation(SDE([X], [1], [[1]]), X, tolerance=0.1, start={X: 0.0}, time=1.0, start_time=1e3 * began)
    simulate(SDE([X], [1], [[1]]), start={X: 0.0}, time=1.0, start_time=1e6, dt=0.5, paths=2, check=False)
