"""Events and running extremes of the largest and smallest of several states: tied ones, and those that ask for all."""

from __future__ import annotations

from math import erfc
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad, trapezoid
from scipy.special import ive

from sde import SDE, InputError, Jump, expectation, simulate
from sde.api.passages import passages
from sde.settings import Gather
from symbolic import running, states
from symbolic.arrays.evaluation import evaluate
from symbolic.arrays.extremes import led as led_array
from symbolic.dynamics.extremes import led, slope
from symbolic.schemes import find

x, y, z, r = sp.symbols("x y z r", real=True)
q = sp.Symbol("q", positive=True)
X, F = states("X", (3,)), states("F", (3,))
SCALARS = SDE([x, y, z], [0] * 3, [[0.5]] * 3, parameters=[q, r])
ARRAY = SDE([X, F], [0, 0], [0.5, 0])
TIED: dict[str, Any] = {"start": {x: 0, y: 0, z: 0}, "parameters": {q: 1, r: 1}, "time": 1.0, "check": False,
                        "save_at": 2}  # fmt: skip


def crossings(sde: SDE, events: Any, how: str | None = None) -> str:
    named = events if isinstance(events, dict) else {"e": events}
    made = passages(sde, None, Gather(events=named, stop="first", crossings=how), find("euler-maruyama")[0])
    assert made is not None
    return made.crossings


@pytest.mark.slow
def test_tied_states_have_the_bridge_of_one() -> None:
    """Three states of the same noise are one: P(max over [0, 1] > 0.4) of 0.5 W is 2 P(0.5 W_1 > 0.4), at any dt."""
    exact, n = erfc(0.4 / 0.5 / np.sqrt(2)), 10_000
    events = {"max": sp.Max(x, y, z) > 0.4, "nested": 2 * x - sp.Min(x, 3 * x - 2 * sp.Max(x, y, z), z) > 0.4}
    run = simulate(SCALARS, dt=0.5, paths=n, events=events, observables={"top": running(max, sp.Max(x, y, z))}, **TIED)
    for name in events:
        assert abs(run[f"{name}_count"].values[-1] / n - exact) < 4 * np.sqrt(exact * (1 - exact) / n), name
    assert crossings(SCALARS, events) == "bridge"
    mean, sem = run.top.sel(statistic=["mean", "sem"]).values[:, -1]
    assert abs(mean - 0.5 * np.sqrt(2 / np.pi)) < 4 * sem


@pytest.mark.parametrize("f", [sp.Max(x, y, z), sp.Min(x, y, z, 5), x * sp.Max(y, sp.Min(x, y, 2 * z)), sp.Max(x, y)])
def test_slopes_are_sympys_where_no_entries_are_equal(f: sp.Expr) -> None:
    for at in np.random.default_rng(0).normal(size=(20, 3)):
        point = dict(zip((x, y, z), map(sp.Float, at), strict=True))
        for s in (x, y, z):
            assert slope(f, s).subs(point) == sp.diff(f, s).subs(point)


@pytest.mark.parametrize(
    "event",
    [sp.And(x > 1, y > 1), sp.Min(x, y) > 1, sp.Max(x, y) < 1, q * sp.Min(x, y) - 1, r * sp.Max(x, y) - 1,
     sp.Max(z, sp.Min(x, y)) > 1, z - q * sp.Max(x, y), sp.Min(x, y) - running(max, z),
     X.min() > 1, np.all(X > 1), X.max() < 1, X.max() - X.min() < 1, (X[0] > 1) & (X[1] > 1),
     np.minimum(X[0], X[1]) > 0, 2 * X.mean() + X.min() / 2 > 1, np.exp(X.max()) > 2,
     np.minimum(X, X[::-1]).max() > 1, X.prod() > 1],
    ids=str,
)  # fmt: skip
def test_what_asks_for_all_is_looked_at_after_steps(event: Any) -> None:
    sde = SCALARS if isinstance(event, sp.Basic) else ARRAY
    assert crossings(sde, event) == "steps"
    if "prod" not in str(event):
        assert crossings(sde, event, "bridge") == "bridge"


@pytest.mark.parametrize(
    "event",
    [sp.Or(x > 1, y > 1), sp.Max(x, y) > 1, sp.Min(x, y) < 1, -q * sp.Min(x, y) - 1, sp.Min(x, 5) > 1,
     sp.And(x > 1, x < 2), sp.Max(x, y) - sp.Min(y, z) - 1, running(max, sp.Min(x, y)) - 1,
     X.max() > 1, X.min() < 1, np.any(X > 1), X.max() - X.min() > 1, (X[0] > 1) | (X[1] > 1),
     (X[0] > 1) & (X[0] < 2), np.any((X > 1) & (X < 2)), np.clip(X, -1, 1).sum() > 1, (X[0] > 1) & (F[1] > 0)],
    ids=str,
)  # fmt: skip
def test_what_asks_for_one_is_seen_between_steps(event: Any) -> None:
    """One of several, or several of one state; a flag without noise is no other."""
    assert crossings(SCALARS if isinstance(event, sp.Basic) else ARRAY, event) == "bridge"


def test_each_event_has_its_own() -> None:
    """One that is looked at after steps is what it is in a run of steps, to the bit; its neighbour keeps its bridge."""
    both, plane = sp.And(x > 0.5, y > 0.5), SDE([x, y], [0, 0], [[1, 0], [0, 1]])
    n, shared = 10_000, {"start": {x: 0, y: 0}, "time": 1.0, "dt": 0.1, "paths": 10_000, "keep": "paths"}
    mixed = simulate(plane, events={"up": x > 1, "both": both}, stop=["both"], **shared)
    steps = simulate(plane, events={"both": both}, stop=["both"], crossings="steps", **shared)
    assert mixed.attrs["crossings"] == "bridge; steps: both" and steps.attrs["crossings"] == "steps"
    np.testing.assert_array_equal(mixed.both_time, steps.both_time)
    np.testing.assert_array_equal(mixed.x, steps.x)
    free, exact = simulate(plane, events={"up": x > 1, "both": both}, **shared), erfc(1 / np.sqrt(2))
    assert abs(free.up_count.values[-1] / n - exact) < 4 * np.sqrt(exact * (1 - exact) / n)


def test_conditions_of_jumps_are_alike() -> None:
    jumps = [Jump({x: 0}, when=sp.Min(x, y) > 1), Jump({y: 0}, when=y > 1)]
    assert crossings(SDE([x, y], [0, 0], np.eye(2).tolist(), jumps=jumps), {"e": x < -1}) == "bridge; steps: jumps[0]"
    jumps = [Jump({X: 0 * X}, when=X.max() > 1), Jump({X: 0 * X}, when=X.min() > 0)]
    assert crossings(SDE([X], [0], [0.5], jumps=jumps), {"e": X[0] < -1}) == "bridge; steps: jumps[1]"


def inside(r: float, turned: float, angle: float) -> float:
    """P(two Brownian motions stay in a wedge over [0, 1]), from the point at r, turned from a side (O'Connell, Unwin,
    Stoch. Process. Appl. 43 (1992) 291)."""
    z, n = r**2 / 4, np.arange(1, 801, 2)
    nu, waves = n * np.pi / angle, np.sin(n * np.pi * turned / angle)
    return 2 * r / np.sqrt(2 * np.pi) * float(np.sum(waves / n * (ive((nu - 1) / 2, z) + ive((nu + 1) / 2, z))))


def mean_of_the_most_of_both(second: float, correlation: float) -> float:
    """E max over [0, 1] of min(V, second + W): beyond m where they enter the quadrant with its corner at (m, m)."""
    left = np.sqrt(1 - correlation**2)

    def within(m: float) -> float:
        along, across = -m, (second - m + correlation * m) / left
        turned = (np.arctan2(across, along) - np.pi / 2) % (2 * np.pi)
        return inside(np.hypot(along, across), turned, 2 * np.pi - np.arccos(-correlation))

    return quad(lambda m: 1 - within(m), 1e-9, 6, limit=200)[0]


@pytest.mark.parametrize("kind", ["scalar", "array"])
def test_the_running_extreme_of_what_asks_for_all_is_neither_late_nor_early(kind: str) -> None:
    """docs/theory.md eq. (6.10) where the lead stays: its mean is within 4 standard errors (seed 0) at 10 steps. With
    the bridge in all of them it is 20 too high, with none 50 too low."""
    assert inside(1.0, np.pi / 2, np.pi) == pytest.approx(1 - erfc(1 / np.sqrt(2)))
    assert inside(1.0, np.pi / 4, np.pi / 2) == pytest.approx((1 - erfc(0.5)) ** 2)
    exact, P, tied = mean_of_the_most_of_both(0.2, -0.5), states("P", (2,)), [[1, -0.5], [-0.5, 1]]
    if kind == "scalar":
        sde: SDE = SDE([x, y], [0, 0], [[1, 0], [0, 1]], correlation=tied)
        start: dict[Any, Any] = {x: 0.0, y: 0.2}
        asked = {"up": running(max, sp.Min(x, y)), "down": running(min, sp.Max(-x, -y)), "lone": running(max, x)}
    else:
        sde, start = SDE(P, 0 * P, 1.0, correlation=tied), {P: np.array([0, 0.2])}
        asked = {"up": running(max, P.min()), "down": running(min, np.maximum(-P[0], -P[1])), "lone": running(max, P)}
    run = simulate(sde, start=start, time=1.0, dt=0.1, paths=20_000, save_at=2, check=False, observables=asked)
    for name, sign in (("up", 1), ("down", -1)):
        mean, sem = run[name].sel(statistic=["mean", "sem"]).values[:, -1]
        assert abs(sign * mean - exact) < 4 * sem, name
    assert run.attrs["extremes"] == "bridge; in part: up, down"
    assert "extremes" not in simulate(sde, start=start, time=1.0, dt=0.5, paths=2, check=False).attrs


def test_leaders_of_nested_extremes() -> None:
    """A bridge where every one that asks for all has one leader at both ends; extremes of which one is enough, and
    those along an axis, row by row."""
    noisy, then = {x, y, z}, dict(zip((x, y, z), sp.symbols("x1 y1 z1", real=True), strict=True))
    f = x * sp.Max(y, z) + sp.Min(x, y) - sp.Max(x, y, z)
    for at in np.random.default_rng(1).normal(size=(40, 6)):
        here, there = at[:3], at[3:]
        point = dict(zip((*then, *then.values()), map(sp.Float, at), strict=True))
        same = [(k(here[list(of)]) == k(there[list(of)])) for k, of in
                ((np.argmax, (1, 2)), (np.argmin, (0, 1)), (np.argmax, (0, 1, 2)))]  # fmt: skip
        assert led(f, noisy, then).subs(point) == all(same)
        assert led(sp.Max(x, y) - sp.Min(y, z), noisy, then) == 1
    A, B = states("A", (2, 3)), states("B", (2, 3))
    node = led_array(A.min(axis=1).max() - A.max(), {A}, {A: B})
    for first, last in np.random.default_rng(2).normal(size=(200, 2, 2, 3)):
        rows = (first.argmin(1) == last.argmin(1)).all() and first.argmax() == last.argmax()
        (seen,) = evaluate([node], {A: first[None], B: last[None]}, 1)
        assert np.ravel(seen)[0] == rows


def test_expectations_state_no_order_that_extremes_have_not() -> None:
    plane = SDE([x, y], [0, 0], [[1, 0], [0, 1]])
    for f, order in ((running(max, sp.Min(x, y)), "0.50"), (running(max, sp.Max(x, y)), "1.00")):
        found = expectation(plane, f, start={x: 0, y: 0}, time=1, tolerance=0.03)
        assert f"weak {order} assumed" in str(found)


def test_expectations_see_them_where_they_stop() -> None:
    plane = SDE([x, y], [0, 0], [[1, 0], [0, 1]])
    with pytest.raises(InputError, match="after steps, where they stop paths"):
        expectation(plane, "e", start={x: 0, y: 0}, time=1, tolerance=0.1, events={"e": sp.And(x > 0, y > 0)})


@pytest.mark.parametrize("kind", ["scalar", "array"])
def test_paths_that_begin_in_the_kink_of_a_modulus_are_seen(kind: str) -> None:
    """|W| > 1 within one step from 0: the bridge to the side on which a path ends, where a slope of 0 had none and saw
    2 P(W > 1) = .317 of its paths. 1 - P(no exit of (-1, 1)) is .630, less what is met on the other side."""
    n, X = 20_000, states("X", (1,))
    sde, a = (SDE([x], [0], [[1]]), sp.Abs(x)) if kind == "scalar" else (SDE(X, 0 * X, 1.0), np.abs(X[0]))
    start: dict[Any, Any] = {x: 0.0} if kind == "scalar" else {X: np.zeros(1)}
    run = simulate(sde, start=start, time=1.0, dt=1.0, paths=n, events={"out": a > 1}, save_at=2, check=False)
    ends = np.linspace(-1, 1, 20_001)
    density = np.exp(-(ends**2) / 2) / np.sqrt(2 * np.pi)
    seen = erfc(1 / np.sqrt(2)) + trapezoid(density * np.exp(-2 * (1 - np.abs(ends))), ends)
    assert abs(run.out_count.values[-1] / n - seen) < 4 * np.sqrt(seen * (1 - seen) / n)
