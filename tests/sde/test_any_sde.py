"""Runs of general SDEs: swept parameters, laws known in closed form, losses under other schemes, and formulas that fail
on the way."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import integrate, stats

from sde import SGD, simulate
from symbolic import SDE
from symbolic.library import LIBRARY

X, Y, s, mu, sigma = sp.symbols("X Y s mu sigma", real=True)
GBM = SDE([X], [mu * X], [[sigma * X]], parameters=[mu, sigma], name="gbm")
SETTINGS: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "dt": 0.1, "paths": 40, "save_at": 3}


@pytest.mark.parametrize("keep", ["statistics", "paths"])
def test_parameters_are_swept_as_axes(keep: str) -> None:
    """Every combination is the run of its own, with the same noise."""
    swept = simulate(GBM, parameters={mu: [0.1, 0.2, 0.3], "sigma": [0.0, 0.4]}, keep=keep, **SETTINGS)
    leading = "path" if keep == "paths" else "statistic"
    assert swept.X.dims == ("mu", "sigma", leading, "time") and swept.X.shape[:2] == (3, 2)
    assert swept.exploded.dims == ("mu", "sigma", "time")
    assert swept.mu.values.tolist() == [0.1, 0.2, 0.3] and swept.sigma.values.tolist() == [0.0, 0.4]
    for m in (0.1, 0.3):
        for v in (0.0, 0.4):
            alone = simulate(GBM, parameters={mu: m, sigma: v}, keep=keep, **SETTINGS)
            assert np.array_equal(swept.X.sel(mu=m, sigma=v).values, alone.X.values, equal_nan=True)
    fixed = simulate(GBM, parameters={mu: [0.1], sigma: 0.4}, keep=keep, **SETTINGS)
    assert fixed.X.dims == ("mu", leading, "time")
    if keep == "paths":
        assert np.array_equal(fixed.X.values[0], swept.X.sel(mu=0.1, sigma=0.4).values)


def test_observables_may_use_parameters_and_the_brownian_motion() -> None:
    exact = X - sp.exp((mu - sigma**2 / 2) * s + sigma * GBM.W[0])
    timed = SDE([X], [mu * X], [[sigma * X]], time=s, parameters=[mu, sigma])
    run = simulate(
        timed,
        parameters={mu: 0.5, sigma: 0.4},
        observables={"error": exact},
        scheme="sriw1",
        keep="paths",
        **SETTINGS | {"dt": 0.01},
    )
    assert run.error.values[:, 0] == pytest.approx(np.zeros(40)) and 0 < np.abs(run.error.values).max() < 2e-3
    assert set(run.data_vars) == {"X", "error", "exploded"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"parameters\[mu\]: every parameter of the SDE needs one value; got nothing"),
        ({mu: 1.0}, r"parameters\[sigma\]: every parameter"),
        ({mu: 1.0, sigma: np.nan}, r"parameters\[sigma\]: must be a finite number or a list of them; got nan"),
        ({mu: "1", sigma: "a"}, r"parameters\[sigma\]: must be a finite number"),
        ({mu: 1.0, sigma: []}, r"parameters\[sigma\]: must be a finite number"),
        ({mu: 1.0, sigma: [[1.0]]}, r"parameters\[sigma\]: must be a finite number"),
        ({mu: 1.0, sigma: 1.0, "nu": 2.0}, r"parameters\[nu\]: must name a parameter of the SDE; got 'nu'"),
    ],
)
def test_parameters_must_be_given(given: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sde.api.prepared_run.load", lambda *_: pytest.fail("compiled before refusing"))
    with pytest.raises(ValueError, match=message):
        simulate(GBM, parameters=given, **SETTINGS)


def test_a_drift_that_fails_on_the_way_is_an_explosion_of_the_paths_it_meets() -> None:
    """dX = sqrt(X) ... dW from 0.05: a path that goes below 0 has no drift; it is named with its time, the others go
    on."""
    sde = SDE([X], [sp.sqrt(X)], [[1]])
    with pytest.warns(RuntimeWarning, match="paths exploded"):
        run = simulate(sde, start={X: 0.5}, time=1.0, dt=0.1, paths=200, save_at=11, keep="paths")
    gone = np.isfinite(run.explosion_time.values)
    assert 0 < gone.sum() < 200 and run.exploded.values[-1] == gone.sum()
    for path in np.flatnonzero(gone)[:20]:
        step = round(float(run.explosion_time.values[path]) / 0.1)
        assert run.X.values[path, step - 1] < 0 and np.isnan(run.X.values[path, step:]).all()
    assert (run.X.values[~gone][:, :-1] >= 0).all()


def test_newtons_method_that_does_not_converge_is_an_explosion() -> None:
    """x' = x + h (1 + x'^2) has no solution for h = 1: no number may come out."""
    sde = SDE([X], [1 + X**2], [[0]])
    with pytest.warns(RuntimeWarning, match="2 of 2 paths exploded"):
        run = simulate(sde, start={X: 1.0}, time=1.0, dt=1.0, paths=2, save_at=2, scheme="implicit-euler")
    assert run.exploded.values.tolist() == [0, 2]


def test_the_implicit_scheme_is_stable_where_the_explicit_is_not() -> None:
    stiff: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "dt": 0.1, "paths": 500, "save_at": 2, "keep": "paths"}
    sde = SDE([X], [-1000 * X**3], [[1]])
    run = simulate(sde, scheme="implicit-euler", **stiff)
    assert run.exploded_paths == 0 and np.abs(run.X.values[:, -1]).max() < 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert simulate(sde, **stiff).exploded_paths == 500


@pytest.mark.parametrize("scheme", ["tamed-euler", "implicit-euler", "sra1"])
def test_the_double_wells_stationary_law(scheme: str) -> None:
    """p(x) ~ exp(2 (x^2/2 - x^4/4)/sigma^2): Kolmogorov-Smirnov at 5000 paths, not rejected at 1 %."""
    strength = 0.7
    run = simulate(
        SDE([X], [X - X**3], [[strength]]),
        start={X: np.linspace(-1.5, 1.5, 5000)},
        time=30.0,
        dt=0.01,
        paths=5000,
        seed=2,
        save_at=2,
        keep="paths",
        scheme=scheme,
    )
    grid = np.linspace(-3, 3, 4001)
    law = integrate.cumulative_simpson(np.exp((grid**2 - grid**4 / 2) / strength**2), x=grid, initial=0)
    assert stats.kstest(run.X.values[:, -1], lambda x: np.interp(x, grid, law / law[-1])).pvalue > 0.01


def test_cox_ingersoll_rosss_law() -> None:
    """A scaled noncentral chi-square (Cox, Ingersoll, Ross 1985): Kolmogorov-Smirnov at 1 %, and Euler's coarse step
    rejected."""
    k, theta, v, x0, time = 2.0, 1.0, 0.5, 1.5, 1.0
    scale = v**2 * (1 - np.exp(-k * time)) / (4 * k)
    law = stats.ncx2(4 * k * theta / v**2, x0 * np.exp(-k * time) / scale, scale=scale)
    sde = SDE([X], [k * (theta - X)], [[v * sp.sqrt(X)]])
    settings: dict[str, Any] = {
        "start": {X: x0},
        "time": time,
        "paths": 20_000,
        "save_at": 2,
        "keep": "paths",
        "seed": 4,
    }
    found = []
    for scheme, dt in (("sriw1", 0.02), ("milstein", 0.01), ("euler-maruyama", 0.25)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            end = simulate(sde, scheme=scheme, dt=dt, **settings).X.values[:, -1]
        found.append(stats.kstest(end[np.isfinite(end)], law.cdf).pvalue)
    assert found[0] > 0.01 and found[1] > 0.01 and found[2] < 1e-4


def test_mean_exit_time_of_brownian_motion() -> None:
    """From 0 out of (-1, 1): E tau = 1. Seen at steps only, it is late as if the walls were further out by 0.5826
    sqrt(dt) (Asmussen, Glynn, Pitman 1995; Gobet 2000): (1 + 0.5826 sqrt(dt))^2 within 4 standard errors and 2 dt."""
    for dt in (0.02, 0.005):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = simulate(
                SDE([X], [0], [[1]]), start={X: 0.0}, time=12.0, dt=dt, paths=20_000, bound=1.0, save_at=2, keep="paths"
            )
        exit_time = run.explosion_time.values
        assert np.isfinite(exit_time).all()
        error = exit_time.mean() - (1 + 0.5826 * np.sqrt(dt)) ** 2
        assert abs(error) < 4 * exit_time.std() / np.sqrt(len(exit_time)) + 2 * dt
        assert exit_time.mean() - 1 > 0.5 * 1.165 * np.sqrt(dt)


@pytest.mark.parametrize(
    "scheme", ["tamed-euler", "milstein-levy", "platen-weak-2", "implicit-euler", "orbit-splitting"]
)
def test_a_loss_runs_under_other_schemes(scheme: str) -> None:
    """The same law as Euler-Maruyama's at a small step: means within 5 standard errors, and the loss's own names and
    shapes."""
    loss = LIBRARY["rescaling"].build()
    settings: dict[str, Any] = {
        "start": {"u": 1.2, "w": 0.6},
        "time": 1.0,
        "dt": 0.02,
        "paths": 4000,
        "save_at": 2,
        "keep": "paths",
    }
    found = simulate(loss, SGD(0.02, weight_decay=0.1), scheme=scheme, seed=1, **settings)
    expected = simulate(loss, SGD(0.02, weight_decay=0.1), seed=2, **settings | {"dt": 0.005})
    assert set(found.data_vars) == {"u", "w", "exploded"} and found.attrs["scheme"].startswith(scheme)
    for name in ("u", "w"):
        a, b = found[name].values[:, -1], expected[name].values[:, -1]
        assert abs(a.mean() - b.mean()) < 5 * np.hypot(a.std(), b.std()) / np.sqrt(4000)
        assert a.std() == pytest.approx(b.std(), rel=0.12)


@pytest.mark.slow
def test_matrix_parameters_keep_their_shape_under_other_schemes() -> None:
    entry = LIBRARY["matrix-factorization"]
    loss = entry.build()
    run = simulate(
        loss, SGD(0.01), start=dict(entry.start), time=0.02, dt=0.01, paths=5, save_at=2, scheme="tamed-euler"
    )
    assert all(run[p.name].shape[2:] == p.shape for p in loss.parameters)
