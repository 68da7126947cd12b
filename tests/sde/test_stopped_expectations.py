"""Expectations of paths that stop, and of events: against closed forms, over seeds, bits, and what is refused."""

from __future__ import annotations

from math import erf, exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad

from sde import SDE, InputError, Jump, expectation, simulate
from sde.api.event_functions import event_function
from sde.api.level_paths import LevelPaths
from sde.settings import Gather
from symbolic import running
from tests.sde.executors import Backwards
from tests.sde.test_expectation import same

X, K, s = sp.symbols("X K s", real=True)
DRIFTING = SDE([X], [1], [[1]], time=s, name="drifting")
EXIT: dict[str, Any] = {"events": {"up": X > 1, "down": -1 - X}, "stop": "first"}
FROM: dict[str, Any] = {"start": {X: 0.0}, "time": 12.0}
FUNCTIONS = {"P": "up", "time": s, "place": X}
UP, MEAN = 1 / (1 + exp(-2)), np.tanh(1.0)
"""Of dX = dt + dW from (-1, 1): P(up first) and the mean exit time."""
MARKET = SDE([X], [X / 20], [[X / 5]], name="market", parameters=[K])


def cdf(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


@pytest.mark.parametrize(
    ("scale", "seeds"),
    [(4.0, 8), pytest.param(1.0, 16, marks=pytest.mark.slow), pytest.param(2.0, 64, marks=pytest.mark.slow)],
)
def test_the_error_is_what_was_asked(scale: float, seeds: int) -> None:
    """P(up first), E min(tau, T) and E X_tau, which is the mean exit time too: root mean square over seeds at most the
    tolerance (chi-square, 4 standard errors) and at least a fifth of it; intervals hold the exact values."""
    asked = {"P": 0.005 * scale, "time": 0.01 * scale, "place": 0.02 * scale}
    exact = {"P": UP, "time": MEAN, "place": MEAN}
    found = [expectation(DRIFTING, FUNCTIONS, tolerance=asked, seed=seed, **FROM, **EXIT) for seed in range(seeds)]
    for name, tolerance in asked.items():
        gaps = np.array([e[name].value - exact[name] for e in found])
        assert 0.2 * tolerance < np.sqrt((gaps**2).mean()) < tolerance * (1 + 4 / np.sqrt(2 * seeds)), name
        held = np.mean([e[name].interval[0] <= exact[name] <= e[name].interval[1] for e in found])
        assert held > 0.95 - 4 * np.sqrt(0.95 * 0.05 / seeds), name


@pytest.mark.slow
def test_a_bias_of_bridges_is_seen() -> None:
    """Where noise hangs on the state: mean exit times of geometric Brownian motion from (1/2, 2), L tanh(m L)/m with
    m = mu - 1/2 and L = log 2. Levels differ by dt^(1/2) in variance."""
    m, width, seeds, tolerance = -0.3, log(2), 16, 0.005
    growth = SDE([X], [X / 5], [[X]], time=s)
    given: dict[str, Any] = {
        "start": {X: 1.0},
        "time": 20.0,
        "events": {"up": X - 2, "down": 0.5 - X},
        "stop": "first",
        "levels": 16,
    }
    found = [expectation(growth, s, tolerance=tolerance, seed=seed, **given) for seed in range(seeds)]
    gaps = np.array([e.value - width / m * np.tanh(m * width) for e in found])
    assert 0.2 * tolerance < np.sqrt((gaps**2).mean()) < tolerance * (1 + 4 / np.sqrt(2 * seeds))
    assert np.mean([abs(gap) < e.interval[1] - e.value for gap, e in zip(gaps, found, strict=True)]) > 0.7
    assert 0.4 < np.mean([e.decay_seen[0] for e in found if e.decay_seen]) < 0.6


def test_stops_before_the_end() -> None:
    """P(tau <= 1/2) by the heat equation's eigenfunctions, under Girsanov's weight."""
    rest = 0.0
    for n in range(1, 60):
        k = n * np.pi / 2
        over = k * (np.exp(1) - np.cos(n * np.pi) * np.exp(-1)) / (k * k + 1)  # of e^x sin(k (1 - x)), over (-1, 1)
        rest += np.sin(k) * over * np.exp(-(k * k / 2 + 0.5) * 0.5)
    found = expectation(DRIFTING, "stop", tolerance=0.01, start={X: 0.0}, time=0.5, **EXIT)
    assert abs(found.value - (1 - rest)) < 0.04 and found.functional == "stop" and 0.1 < rest < 0.9


@pytest.mark.slow
def test_a_barrier_that_stops_nothing() -> None:
    """An up-and-out call, by reflection (Reiner and Rubinstein 1991), and P(hit): `out` is a symbol of f."""
    out, r, v, barrier, strike = sp.Symbol("out"), 0.05, 0.2, 1.3, 1.0
    nu = r - v * v / 2

    def below(m: float, weight: float) -> float:
        """E e^(weight Y) 1(Y_1 < m, max Y < log barrier) of Y_t = nu t + v W_t."""
        b, mean, gain = log(barrier), nu + weight * v * v, exp(weight * nu + weight**2 * v * v / 2)
        image = exp(2 * mean * b / v**2)
        return gain * (cdf((m - mean) / v) - image * cdf((m - 2 * b - mean) / v))

    b, k = log(barrier), log(strike)
    price = below(b, 1) - below(k, 1) - strike * (below(b, 0) - below(k, 0))
    functions = {"call": (1 - out) * sp.Max(X - K, 0), "hit": "out"}
    given: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "parameters": {K: strike}, "events": {"out": X - barrier}}
    found = expectation(MARKET, functions, tolerance={"call": 0.002, "hit": 0.01}, **given)
    assert abs(found["call"].value - price) < 4 * 0.002 and 0.02 < price < 0.06
    assert abs(found["hit"].value - (1 - below(b, 0))) < 4 * 0.01
    curve = expectation(
        MARKET, functions, tolerance={"call": 0.005, "hit": 0.01}, **given | {"parameters": {K: [1.0, 1.1]}}
    )
    assert curve.call.dims == ("estimate", "K") and (np.diff(curve.hit.sel(estimate="value")) == 0).all()


@pytest.mark.slow
def test_looks_after_steps_have_order_one_half() -> None:
    found = expectation(DRIFTING, s, tolerance=0.05, crossings="steps", levels=16, start={X: 0.0}, time=4.0, **EXIT)
    assert found.order == 0.5 and abs(found.value - MEAN) < 4 * 0.05
    assert expectation(DRIFTING, s, tolerance=0.05, **FROM, **EXIT).order == 1.0


def test_the_first_levels_paths_are_simulates() -> None:
    whole = simulate(DRIFTING, time=1.0, dt=0.125, paths=500, seed=7, scheme="milstein", save_at=2, keep="paths",
                     check=False, start={X: 0.0}, **EXIT)  # fmt: skip
    dated = ["up", "down", "stop"]
    functions = {name: event_function("f", f, dated) for name, f in FUNCTIONS.items()}
    paths = LevelPaths(DRIFTING, functions, {X: 0.0}, time=1.0, scheme="milstein", parameters=None, steps=8, refine=2,
                       seed=7, dtype="float64", threads=None, bound=None, gather=Gather(**EXIT))  # fmt: skip
    up, t, x = (paths(0, 0, 500, False, which=k)[0] for k in range(3))
    assert np.array_equal(x, whole.X.values[:, -1]) and np.array_equal(up, np.isfinite(whole.up_time.values))
    stopped = np.isfinite(whole.stop_time.values)
    assert np.array_equal(t, np.where(stopped, whole.stop_time.values, 1.0)) and 100 < stopped.sum() < 500
    one, more = paths(3, 0, 300, True, which=1), LevelPaths.__call__(paths, 3, 100, 200, True, 1)
    assert all(np.array_equal(a[100:], b) for a, b in zip(one, more, strict=True))
    fine, coarse = (np.asarray(v) for v in one)
    assert 0.2 < np.corrcoef(fine, coarse)[0, 1] < 1 and 0.1 < (fine == 1).mean() < 0.9


def test_functions_name_events() -> None:
    """By name, or as symbols of an expression, whatever is assumed of these."""
    a, b = sp.Symbol("up"), sp.Symbol("down", real=True)
    found = event_function("f", a * X + b * (1 - a), ["up", "down"])
    values = np.array([[float(form.subs(X, 7))] * 4 for form in found.forms])
    happened = np.array([[False, True, False, True], [False, False, True, True]])
    assert found.at(values, happened).tolist() == [0.0, 7.0, 1.0, 7.0]
    assert event_function("f", X, ["up"]).forms == (X,) and event_function("f", "up", ["up"]).forms == (0, 1)


def test_bits(tmp_path: Path) -> None:
    given: dict[str, Any] = {"tolerance": 0.05, **FROM, **EXIT}
    both = expectation(DRIFTING, {"P": "up", "place": X}, **given)
    alone = expectation(DRIFTING, "up", threads=1, **given)
    assert same(alone, expectation(DRIFTING, "up", threads=3, checkpoint=tmp_path / "a", **given))
    assert same(alone, expectation(DRIFTING, "up", checkpoint=tmp_path / "a", **given))
    assert both["P"].value == alone.value and both["P"].path_steps == alone.path_steps
    with pytest.raises(InputError, match="checkpoint"):
        expectation(DRIFTING, "up", checkpoint=tmp_path / "a", **given | {"stop": ["up"]})


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", Backwards()])
def test_bits_of_executors(executor: Any) -> None:
    given: dict[str, Any] = {"tolerance": 0.02, "threads": 2, **FROM, **EXIT}
    found = expectation(DRIFTING, "up", executor=executor, **given)
    assert same(expectation(DRIFTING, "up", **given), found)


@pytest.mark.slow
def test_extremes_until_a_stop() -> None:
    """The maximum of a Brownian motion when it first lies 1 below it is exponential of mean 1."""
    walk = SDE([X], [0], [[1]])
    fell = {"fell": running(max, X) - X > 1}
    found = expectation(walk, running(max, X), tolerance=0.05, start={X: 0.0}, time=20.0, events=fell, stop="first")
    assert abs(found.value - 1) < 4 * 0.05


WILD = SDE([X], [X**3], [[1]], name="wild")
MANY = {name: X - k for k, name in enumerate("abcde")}


@pytest.mark.parametrize(
    ("f", "changes", "message"),
    [
        ("left", {}, "expectation.f: must be one SymPy expression of the states; got 'left'"),
        ("up", {"events": None, "stop": None}, "expectation.f: must be one SymPy expression of the states; got 'up'"),
        (X, {"events": None}, "stop: needs events to stop at"),
        (X, {"stop": ["sideways"]}, "stop: must name events"),
        (X, {"events": {"K": X > 1}}, r"events\[K\]: a name must be new text; got 'K'"),
        (X, {"events": {"X": X > 1}}, r"events\[X\]: a name must be new text"),
        (X, {"events": {"up": sp.Symbol("Q") > 1}}, r"events\[up\]: may use the problem's symbols"),
        (X, {"events": [X > 1]}, "events: must be a mapping"),
        ("up", {"stop": None, "crossings": "steps"}, "crossings: looks after steps at events that stop paths"),
        (X, {"scheme": "adaptive-euler"}, "expectation.scheme: levels need steps that are the same"),
        (sum(sp.symbols(list(MANY))), {"events": MANY}, "one function may name 4"),
        ("up", {"sde": SDE([X], [0], [[1]], jumps=[Jump({X: 0}, rate=1)])}, "jumps: only simulate runs them"),
        pytest.param(
            sp.log(X - 5), {"sde": DRIFTING}, "expectation.f: must be finite; got nan", marks=pytest.mark.slow
        ),
        pytest.param(
            "low",
            {"sde": WILD, "start": {X: 9.0}, "events": {"low": X < 1}},
            "no path may explode; got",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_refused(f: Any, changes: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"sde": MARKET, "tolerance": 0.1, "parameters": {K: 1.0}, **FROM, **EXIT} | changes
    sde = settings.pop("sde")
    settings |= {} if sde is MARKET else {"parameters": None}
    with pytest.raises(InputError, match=message):
        expectation(sde, f, **settings)


def test_a_generous_time_misleads_no_bias() -> None:
    """P(up first) of an Ornstein-Uhlenbeck process turns about at steps near its relaxation time: differences of levels
    pass through 0 there, and looked like a bias that has died out on these seeds."""
    t = sp.Symbol("t", real=True)
    sde = SDE([X], drift=[-X], diffusion=[[0.8]], time=t)
    events, tolerance = {"up": X > 1.5, "down": X < -1}, 0.03
    scale, _ = quad(lambda y: np.exp(y**2 / 0.64), -1, 0.2)
    exact = scale / quad(lambda y: np.exp(y**2 / 0.64), -1, 1.5)[0]
    for steps in (None, 1):
        asked = {"start": {X: 0.2}, "time": 40.0, "events": events, "stop": "first", "steps": steps}
        found = [expectation(sde, "up", tolerance=tolerance, seed=s, **asked) for s in (0, 9, 12, 15, 17, 18)]
        errors = np.array([f.value - exact for f in found]) / tolerance
        assert np.sqrt(np.mean(errors**2)) < 1.5 and np.abs(errors).max() < 2.5
        assert all(f.levels[-1].dt < 0.25 for f in found)


@pytest.mark.parametrize("f", ["log(1 - up)", "up/(up + down)", "X/up"])
def test_what_is_no_number_with_an_event_is_refused(f: str) -> None:
    up, down = sp.symbols("up down")
    f = sp.sympify(f, locals={"up": up, "down": down, "X": X})
    with pytest.raises(InputError, match=r"expectation\.f: must be a number with and without .* where .*up = [01]"):
        expectation(
            DRIFTING, f, tolerance=0.1, start={X: 0.0}, time=1.0, events={"up": X > 1, "down": X < -1}, stop="first"
        )
