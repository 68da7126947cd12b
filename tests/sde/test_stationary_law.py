"""The stationary law of SGD on (u w x - y)^2 below T_c (docs/theory.md eq. (5.3)), where plain Euler-Maruyama explodes.

x ~ N(0, 1), y = x + N(0, 1/4), T = 0.1, T_c = 4/9. The law is of the balanced branch u = w > 0, and has no fourth
moment: laws are compared, by Kolmogorov and Smirnov. Relaxation is done by t = 10 from u = w = 1 (the same at 20 and
60).
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sde import SGD, simulate
from sde.engine.dataset import ExplosionWarning
from symbolic.library import LIBRARY
from symbolic.predictions.stationary import StationaryLaw, stationary_law
from symbolic.schemes import orbit_splitting

ALPHA = 0.01
STEPS = {"orbit-splitting": 0.0025, "adaptive-euler": 0.0025}
"""Schemes that must find the law, and a step whose bias in the distribution function is well below 0.005, what 10^5
paths resolve."""
BALANCED, UNBALANCED = (1.0, 1.0), (2.0, -0.5)


def law(temperature: float = 0.1, noise: float = 0.5) -> StationaryLaw:
    return stationary_law(LIBRARY["rescaling"].build(noise), SGD(temperature))


@functools.cache
def ends(
    scheme: str, dt: float, paths: int, start: tuple[float, float] = BALANCED, time: float = 10.0, seed: int = 1
) -> Any:
    return simulate(
        LIBRARY["rescaling"].build(),
        SGD(0.1),
        start={"u": start[0], "w": start[1]},
        time=time,
        dt=dt,
        paths=paths,
        seed=seed,
        scheme=scheme,
        save_at=2,
        keep="paths",
    ).isel(time=-1)


def p_value(run: Any, expected: StationaryLaw) -> float:
    v = run.u.values * run.w.values
    return float(stats.kstest(v[np.isfinite(v)], expected.cdf).pvalue)


def assert_the_law_is_found(run: Any) -> None:
    """Every path is there, the law is not rejected; one 10 % hotter, or with 10 % more label noise, is."""
    assert run.attrs["exploded_paths"] == 0
    assert p_value(run, law()) > ALPHA
    assert p_value(run, law(temperature=0.11)) < ALPHA and p_value(run, law(noise=0.55)) < ALPHA


@pytest.mark.parametrize(
    "scheme", [pytest.param(s, marks=pytest.mark.slow if s == "adaptive-euler" else ()) for s in STEPS]
)
def test_the_law_is_found(scheme: str) -> None:
    run = ends(scheme, STEPS[scheme], 30_000)
    assert_the_law_is_found(run)
    assert np.array_equal(run.u, run.w)
    assert (run.u > 0).all() or scheme != "orbit-splitting"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", STEPS)
def test_the_law_is_found_by_many_paths(scheme: str) -> None:
    assert_the_law_is_found(ends(scheme, STEPS[scheme], 100_000))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", STEPS)
def test_the_law_is_reached_from_off_the_branch(scheme: str) -> None:
    """From v = -1 paths cross to v > 0 and the charge dies out (rate 4 T C_2(v) >= 0.1): by t = 30 the law is the
    branch's."""
    run = ends(scheme, STEPS[scheme], 40_000, UNBALANCED, 30.0)
    assert_the_law_is_found(run)
    assert np.abs(run.u**2 - run.w**2).max() < 3.75 * np.exp(-4 * 0.1 * 0.25 * 30)


@pytest.mark.parametrize(
    ("scheme", "paths"),
    [
        ("orbit-splitting", 4_000),
        ("adaptive-euler", 500),
        pytest.param("adaptive-euler", 4_000, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("start", [(100.0, 100.0), (10.0, -9.0)])
def test_paths_come_back_from_far_out(scheme: str, paths: int, start: tuple[float, float]) -> None:
    """Where a step's rates are a thousand times what the step can hold."""
    run = ends(scheme, 0.01, paths, start, 40.0)
    assert run.attrs["exploded_paths"] == 0 and p_value(run, law()) > ALPHA


@pytest.mark.parametrize("scheme", STEPS)
def test_no_path_is_captured_at_zero(scheme: str) -> None:
    """At any step: the law has 1e-10 of its mass below 1e-6."""
    for dt in (0.1, 0.02):
        run = ends(scheme, dt, 5_000)
        assert run.attrs["exploded_paths"] == 0 and (run.u * run.w > 1e-6).all()


def test_held_rates_without_a_limit_capture_paths_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the scheme would do far out if it took no account of how its rates change."""
    monkeypatch.setattr(orbit_splitting, "change", lambda *_: orbit_splitting.sp.S.Zero)
    run = ends.__wrapped__("orbit-splitting", 0.02, 5_000)
    assert ((run.u * run.w) < 1e-6).sum() > 5


def test_plain_euler_maruyama_explodes_and_says_so() -> None:
    """About a tenth of the paths by t = 60: warned of, counted, flagged with their time, and no number of theirs
    left."""
    with pytest.warns(ExplosionWarning, match="of 2000 paths exploded"):
        run = ends("euler-maruyama", 0.01, 2000, time=60.0)
    gone = np.isfinite(run.explosion_time.values)
    assert 100 < run.attrs["exploded_paths"] < 400 and gone.sum() == run.exploded == run.attrs["exploded_paths"]
    assert np.isnan(run.u.values[gone]).all() and np.isfinite(run.u.values[~gone]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ends("orbit-splitting", 0.01, 2000, time=60.0).attrs["exploded_paths"] == 0
