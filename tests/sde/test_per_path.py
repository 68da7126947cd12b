"""Parameters that each path has for itself, and zipped sweeps: the bits of runs with numbers, path by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from sde import SDE, Jump, expectation, simulate
from symbolic import Normal, Uniform, running, states
from symbolic.errors import InputError

X, a, s = sp.symbols("X a s", real=True)
EQUATION = SDE([X], [-a * X], [[s * X]], parameters=[a, s])
PATHS = 300
RUN: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "dt": 0.25, "paths": PATHS, "keep": "paths", "check": False}


def test_each_path_has_the_bits_of_a_run_with_its_number() -> None:
    rates = np.linspace(0.5, 3.0, PATHS)
    own = simulate(EQUATION, parameters={a: {"path": rates}, s: 0.5}, scheme="milstein", **RUN)
    assert np.array_equal(own.a.values, rates) and own.a.dims == ("path",)
    few = [0, 17, 299]
    alone = simulate(EQUATION, parameters={a: rates[few], s: 0.5}, scheme="milstein", **RUN)
    for k, path in enumerate(few):
        assert np.array_equal(own.X.values[path], alone.X.values[k, path])


def test_draws_depend_on_seed_and_path_alone(tmp_path: Path) -> None:
    drawn = {a: Uniform(0.5, 3), s: Normal(0, sp.Rational(1, 10))}
    whole = simulate(EQUATION, parameters=drawn, seed=3, threads=2, **RUN)
    few = simulate(EQUATION, parameters=drawn, seed=3, threads=1, **{**RUN, "paths": 40})
    assert np.array_equal(whole.X.values[:40], few.X.values)
    assert np.array_equal(whole.a.values[:40], few.a.values)
    other = simulate(EQUATION, parameters=drawn, seed=4, **RUN)
    assert not np.isclose(whole.a.values, other.a.values).any()
    assert abs(np.corrcoef(whole.a.values, whole.s.values)[0, 1]) < 0.25
    assert 0.5 < whole.a.values.min() < 0.6 and 2.9 < whole.a.values.max() < 3.0
    kept = simulate(EQUATION, parameters=drawn, seed=3, checkpoint=tmp_path / "c.nc", **RUN)
    assert kept.attrs["result_hash"] == whole.attrs["result_hash"]
    streamed = simulate(EQUATION, parameters=drawn, seed=3, out=tmp_path / "run.nc", **RUN)
    assert np.array_equal(streamed.a.values, whole.a.values) and np.array_equal(streamed.X.values, whole.X.values)


def test_means_over_a_distribution_are_those_of_the_mixture() -> None:
    """dX = -a X dt, a uniform on [0, 1]: E X_1 = 1 - 1/e, within 5 standard errors of 10,000 paths and Euler's bias."""
    made = SDE([X], [-a * X], [[0]], parameters=[a])
    run = simulate(made, start={X: 1.0}, time=1.0, dt=0.01, paths=10_000, parameters={a: Uniform(0, 1)}, save_at=2)
    mean, error = (float(run.X.sel(statistic=k).values[-1]) for k in ("mean", "sem"))
    assert abs(mean - (1 - np.exp(-1))) < 5 * error + 0.002


def test_observables_and_events_use_them() -> None:
    rates = np.array([0.5, 2.0, 8.0])
    made = SDE([X], [a], [[0]], parameters=[a])
    run = simulate(
        made,
        start={X: 0.0},
        time=1.0,
        dt=0.01,
        paths=3,
        parameters={a: {"path": rates}},
        observables={"f": a * X},
        events={"up": X - 1},
        crossings="steps",
        keep="paths",
        check=False,
    )
    assert np.allclose(run.f.values[:, -1], rates**2) and np.allclose(run.X.values[:, -1], rates)
    assert np.isnan(run.up_time.values[0]) and np.allclose(run.up_time.values[1:], 1 / rates[1:], atol=0.011)


def test_stops_jumps_and_the_past_use_them() -> None:
    """The bits of runs with numbers, path by path, where paths stop, jump and remember too."""
    made = SDE([X], [a - X], [[1]], parameters=[a, s], jumps=[Jump({X: X - s}, rate=a)])
    more: dict[str, Any] = {"observables": {"high": running(max, X * s)}, "events": {"up": X - a}, "stop": "first"}
    levels, few = np.linspace(0.8, 2.0, PATHS), [0, 17, 299]
    args = {**RUN, "start": {X: 0.0}, "dt": 0.125, "time": 2.0} | more
    own = simulate(made, parameters={a: {"path": levels}, s: 0.5}, **args)
    alone = simulate(made, parameters={a: levels[few], s: 0.5}, **args)
    for k, path in enumerate(few):
        for name in ("X", "high", "stop_time"):
            assert np.array_equal(own[name].values[path], alone[name].values[k, path], equal_nan=True), name
    assert 30 < np.isfinite(own.stop_time.values).sum() < PATHS - 30


def test_zipped_sweeps() -> None:
    at = {a: [0.5, 1.0, 2.0], s: [0.1, 0.2, 0.3]}
    args = {**RUN, "keep": "statistics", "paths": 50}
    zipped, whole = (simulate(EQUATION, parameters=at, zipped=z, **args) for z in (True, False))
    assert zipped.X.dims == ("sweep", "statistic", "time") and zipped.a.dims == ("sweep",)
    assert zipped.s.values.tolist() == at[s]
    for k in range(3):
        xr.testing.assert_equal(zipped.X[k].drop_vars(["sweep", "a", "s"]), whole.X[k, k].drop_vars(["a", "s"]))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({a: {"path": [1.0, 2.0]}}, r"parameters\[a\]: must be {'path': numbers}, one for each of the 300 paths"),
        ({a: {"rows": np.ones(PATHS)}}, "must be {'path': numbers}"),
        ({a: {"path": np.full(PATHS, np.nan)}}, r"parameters\[a\]: must be finite"),
        ({a: {"path": ["x"] * PATHS}}, r"parameters\[a\]: must be numbers"),
        ({a: [1.0, 2.0], s: [1.0, 2.0, 3.0]}, "zipped: needs as many values of each parameter"),
    ],
)
def test_what_fits_no_path_is_refused(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        simulate(EQUATION, parameters={s: 0.1} | given, zipped=True, **RUN)


def test_where_they_cannot_be() -> None:
    with pytest.raises(InputError, match="expectation.parameters: takes numbers"):
        expectation(EQUATION, X, tolerance=0.1, start={X: 1.0}, time=1.0, parameters={a: Normal(0, 1), s: 1.0})
    Y, positive = states("Y", (3,)), sp.Symbol("b", positive=True)
    made = SDE(Y, drift=-a * Y, diffusion=np.ones(3), parameters=[a])
    with pytest.raises(InputError, match="must be numbers in an equation of arrays"):
        simulate(made, start={"Y": np.ones(3)}, time=1.0, paths=5, parameters={a: Normal(0, 1)})
    made = SDE([X], [-positive * X], [[1]], parameters=[positive])
    with pytest.raises(InputError, match="must be what its symbol is assumed to be"):
        simulate(made, start={X: 1.0}, time=1.0, paths=50, parameters={positive: Normal(0, 1)})
