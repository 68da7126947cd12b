"""Levels of arrays that are not linear, or whose states have a domain, against closed forms. Alpha is 7e-6 a number."""

from __future__ import annotations

from math import e, erfc, pi, sqrt
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, Jump
from symbolic import running, states
from tests.sde.test_bent_levels import PATHS, near, run

X = states("X", (2,))
WALK = SDE([X], [0 * X], [0 * X + 1])


def walled(*domain: Any) -> SDE:
    return SDE([X], [0 * X], [0 * X + 1], domain={X: domain})


@pytest.mark.slow
def test_it_does_not_matter_how_a_level_of_arrays_is_written() -> None:
    """docs/theory.md eq. (6.16): P(W > 1 before time 1) = erfc(1/sqrt 2) at steps of 1/4, in any words."""
    events = {
        "linear": X[0] > 1, "exp": np.exp(X[0]) > e, "cube": X[1] ** 3 + X[1] > 2, "angle": np.arctan(X[1]) >= pi / 4,
        "falling": np.exp(-2 * X[0]) < np.exp(-2.0), "turned": np.exp(X.sum() / sqrt(2)) > e,
    }  # fmt: skip
    found = run(WALK, {X: [0, 0]}, events=events)
    for name in events:
        assert near(found[f"{name}_count"].values[-1], erfc(sqrt(0.5))), name
    assert found.attrs["crossings"] == "bridge"


@pytest.mark.slow
def test_stops_of_arrays_are_on_levels_that_are_not_linear() -> None:
    """E of the first exit of W from the unit disc, from (0.3, 0): (1 - 0.09)/2."""
    found = run(WALK, {X: [0.3, 0]}, dt=0.01, time=12.0, events={"out": (X * X).sum() > 1}, stop="first", keep="paths",
                save_at=2)  # fmt: skip
    times = found.stop_time.values
    assert abs(times.mean() - 0.455) < 4.5 * times.std() / sqrt(PATHS) + 0.01 * 0.455
    assert np.hypot(*found.X.values[:, -1].T) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.slow
def test_changes_of_arrays_do_not_depend_on_the_words_of_their_condition() -> None:
    one, two = (
        run(SDE([X], [0 * X], [0 * X + 1], jumps=[Jump({X[0]: 0}, when=when)]), {X: [0, 0]}, 200, keep="paths")
        for when in (X[0] > 1, np.exp(X[0]) > e)
    )
    assert two.X.values == pytest.approx(one.X.values, abs=1e-6) and one.X.values[..., 1].max() > 1.5


def test_extremes_of_arrays_of_what_is_not_linear() -> None:
    """docs/theory.md eq. (6.17): E (max W)^3 = 2 sqrt(2/pi), E e^(max W) = 2 sqrt(e) Phi(1), entry by entry."""
    observed = {"cube": running(max, X**3), "exp": running(max, np.exp(X[0])), "least": running(min, np.exp(-X))}
    found, high = run(WALK, {X: [0, 0]}, observables=observed), 2 * sqrt(e) * (1 - erfc(sqrt(0.5)) / 2)
    low = 2 * sqrt(e) * erfc(sqrt(0.5)) / 2
    for name, exact in (("cube", 2 * sqrt(2 / pi)), ("exp", high), ("least", low)):
        mean, sem = found[name].sel(statistic=["mean", "sem"]).values[:, -1]
        assert (np.abs(mean - exact) < 4.5 * sem).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("domain", [("reflect", 0, 1), ("periodic", 0, 1)])
def test_arrays_stay_within_their_walls(domain: Any) -> None:
    events = {"first": X[0] > 1.01, "all": X.max() > 1.01, "low": X.min() < -0.01, "far": (X * X).sum() > 2.01}
    observed = {"top": running(max, X), "least": running(min, X), "most": running(max, X.max())}
    found = run(walled(*domain), {X: [0.5, 0.5]}, dt=0.1, events=events, observables=observed)
    assert [found[f"{name}_count"].values[-1] for name in events] == [0, 0, 0, 0]
    assert found.top.sel(statistic="max").values.max() <= 1 and found.most.sel(statistic="max").values.max() <= 1
    assert found.least.sel(statistic="min").values.min() >= 0


@pytest.mark.slow
def test_arrays_are_absorbed_where_they_have_an_event_at_the_wall() -> None:
    found = run(walled("absorb", 0, sp.oo), {X: [0.5, 0.5]}, dt=0.1, keep="paths",
                events={"hit": X[0] <= 0, "any": np.any(X <= 0), "below": X.min() < 0},
                observables={"least": running(min, X)})  # fmt: skip
    absorbed, least = found.X.values[:, -1] == 0, found.least.values[:, -1]
    assert (np.isfinite(found.hit_time.values) == absorbed[:, 0]).all()
    assert (np.isfinite(found.any_time.values) == absorbed.any(axis=1)).all()
    assert near(absorbed[:, 0].sum(), erfc(0.5 / sqrt(2))) and found.below_count.values[-1] == 0
    assert least.min() == 0 and ((least == 0) == absorbed).all()
