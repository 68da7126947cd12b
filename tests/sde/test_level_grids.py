"""Input that changes in time between the steps of coarse levels: `expectation` and `sensitivities` end steps at jumps,
and begin at levels that see the rest. Against closed forms; the mutant is a grid of equal steps from one on."""

from __future__ import annotations

from math import exp, pi
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import expectation, sensitivities
from sde.api import level_grids
from sde.api.survey import Survey
from sde.engine import time_grid
from symbolic import SDE, integral

X, t, a = sp.symbols("X t a", real=True)
TENTH = [[0.1]]
WINDOW = sp.Heaviside(t - 0.38) * sp.Heaviside(0.43 - t) * 20
NARROW = sp.Piecewise((1000, (t > 0.377) & (t < 0.378)), (0, True))


def pulse(at: float, width: float) -> sp.Expr:
    return sp.exp(-(((t - at) / width) ** 2) / 2) / (width * sp.sqrt(2 * sp.pi))


def relaxed(m: int) -> float:
    """E X(1) of dX = (sin(m pi t)^2 - X) dt + s dW from 0."""
    w = 2 * m * pi
    return (1 - exp(-1)) / 2 - (1 - exp(-1)) / (1 + w * w) / 2


BOTH = X * (pulse(0.4, 1e-3) - pulse(0.6, 1e-3)) + pulse(0.5, 1e-3)
HELD = {
    "season": (SDE([X], [0], [[sp.sin(2 * sp.pi * t)]], time=t), X**2, 32.0, 0.5, 16.0),
    "window": (SDE([X], [WINDOW], TENTH, time=t), X, 1.0, 0.01, 1.0),
    "narrow": (SDE([X], [NARROW], TENTH, time=t), X, 1.0, 0.01, 1.0),
    "alias": (SDE([X], [sp.sin(32 * sp.pi * t) ** 2 - X], [[0.5]], time=t), X, 1.0, 0.01, relaxed(32)),
    "pulse": (SDE([X], [pulse(0.37, 1e-3) - X], [[0.5]], time=t), X, 1.0, 0.01, exp(-0.63)),
    "beside much": (SDE([X], [100 + 4 * sp.sin(64 * sp.pi * t) ** 2], TENTH, time=t), X, 1.0, 0.01, 102.0),
    "of both signs": (SDE([X], [BOTH], TENTH, time=t), X, 1.0, 0.01, exp(-1)),
    "from zero": (SDE([X], [2 * X * sp.sin(32 * sp.pi * t) ** 2], [[1]], time=t), X**2, 1.0, 0.05, 3.1942),
    "integral": (SDE([X], [0], [[1]], time=t), integral(X**2 * sp.sin(32 * sp.pi * t) ** 2), 1.0, 0.01, 0.25),
}


@pytest.mark.parametrize("name", HELD)
def test_input_between_coarse_steps_counts(name: str) -> None:
    sde, f, time, tolerance, exact = HELD[name]
    found = expectation(sde, f, tolerance=tolerance, start={X: 0.0}, time=time)
    assert found.value == pytest.approx(exact, abs=4 * tolerance) and found.error <= tolerance
    assert found.levels[0].steps > 1 and found.levels[0].dt >= found.levels[1].dt


@pytest.mark.parametrize("rate", [sp.sin(32 * sp.pi * t) ** 2, WINDOW / 2])
def test_derivatives_see_it_too(rate: sp.Expr) -> None:
    sde = SDE([X], [a * rate], TENTH, time=t, parameters=[a])
    at: dict[str, Any] = {"start": {X: 0.0}, "time": 1.0, "parameters": {a: 1.0}}
    found = sensitivities(sde, X, [a], tolerance=0.01, **at)["a"]
    assert found.value == pytest.approx(0.5, abs=0.02)


def test_runs_that_begin_later() -> None:
    sde = SDE([X], [pulse(7.377, 1e-3) + sp.Heaviside(t - 7.38) * sp.Heaviside(7.43 - t) * 20], TENTH, time=t)
    found = expectation(sde, X, tolerance=0.02, start={X: 0.0}, time=1.0, start_time=7.0)
    assert found.value == pytest.approx(2, abs=0.08)


def test_given_steps_that_miss_input_are_left_out() -> None:
    sde = SDE([X], [pulse(0.377, 1e-3)], TENTH, time=t)
    found = expectation(sde, X, tolerance=0.02, start={X: 0.0}, time=1.0, steps=1)
    assert found.value == pytest.approx(1, abs=0.08)


def test_input_that_no_level_sees_is_refused() -> None:
    sde = SDE([X], [pulse(0.3771, 1e-6)], TENTH, time=t)
    with pytest.raises(ValueError, match=r"expectation.sde: .* got one that adds up to 100% of its size more or less"):
        expectation(sde, X, tolerance=0.02, start={X: 0.0}, time=1.0)


def test_finer_steps_are_parts_of_longer_ones() -> None:
    """At jumps too, so that the noise of a longer step is that of its parts, equal ones."""
    grid = time_grid.continuous(1.0, 0.3, [1.0], [0.377, 0.5])
    fine = level_grids.finer(grid, 4)
    assert fine.time[::4] == pytest.approx(grid.time, abs=1e-15)
    assert fine.length == pytest.approx(grid.length.repeat(4) / 4, rel=1e-6)


def test_what_moves_slowly_takes_few_steps() -> None:
    slow = Survey(SDE([X], [t - X], [[1]], time=t), np.zeros(0), {X: 1.0}, 16, 0, 1.0)
    assert level_grids.first_grid(slow, 1, 2, [], False).steps <= 8
