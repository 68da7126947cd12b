"""Paths that stop at events: exit problems against closed forms, order of the bias, a naive twin, and bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from sde import SDE, SGD, InputError, simulate, train
from symbolic.library import LIBRARY
from tests.naive.hybrid import Level, follow

X, Y, s = sp.symbols("X Y s", real=True)
DRIFTING = SDE([X], [1], [[1]], time=s)
EXIT: dict[str, Any] = {"events": {"up": X > 1, "down": -1 - X}, "stop": "first"}
UP, MEAN = 1 / (1 + np.exp(-2)), np.tanh(1.0)
"""Of dX = dt + dW from (-1, 1): P(up first) and the mean exit time."""


def leave(paths: int = 4000, **changes: Any) -> xr.Dataset:
    options: dict[str, Any] = {"start": {X: 0.0}, "time": 12.0, "dt": 0.01, "seed": 2, "save_at": 5, "check": False}
    return simulate(DRIFTING, paths=paths, **options | EXIT | changes)


def test_exit_problem() -> None:
    """docs/theory.md eq. (6.6), (6.7): by 5 standard errors, and within 0.2 % beside them, at dt = 0.01;
    looked at after steps it would be 9 % late."""
    run = leave(40_000)
    n, mean, sem = 40_000, *run.stop_time.sel(statistic=["mean", "sem"]).values
    assert abs(run.up_count.values[-1] / n - UP) < 5 * np.sqrt(UP * (1 - UP) / n) + 0.002 * UP
    assert abs(mean - MEAN) < 5 * sem + 0.002 * MEAN
    assert (
        run.up_count.values[-1] + run.down_count.values[-1] == run.stop_count.values[-1] == n - run.running.values[-1]
    )
    assert (
        run.running.values[0] == n and (np.diff(run.running.values) <= 0).all() and run.attrs["crossings"] == "bridge"
    )
    late = leave(4000, crossings="steps").stop_time.sel(statistic="mean").item()
    assert late > 1.06 * MEAN


@pytest.mark.slow
def test_bias_is_of_order_dt() -> None:
    """Mean exit times of geometric Brownian motion from (1/2, 2), L tanh(m L)/m with m = mu - 1/2 and L = log 2: the
    bias of the bridge falls as dt, that of steps as its root."""
    m, width, steps = -0.3, np.log(2), np.array([0.04, 0.02, 0.01])
    exact, slopes = width / m * np.tanh(m * width), {}
    for how in ("bridge", "steps"):
        gaps = []
        for dt in steps:
            run = simulate(SDE([X], [X / 5], [[X]]), start={X: 1.0}, time=20.0, dt=dt, paths=200_000, seed=4,
                           save_at=2, check=False, crossings=how, events={"up": X - 2, "down": 0.5 - X},
                           stop="first")  # fmt: skip
            gaps.append(run.stop_time.sel(statistic="mean").item() - exact)
        slopes[how] = np.polyfit(np.log(steps), np.log(np.abs(gaps)), 1)[0]
    assert 0.7 < slopes["bridge"] < 1.3 and 0.35 < slopes["steps"] < 0.65


def test_paths_are_those_of_the_naive_twin() -> None:
    run = leave(40, keep="paths", dt=0.1, time=2.0, save_at=21, events={"up": X - 1, "down": -1 - X, "half": X - 0.5},
                stop=["up", "down"])  # fmt: skip
    levels = [Level(1.0, ends=True), Level(-1.0, -1.0, ends=True), Level(0.5)]
    for path in range(40):
        twin = follow(path, 2, 0.0, run.time.values, lambda x: 1.0, lambda x: 1.0, levels)
        assert run.X.values[path] == pytest.approx(np.array(twin.states), abs=1e-11)
        for n, name in enumerate(("up", "down", "half")):
            assert run[f"{name}_time"].values[path] == pytest.approx(twin.met.get(n, np.nan), abs=1e-9, nan_ok=True)
        assert run.stop_time.values[path] == pytest.approx(twin.stop, abs=1e-9, nan_ok=True)
    assert 5 < np.isfinite(run.down_time.values).sum() + (run.half_time.values < run.up_time.values).sum() < 40 * 2


def test_a_stopped_path_keeps_state_and_time_of_its_stop() -> None:
    run = leave(500, keep="paths", save_at=49, observables={"clock": s, "square": X**2})
    stopped, at = run.stop_time.values[:, None], run.time.values[None, :]
    assert np.allclose(run.clock.values, np.minimum(stopped, at), atol=1e-12)
    over = at >= stopped
    assert np.allclose(np.abs(run.X.values[over]), 1.0, atol=1e-12) and np.allclose(run.square.values[over], 1.0)
    assert over.any() and (~over).any()
    free = simulate(
        DRIFTING, start={X: 0.0}, time=12.0, dt=0.01, seed=2, save_at=49, paths=500, keep="paths", check=False
    )
    assert run.X.values[~over] == pytest.approx(free.X.values[~over], abs=1e-12)


def test_statistics_are_those_of_the_paths() -> None:
    kept, found = leave(5000, keep="paths"), leave(5000)
    for name, ddof in (("mean", 0), ("std", 1)):
        expected = kept.X.values.mean(axis=0) if name == "mean" else kept.X.values.std(axis=0, ddof=ddof)
        assert found.X.sel(statistic=name).values == pytest.approx(expected, rel=1e-10, abs=1e-13)
    assert found.up_time.sel(statistic="mean").item() == pytest.approx(np.nanmean(kept.up_time.values), rel=1e-12)


@pytest.mark.parametrize("paths", [3, 4097])
def test_statistics_are_of_any_number_of_paths(paths: int) -> None:
    """Of one that is no multiple of 4, what stood in memory beside the last ones was counted too."""
    options: dict[str, Any] = {"time": 3.0, "dt": 0.1, "observables": {"far": X + 100}}
    kept, found = leave(paths, keep="paths", **options), leave(paths, **options)
    for name in ("X", "far"):
        x = kept[name].values
        for statistic, expected in (("mean", x.mean(axis=0)), ("std", x.std(axis=0, ddof=1)), ("min", x.min(axis=0))):
            assert found[name].sel(statistic=statistic).values == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_who_runs_or_resumes(dtype: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"dtype": dtype, "time": 3.0, "dt": 0.02}
    one, four = leave(3000, threads=1, **options), leave(3000, threads=4, **options)
    assert one.attrs["result_hash"] == four.attrs["result_hash"]
    assert leave(3000, executor="processes", threads=2, **options).attrs["result_hash"] == one.attrs["result_hash"]
    saved = tmp_path / "run.nc"
    for _ in range(2):  # the second call finds all done
        assert leave(3000, checkpoint=saved, **options).attrs["result_hash"] == one.attrs["result_hash"]


def test_a_path_does_not_depend_on_the_others() -> None:
    many, few = leave(2000, keep="paths"), leave(300, keep="paths")
    assert np.array_equal(many.X.values[:300], few.X.values)
    assert np.array_equal(many.stop_time.values[:300], few.stop_time.values)


def test_levels_of_several_states_are_met_on_them() -> None:
    """docs/theory.md eq. (6.8): a plane motion leaves the unit disc at it; the mean exit time is 1/2."""
    plane = SDE([X, Y], [0, 0], [[1, 0], [0, 1]])
    run = simulate(plane, start={X: 0.0, Y: 0.0}, time=10.0, dt=0.01, paths=20_000, keep="paths", save_at=2,
                   events={"out": X**2 + Y**2 - 1}, stop="first", check=False)  # fmt: skip
    r = np.hypot(run.X.values[:, -1], run.Y.values[:, -1])
    assert np.abs(r - 1).max() < 0.02 and np.abs(r - 1).mean() < 1e-4
    angle = np.arctan2(run.Y.values[:, -1], run.X.values[:, -1])
    assert abs(np.cos(angle).mean()) < 5 / np.sqrt(2 * 20_000)
    assert abs(run.stop_time.values.mean() - 0.5) < 5 * run.stop_time.values.std() / np.sqrt(20_000) + 0.01 * 0.5


def test_stops_of_losses() -> None:
    loss = LIBRARY["rescaling"].build()
    _, w = loss.theta
    options: dict[str, Any] = {"start": {"u": 1.2, "w": 0.6}, "time": 3.0, "paths": 300, "keep": "paths", "save_at": 2}
    run = simulate(loss, SGD(0.05, 2), events={"low": 0.57 - w}, stop="first", check=False, **options)
    free = simulate(loss, SGD(0.05, 2), events={"low": 0.57 - w}, check=False, **options)
    assert np.array_equal(run.low_time.values, free.low_time.values, equal_nan=True)
    stopped = np.isfinite(run.low_time.values)
    assert 20 < stopped.sum() < 300 and (run.w.values[stopped, -1] < 0.57).all()
    bridged = simulate(loss, SGD(0.05, 2), events={"low": 0.57 - w}, stop="first", crossings="bridge", **options)
    assert bridged.w.values[np.isfinite(bridged.low_time.values), -1] == pytest.approx(0.57, abs=1e-3)
    assert np.isfinite(bridged.low_time.values).sum() > stopped.sum()


@pytest.mark.slow
def test_stops_of_discrete_sgd() -> None:
    loss = LIBRARY["rescaling"].build()
    w = loss.theta[1]
    options: dict[str, Any] = {"start": {"u": 1.2, "w": 0.6}, "steps": 60, "paths": 500, "keep": "paths", "save_at": 61}
    run = train(loss, SGD(0.05, 2), events={"low": 0.57 - w}, stop="first", **options)
    free = train(loss, SGD(0.05, 2), events={"low": 0.57 - w}, **options)
    assert np.array_equal(run.low_time.values, free.low_time.values, equal_nan=True)
    frozen = run.time.values[None, :] >= run.stop_time.values[:, None]
    assert 0.1 < frozen.mean() < 0.9 and (run.w.values[frozen] < 0.57).all()
    assert run.w.values[~frozen] == pytest.approx(free.w.values[~frozen], abs=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stop": "first", "events": None}, "stop: needs events"),
        ({"stop": ["other"]}, "stop: must name events"),
        ({"stop": [1]}, 'stop: must be "first"'),
        ({"scheme": "adaptive-euler"}, "stop: a scheme whose steps"),
        ({"crossings": "tunnel"}, "crossings: "),
        ({"observables": {"running": X}}, "stop: a name must be new text"),
        ({"events": {"stop": X}}, "is the time of"),
    ],
)
def test_what_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words if "is the" not in words else "stop"):
        leave(10, **options)


def test_quantiles_of_times_say_how_far_off_they_are() -> None:
    """Beyond the paths whose times are all held: within what is stated, of rare events too, which no pilot has had."""
    x, t = sp.symbols("x t", real=True)
    sde = SDE([x], drift=[-x], diffusion=[[sp.exp(-t) / 2]], time=t)
    events = {"often": x > 0.2, "rare": x > 0.9}
    asked: dict[str, Any] = {"start": {x: 0.0}, "time": 5.0, "dt": 0.05, "paths": 20_000, "events": events}
    told, kept = (simulate(sde, check=False, save_at=2, keep=k, **asked) for k in ("statistics", "paths"))
    for name in events:
        values = kept[f"{name}_time"].values
        exact = np.quantile(values[np.isfinite(values)], [0.05, 0.25, 0.5, 0.75, 0.95])
        found, error = told[f"{name}_time"], told[f"{name}_time"].attrs["quantile_error"]
        assert 0 < error < 5.0 and np.abs(found.values[5:] - exact).max() <= error * (1 + 1e-9)
