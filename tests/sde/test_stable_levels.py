"""Levels whose steps are too long for the equation are left out: over many relaxation times, and of drifts that grow
faster than states."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import expectation
from sde.estimators.level_rates import mismatch
from sde.estimators.level_set import Exploded
from sde.estimators.multilevel import Plan, estimate
from sde.estimators.sample_moments import Moments
from symbolic import SDE

X = sp.Symbol("X", real=True)
PULLED = SDE([X], [1 - X], [[0.1]])
WELLS = SDE([X], [X - X**3], [[0.7]])


def stationary(q: float) -> float:
    """E X^2 of the density exp((2 x^2 - x^4) / (2 q^2)) of dX = (X - X^3) dt + q dW."""
    x = np.linspace(-5, 5, 20001)
    p = np.exp((2 * x**2 - x**4) / (2 * q * q))
    return float((x * x * p).sum() / p.sum())


@pytest.mark.parametrize("time", [10.0, 20.0, 32.0, 300.0])
def test_long_runs_cost_what_they_are_long(time: float) -> None:
    found = expectation(PULLED, X, tolerance=0.01, start={X: 0.0}, time=time)
    assert found.value == pytest.approx(1 - exp(-time), abs=0.04)
    assert found.levels[0].dt <= 1 and found.discarded + sum(level.path_steps for level in found.levels) < 1e5 * time


@pytest.mark.parametrize(("q", "seed"), [(0.7, 0), (0.7, 1), (0.5, 2), (1.0, 3)])
def test_wells_are_left_by_no_overflow(q: float, seed: int) -> None:
    found = expectation(SDE([X], [X - X**3], [[q]]), X**2, tolerance=0.02, start={X: 0.5}, time=12.0, seed=seed)
    assert found.value == pytest.approx(stationary(q), abs=0.08)


def test_levels_that_explode_are_left() -> None:
    """From 30 the first Euler steps of -X^3 overshoot for all that the pilot of quieter states says."""
    found = expectation(SDE([X], [-(X**3)], [[1]]), X**2, tolerance=0.02, start={X: 30.0}, time=4.0)
    x = np.linspace(-4, 4, 8001)
    p = np.exp(-(x**4) / 2)
    assert found.value == pytest.approx(float((x * x * p).sum() / p.sum()), abs=0.08)


def sample(level: int, first: int, count: int, coarse: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """f = Z + 1 / steps at levels from 3 on, which paths do not reach below."""
    at = level - 1 if coarse else level
    if at < 3:
        raise Exploded("expectation: no path may explode; got 1 (int). Take a tamed scheme.", at)
    z = np.random.default_rng([level, first]).standard_normal(count)
    return z + 2.0**-level, z + 2.0 ** -(level - 1) if coarse else None


def test_estimates_begin_where_paths_stay() -> None:
    found = estimate(sample, Plan(tolerance=0.02, time=1.0, drops=True))
    assert found.value == pytest.approx(0, abs=0.06) and found.levels[0].steps == 8 and len(found.levels) >= 5
    with pytest.raises(ValueError, match="no path may explode"):
        estimate(sample, Plan(tolerance=0.02, time=1.0))
    with pytest.raises(ValueError, match="no path may explode"):
        estimate(sample, Plan(tolerance=0.02, time=1.0, most=3, drops=True))


def test_equations_that_explode_are_refused_still() -> None:
    with pytest.raises(ValueError, match="no path may explode"):
        expectation(SDE([X], [X**3], [[1]]), X, tolerance=0.1, start={X: 3.0}, time=1.0)


def test_steps_that_longer_ones_do_not_follow_are_not_paid_for() -> None:
    """A level's difference of ten times f's own deviation asks for a finer level, not for a million paths."""

    def wild(level: int, first: int, count: int, coarse: bool) -> tuple[np.ndarray, np.ndarray | None]:
        rng = np.random.default_rng([level, first])
        z = rng.standard_normal(count)
        at = [z + 2.0**-k + 10.0 ** (4 - k) * rng.standard_normal(count) for k in (level, level - 1)]
        return at[0], at[1] if coarse else None

    found = estimate(wild, Plan(tolerance=0.02, time=1.0))
    assert found.value == pytest.approx(0, abs=0.06) and found.levels[0].steps >= 8
    assert found.path_steps < 3e6  # levels 1 and 2 alone ask for 1e10


@pytest.mark.parametrize("size", [1e-170, 1e90, 1e160])
def test_moments_out_of_a_float_are_no_error(size: float) -> None:
    rng: Any = np.random.default_rng(1)
    one, other = (Moments.of(size * rng.standard_normal(100)) for _ in range(2))
    both = one.merge(other)
    assert both.count == 200 and both.variance >= 0 and not both.variance_error < 0
    assert mismatch(one, other) < 5
