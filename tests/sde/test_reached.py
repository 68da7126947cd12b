"""Relations that may be equal, and starts on a barrier: an event is the first time at which its relation holds."""

from __future__ import annotations

from math import erfc, exp, sqrt
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from sde import SDE, SGD, Jump, simulate, train
from symbolic import Bernoulli, Loss, running, states
from symbolic.dynamics.jump import excess
from tests.commands import opened, run
from tests.fuzz.texts import document

X, Y, N, u, e = sp.symbols("X Y N u e", real=True)
n = states("n", (2,))
COUNT = SDE([N], [0], [[0]], jumps=[Jump({N: N + 1}, rate=3)])
WALK = SDE([X], [0], [[1]])
PATHS = 4000
THREE = 1 - 8.5 * exp(-3)
"""P(Poisson(3) >= 3)."""


def near(count: float, chance: float, paths: int = PATHS) -> bool:
    """Within 4.5 standard errors: alpha = 7e-6."""
    return abs(count - paths * chance) < 4.5 * sqrt(paths * chance * (1 - chance))


@pytest.mark.parametrize("crossings", [None, "steps"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_whole_numbers_reach_a_level(crossings: str | None, dtype: str) -> None:
    events = {
        "gt": N > 2, "ge": N >= 3, "le": -N <= -3, "not": sp.Not(N < 3), "or": sp.Or(N >= 3, N > 7),
        "and": sp.And(N >= 3, N <= 3), "notand": sp.Not(sp.And(N >= 0, N < 3)), "notor": sp.Not(sp.Or(N < 3, N > 3)),
        "scaled": sp.Max(2 * N, 1) >= 6, "least": sp.Min(N, 3) >= 3, "square": N**2 >= 9,
    }  # fmt: skip
    found = simulate(
        COUNT, start={N: 0}, time=1.0, paths=PATHS, seed=5, events=events, crossings=crossings, dtype=dtype
    )
    counts = {name: int(found[f"{name}_count"][-1]) for name in events}
    assert len(set(counts.values())) == 1 and near(counts["gt"], THREE), counts


@pytest.mark.parametrize("crossings", [None, "steps"])
def test_whole_numbers_of_arrays_reach_a_level(crossings: str | None) -> None:
    sde = SDE([n], [0 * n], [0 * n], jumps=[Jump({n: n + 1}, rate=3)])
    events = {
        "gt": n[0] > 2, "ge": n[0] >= 3, "le": -n[1] <= -3, "max": n.max() >= 3, "any": np.any(n >= 3),
        "all": np.all(n >= 3), "not": ~(n[0] < 3), "notany": ~np.any(n < 3), "notall": ~np.all(n < 3),
        "both": (n[0] >= 3) & (n[1] <= 3), "sum": n.sum() >= 6, "min": n.min() >= 3,
    }  # fmt: skip
    found = simulate(sde, start={n: [0, 0]}, time=1.0, paths=PATHS, seed=5, events=events, crossings=crossings)
    counts = {name: int(found[f"{name}_count"][-1]) for name in events}
    assert len(set(counts.values())) == 1 and near(counts["gt"], THREE), counts


def test_a_stop_at_three_stops_at_three() -> None:
    found = simulate(COUNT, start={N: 0}, time=30.0, paths=500, seed=5, events={"three": N >= 3}, stop="first")
    assert found.three_count[-1] == 500 and found.N.sel(statistic=["min", "max"]).values[:, -1].tolist() == [3.0, 3.0]


def test_populations_die_out() -> None:
    """Of a birth and death process of rates N and 2 N from 5, P(N(t) = 0) = ((2 e^t - 2)/(2 e^t - 1))^5."""
    dying = SDE([N], [0], [[0]], jumps=[Jump({N: N + 1}, rate=N), Jump({N: N - 1}, rate=2 * N)])
    found = simulate(dying, start={N: 5}, time=4.0, paths=PATHS, dt=0.5, save_at=2, seed=5, events={"dead": N <= 0},
                   stop="first", check=False)  # fmt: skip
    assert near(found.dead_count.values[-1], ((2 * exp(4) - 2) / (2 * exp(4) - 1)) ** 5)


def test_changes_are_made_where_a_level_is_reached() -> None:
    sde = SDE([N], [0], [[0]], jumps=[Jump({N: N + 1}, rate=3), Jump({N: 0}, when=N >= 3)])
    found = simulate(sde, start={N: 0}, time=5.0, paths=500, seed=5)
    assert found.N.sel(statistic="max").values.max() == 2
    queue = SDE([n], [0 * n], [0 * n], jumps=[Jump({n: n + 1}, rate=3), Jump({n: 0 * n}, when=n.max() >= 3)])
    found = simulate(queue, start={n: [0, 0]}, time=5.0, paths=500, seed=5)
    assert found.n.sel(statistic="max").values.max() == 2


def test_training_reaches_a_level() -> None:
    """Steps of rate 1 set u to the sample, 0 or 1: after three, 7/8 have been at 1."""
    loss = Loss((u - e) ** 2 / 2, [u], {e: Bernoulli(sp.Rational(1, 2))})
    found = train(loss, SGD(1.0), start={u: 0}, steps=3, paths=PATHS, seed=5, events={"one_": u >= 1, "above": u > 1})
    assert near(found.one__count.values[-1], 7 / 8) and found.above_count.values[-1] == 0


def test_an_absorbing_wall_is_reached() -> None:
    """P(W reaches 1/2 until time 1) = erfc(1/sqrt(8)); what is beyond the wall is not."""
    sde = SDE([X], [0], [[1]], domain={X: ("absorb", -sp.oo, 1)})
    found = simulate(sde, start={X: 0.5}, time=1.0, dt=0.1, paths=PATHS, seed=5, check=False, crossings="steps",
                   events={"on": X >= 1, "beyond": X > 1})  # fmt: skip
    assert near(found.on_count.values[-1], erfc(sqrt(1 / 8))) and found.beyond_count.values[-1] == 0


def test_what_is_positive_stays_strict() -> None:
    """An expression, and a relation without equality, hold above a level only; what stands still on it stays."""
    events = {"level": X - 1, "gt": X > 1, "not": sp.Not(X <= 1), "ge": X >= 1, "x": -X >= -1, "twice": ~(X < 1)}
    found = simulate(SDE([X], [0], [[0]]), start={X: 1}, time=1.0, paths=3, events=events)
    assert [int(found[f"{name}_count"][-1]) for name in events] == [0, 0, 0, 3, 3, 3]


def test_not_of_what_may_be_equal_is_strict() -> None:
    assert excess(sp.Not(X <= 1, evaluate=False)) == X - 1 or excess(sp.Not(X <= 1)) == X - 1
    both = sp.Not(sp.And(X >= 1, Y > 2))
    for at, holds in (((1, 3), False), ((1, 2), True), ((0.5, 3), True)):
        values = dict(zip((X, Y), map(sp.Float, at), strict=True))
        assert (excess(both).subs(values) > 0) == holds


@pytest.mark.parametrize("event", [X > 1, X < 1, X >= 1, X**2 > 1, sp.Max(X, X / 2) > 1])
def test_noise_leaves_the_barrier_that_it_begins_on_at_once(event: sp.Rel) -> None:
    """docs/theory.md eq. (6.6): a = 0 gives P = 1."""
    found = simulate(WALK, start={X: 1}, time=1.0, dt=0.1, paths=200, seed=5, check=False, events={"up": event},
                   stop="first")  # fmt: skip
    assert found.up_count.values.tolist() == [200] * len(found.time)
    assert found.stop_time.sel(statistic="max") == 0 and found.X.sel(statistic="max").values[-1] == 1


def test_a_change_onto_a_barrier_is_seen() -> None:
    """An impulse puts W on the level of an event, which it then crosses at once; a Poisson path, without noise, not."""
    sde = SDE([X, N], [0, 0], [[1], [0]], jumps=[Jump({X: 3, N: 3}, at=[0.5])])
    found = simulate(sde, start={X: 0, N: 0}, time=1.0, dt=0.1, paths=200, seed=5, check=False,
                   events={"up": X > 3, "never": N > 3}, keep="paths")  # fmt: skip
    assert found.up_time.values == pytest.approx(0.5) and found.never_count.values[-1] == 0


def test_a_condition_that_begins_on_its_level_is_met_once() -> None:
    sde = SDE([X, N], [0, 0], [[1], [0]], jumps=[Jump({X: 0, N: N + 1}, when=X > 1)])
    found = simulate(sde, start={X: 1, N: 0}, time=0.001, dt=0.001, paths=200, seed=5, check=False)
    assert found.N.sel(statistic=["min", "max"]).values[:, -1].tolist() == [1.0, 1.0]


def test_a_change_onto_its_own_level_is_not_made_without_end() -> None:
    """W put back to 1 as it exceeds 1 is there what reflection makes of it, min(W, 1) at first: no path is lost."""
    sde = SDE([X, N], [0, 0], [[1], [0]], jumps=[Jump({X: 1, N: N + 1}, when=X > 1)])
    found = simulate(sde, start={X: 1, N: 0}, time=1.0, dt=0.1, paths=PATHS, seed=5, check=False, save_at=2)
    assert found.exploded.values[-1] == 0 and found.N.sel(statistic="max").values[-1] < 200
    mean, sem = found.X.sel(statistic=["mean", "sem"]).values[:, -1]
    assert abs(mean - (1 - sqrt(2 / np.pi))) < 4.5 * sem


def test_running_extremes_are_as_they_were() -> None:
    found = simulate(WALK, start={X: 0}, time=1.0, dt=0.25, paths=PATHS, seed=5, check=False,
                   observables={"top": running(max, X)},
                   events={"up": running(max, X) >= 1, "same": X >= 1})  # fmt: skip
    assert near(found.up_count.values[-1], erfc(sqrt(0.5))) and near(found.same_count.values[-1], erfc(sqrt(0.5)))


@pytest.mark.parametrize(("text", "holds"), [("u >= 1", True), ("1 <= u", True), ("u > 1", False), ("u - 1", False)])
def test_specs_say_whether_a_level_is_part_of_it(text: str, holds: bool, tmp_path: Path) -> None:
    table = {
        "name": "still",
        "sde": {"states": ["u"], "drift": {"u": 0}, "diffusion": {"u": 0}},
        "run": {"start": {"u": 1.0}, "time": 1.0, "dt": 0.5, "paths": 3, "check": False, "events": {"up": text}},
    }
    (tmp_path / "still.toml").write_text(document(table))
    assert run("simulate", tmp_path / "still.toml", "-o", tmp_path / "run.nc").exit_code == 0
    assert opened(tmp_path / "run.nc").up_count.values[-1] == (3 if holds else 0)
