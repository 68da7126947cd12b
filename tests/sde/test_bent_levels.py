"""Levels that are not linear, and levels of states that have a domain: what their bridges see between steps, against
closed forms at any step. Alpha is 7e-6 a number (4.5 standard errors)."""

from __future__ import annotations

from math import erfc, log, pi, sqrt
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad

from sde import SDE, Jump, expectation, simulate
from symbolic import running

X, Y, V, N, s = sp.symbols("X Y V N s", real=True)
WALK = SDE([X], [0], [[1]], time=s)
PLANE = SDE([X, Y], [0, 0], [[1, 0], [0, 1]])
PATHS = 8000
SMALL = sp.Rational(1, 1000)
LOG = sp.log(sp.Max(X, SMALL))
WRITTEN = {
    "log": LOG > 0, "exp": sp.exp(X) > sp.E, "cube": X**3 > 1, "atan": sp.atan(X) > sp.pi / 4, 
    "clip": sp.Max(X, 0) >= 1,
    "falling": sp.exp(-4 * X) < sp.exp(-4), "kink": sp.Piecewise((X - 1, X < 1), (9 * X - 9, True)) > 0,
    "timed": (X - 1) * sp.exp(s) > 0, "flat": (X - 1) ** 3 > 0, "root": sp.sqrt(sp.Max(X, 0)) > 1,
}  # fmt: skip
"""X > 1 in other words."""


def near(count: Any, chance: float, paths: int = PATHS) -> bool:
    return abs(float(count) - paths * chance) < 4.5 * sqrt(paths * chance * (1 - chance))


def run(sde: SDE, start: Any, paths: int = PATHS, **options: Any) -> Any:
    return simulate(sde, start=start, paths=paths, **{"time": 1.0, "dt": 0.25, "seed": 3, "check": False} | options)


def leaves(a: float, b: float, time: float) -> float:
    """P(a Brownian motion from 0 leaves (-a, b) until a time), by its sines."""
    k, width = np.arange(1, 400, 2), a + b
    inside = 4 / (k * pi) * np.sin(k * pi * a / width) * np.exp(-((k * pi / width) ** 2) * time / 2)
    return 1 - float(inside.sum())


@pytest.mark.slow
def test_it_does_not_matter_how_a_level_is_written() -> None:
    """docs/theory.md eq. (6.16): P(W > 1 before time 1) = erfc(1/sqrt 2) at steps of 1/4, in any words."""
    found = run(WALK, {X: 0}, events=WRITTEN | {"linear": X > 1})
    for name in (*WRITTEN, "linear"):
        assert near(found[f"{name}_count"].values[-1], erfc(sqrt(0.5))), name
    assert found.attrs["crossings"] == "bridge"


@pytest.mark.parametrize("name", ["log", "exp", "clip", "falling", "kink"])
def test_crossings_have_the_same_dates_in_any_words(name: str) -> None:
    """The same words of random numbers decide and date them; stops are on the level."""
    options: dict[str, Any] = {"stop": "first", "keep": "paths", "time": 3.0, "paths": 400}
    one, two = (run(WALK, {X: 0}, events={"up": event}, **options) for event in (X > 1, WRITTEN[name]))
    assert two.up_time.values == pytest.approx(one.up_time.values, abs=1e-6, nan_ok=True)
    assert two.X.values == pytest.approx(one.X.values, abs=1e-6)
    stopped = np.isfinite(two.stop_time.values)
    assert 100 < stopped.sum() < 300 and two.X.values[stopped, -1] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("condition", [LOG > 0, sp.exp(X) > sp.E])
def test_changes_do_not_depend_on_the_words_of_their_condition(condition: sp.Rel) -> None:
    one, two = (
        run(SDE([X, N], [1, 0], [[1], [0]], jumps=[Jump({X: 0, N: N + 1}, when=when)]), {X: 0, N: 0}, 400, keep="paths")
        for when in (X > 1, condition)
    )
    assert two.N.values.tolist() == one.N.values.tolist() and one.N.values[:, -1].max() > 1
    assert two.X.values == pytest.approx(one.X.values, abs=1e-6)


@pytest.mark.parametrize("event", [X**2 > 1, sp.Abs(X) ** 3 > 1, sp.cos(X) < sp.cos(1), X**4 + X**2 > 2])
def test_both_sides_of_a_state_are_seen(event: sp.Rel) -> None:
    """P(W leaves (-1, 1) until 1), off by what one step meets on both sides."""
    found = run(WALK, {X: 0}, events={"out": event}, dt=0.05)
    assert near(found.out_count.values[-1], leaves(1, 1, 1.0))


@pytest.mark.parametrize("event", [sp.log(V) > log(0.25), 1 / V < 4, sp.sqrt(V) > 0.5, sp.Rational(1, 16) < V**2])
def test_a_square_root_diffusion_reaches_a_level_in_any_words(event: sp.Rel) -> None:
    """dV = dt + 2 sqrt(V) dW is W^2, V > 1/4 where |W| > 1/2: of order dt, which is within the error here, where
    excesses taken for bridges are 13 % off and more, the more the smaller dt is."""
    sde = SDE([V], [1], [[2 * sp.sqrt(V)]], domain={V: "nonnegative"})
    found = run(sde, {V: 0.04}, dt=0.002, time=0.2, events={"up": event})
    assert near(found.up_count.values[-1], leaves(0.7, 0.3, 0.2))


@pytest.mark.parametrize("event", [X**2 + Y**2 > 1, sp.sqrt(X**2 + Y**2) > 1, sp.log(X**2 + Y**2) > 0])
def test_exits_from_a_disc(event: sp.Rel) -> None:
    """E of the first exit of W from the unit disc, from (0.3, 0): (1 - 0.09)/2; stops are on the circle."""
    found = run(PLANE, {X: 0.3, Y: 0}, dt=0.01, time=12.0, events={"out": event}, stop="first", keep="paths", save_at=2)
    times, radius = found.stop_time.values, np.hypot(found.X.values[:, -1], found.Y.values[:, -1])
    assert abs(times.mean() - 0.455) < 4.5 * times.std() / sqrt(PATHS) + 0.01 * 0.455
    assert radius == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
def test_extremes_of_what_is_not_linear() -> None:
    """docs/theory.md eq. (6.17): of monotone functions those of the extreme, at any step: max W is |W(1)| in law."""
    f = {"log": LOG, "exp": sp.exp(X), "cube": X**3, "clip": sp.Max(X, sp.Rational(1, 2)), "falling": -sp.exp(-X)}
    found = run(WALK, {X: 0}, observables={name: running(max, e) for name, e in f.items()})
    for name, e in f.items():
        g = sp.lambdify(X, e, "math")
        exact = quad(lambda m, g=g: g(m) * sqrt(2 / pi) * np.exp(-m * m / 2), 0, 12, points=[0.001, 0.5])[0]
        mean, sem = found[name].sel(statistic=["mean", "sem"]).values[:, -1]
        assert abs(mean - exact) < 4.5 * sem, (name, mean, exact, sem)


def test_least_values_of_what_is_not_linear() -> None:
    """min of e^W is e^(min W), and min of |W - 5|^2 is (min |W - 5|)^2 where W stays below."""
    observed = {"exp": running(min, sp.exp(X)), "square": running(min, (X - 9) ** 2)}
    found = run(WALK, {X: 0}, observables=observed)
    for name, g in (("exp", lambda m: np.exp(-m)), ("square", lambda m: (m - 9) ** 2)):
        exact = quad(lambda m, g=g: g(m) * sqrt(2 / pi) * np.exp(-m * m / 2), 0, 12)[0]
        mean, sem = found[name].sel(statistic=["mean", "sem"]).values[:, -1]
        assert abs(mean - exact) < 4.5 * sem, name


def test_logarithms_of_geometric_brownian_motion_are_exact() -> None:
    """log S is stepped, so that log S > log K is exact at any step, and so are other words for it."""
    sde = SDE([V], [V / 20], [[V * 2 / 5]], domain={V: "nonnegative"})
    events = {"log": sp.log(V) > sp.log(1.5), "square": V**2 > 2.25, "inverse": sp.Rational(2, 3) > 1 / V}
    found, m, b, v = run(sde, {V: 1}, events=events), 0.05 - 0.08, log(1.5), 0.4
    phi = lambda z: erfc(-z / sqrt(2)) / 2  # noqa: E731
    exact = phi((m - b) / v) + np.exp(2 * m * b / v**2) * phi((-b - m) / v)
    for name in events:
        assert near(found[f"{name}_count"].values[-1], exact), name


def test_levels_without_a_value_are_seen_at_the_ends() -> None:
    """log X has none at X < 0, 1/(X - 3) is infinite at 3: no path is lost, and what has a value is seen."""
    events = {"log": sp.log(X) > 0, "pole": -sp.Rational(1, 2) > 1 / (X - 3)}
    found = run(WALK, {X: 0.5}, events=events, observables={"top": running(max, 1 / (X - 3))}, dt=0.01)
    assert found.exploded.values[-1] == 0 and found.log_count.values[-1] > 0.55 * PATHS
    assert near(found.pole_count.values[-1], erfc(0.5 / sqrt(2)))


def test_levels_that_jump_are_looked_at_after_steps() -> None:
    """Heaviside has no slope to take a variance of: such an event is the one seen at the steps' ends."""
    found = run(WALK, {X: 0}, events={"jump": sp.Heaviside(X - 1) > sp.Rational(1, 2), "up": X > 1})
    steps = run(WALK, {X: 0}, events={"up": X > 1}, crossings="steps")
    assert found.attrs["crossings"] == "bridge; steps: jump"
    assert found.jump_count.values.tolist() == steps.up_count.values.tolist()
    assert near(found.up_count.values[-1], erfc(sqrt(0.5)))


@pytest.mark.slow
def test_expectations_of_crossings_in_other_words() -> None:
    found = expectation(WALK, "up", tolerance=0.01, start={X: 0}, time=1.0, events={"up": LOG > 0}, seed=3)
    low, high = found.interval
    assert low - 0.005 < erfc(sqrt(0.5)) < high + 0.005
