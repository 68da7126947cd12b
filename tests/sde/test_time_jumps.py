"""What jumps in time by itself - rates, levels, integrands, coefficients where a run begins - is met by steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, Jump, simulate
from symbolic import integral, running
from symbolic.dynamics.discontinuities import jumps

X, N, t, a = sp.symbols("X N t a", real=True)
H = sp.Heaviside
PATHS = 20_000


def run(sde: SDE, **options: Any) -> Any:
    start = dict.fromkeys(sde.states, 0.0)
    return simulate(sde, **{"start": start, "time": 1.0, "dt": 0.25, "paths": 2, "check": False, "seed": 5, **options})


def last(found: Any, name: str, statistic: str = "mean") -> float:
    return float(found[name].sel(statistic=statistic).values[-1])


RATES: dict[str, tuple[Any, float]] = {
    "heaviside": (5 * H(t - 0.37), 3.15),
    "piecewise": (sp.Piecewise((0, t < 0.37), (5, True)), 3.15),
    "sign": (sp.Rational(5, 2) * (1 + sp.sign(t - 0.37)), 3.15),
    "floor": (5 * sp.floor(t / 0.4), 4.0),
    "a pulse within one step": (sp.Piecewise((50, (t > 0.51) & (t < 0.57)), (0, True)), 3.0),
    "a parameter's": (5 * H(a - t), 1.85),
    "remainder": (10 * H(sp.Mod(t, 0.3) - 0.2), 3.0),
    "of the state too": ((1 + X) * sp.Piecewise((6, t <= 0.19), (1, True)), 1.95),
    "at the start": (sp.Piecewise((400, t <= 0), (3, True)), 3.0),
}


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_rate_that_jumps_in_time(name: str, dtype: str) -> None:
    """The count is Poisson's of the rate's integral, at steps of any length (docs/theory.md eq. (6.9))."""
    rate, total = RATES[name]
    sde = SDE([X, N], [0, 0], [[0], [0]], time=t, parameters=[a], jumps=[Jump({N: N + 1}, rate=rate)])
    found = run(sde, parameters={a: 0.37}, paths=PATHS, dtype=dtype)
    assert abs(last(found, "N") - total) < 5 * np.sqrt(total / PATHS)
    assert abs(last(found, "N", "std") ** 2 / total - 1) < 5 * np.sqrt((2 + 1 / total) / PATHS)


@pytest.mark.parametrize("began", [0.0, 1.0, 2.0])
@pytest.mark.parametrize(
    "drift", [sp.sign(sp.sin(20 * t)), H(sp.sin(sp.pi * t)), sp.Piecewise((9, t <= 1), (1, True)), H(t - 2, 5)]
)
def test_a_coefficient_that_jumps_where_the_run_begins(drift: Any, began: float) -> None:
    """The first step has the value right after the start."""
    at = began + (np.arange(10**6) + 0.5) / 10**6
    exact = float(np.mean(sp.lambdify(t, drift, [{"Heaviside": np.heaviside}, "numpy"])(at)))
    found = run(SDE([X], [drift], [[0]], time=t), dt=0.1, start_time=began)
    assert last(found, "X") == pytest.approx(exact, abs=2e-5)


def test_a_step_at_the_start_only_where_the_value_there_is_another() -> None:
    for e in (sp.floor(t), sp.Piecewise((1, t < 0), (2, True)), H(t, 1), sp.frac(t), sp.Mod(t, 2)):
        assert jumps([e], t, 0.9, {}) == [], e
    for e in (sp.ceiling(t), sp.Piecewise((1, t <= 0), (2, True)), H(t), sp.sign(t)):
        assert jumps([e], t, 0.9, {}) == [0.0], e
    assert jumps([H(t - 1)], t, 1.0, {}) == [] and jumps([], t, 1.0, {}, closed=[H(t - 1)]) == [1.0]
    assert jumps([], t, 1.0, {}, closed=[sp.ceiling(t)]) == [0.0], "from the left it is right at the end"


@pytest.mark.parametrize(
    ("observable", "exact"),
    [
        (integral(H(t - 0.37)), 0.63),
        (integral(sp.Piecewise((1, t < 1), (0, True))), 1.0),
        (integral(sp.Piecewise((100, (t > 0.6) & (t < 0.61)), (0, True))), 1.0),
        (running(max, H(t - 0.51) * H(0.52 - t)), 1.0),
        (2 * integral(sp.ceiling(2 * t)), 3.0),
    ],
)
def test_what_is_added_up_along_a_path(observable: Any, exact: float) -> None:
    found = run(SDE([X], [0], [[1]], time=t), observables={"o": observable})
    assert last(found, "o") == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("crossings", ["bridge", "steps"])
@pytest.mark.parametrize(
    "level", [H(t - 0.37) > 0.5, X + 30 * H(t - 0.37) > 15, sp.Piecewise((-9, t < 0.37), (9, True)) * (X + 30) > 0]
)
def test_an_event_whose_level_jumps_in_time(level: Any, crossings: str) -> None:
    found = run(SDE([X], [0], [[1]], time=t), paths=200, events={"e": level}, crossings=crossings)
    assert found.e_count.values[-1] == 200
    assert found.e_time.sel(statistic=["min", "max"]).values == pytest.approx([0.37, 0.37], abs=1e-5)


@pytest.mark.parametrize("when", [H(t - 0.37) > 0.5, sp.sign(t - 0.37), X + sp.floor(t / 0.37) * 20 > 10])
def test_a_change_whose_condition_jumps_in_time(when: Any) -> None:
    sde = SDE([X, N], [N, 0], [[0], [0]], time=t, jumps=[Jump({N: 1}, when=when)])
    assert last(run(sde), "X") == pytest.approx(0.63, abs=1e-5)


@pytest.mark.parametrize(
    ("when", "dt", "count"),
    [(t > 0.37, 0.25, 1), (t > 0.25, 0.25, 1), (X > 0.5, 0.1, 1), (X + t > 0.6, 0.25, 1), (sp.sin(7 * t) > 0, 0.1, 2)],
)
def test_a_change_that_leaves_its_condition_alone_is_made_once(when: Any, dt: float, count: int) -> None:
    """A condition that still holds makes no other change until it has not held (all paths were lost)."""
    found = run(SDE([X, N], [1, 0], [[0], [0]], time=t, jumps=[Jump({N: N + 1}, when=when)]), dt=dt)
    assert last(found, "N") == count and found.exploded.values[-1] == 0


def test_a_jump_told_twice_is_one() -> None:
    """0.1 * 3 is 0.30000000000000004: steps end before both."""
    drift = H(t - 0.3) + H(t - 0.1 * 3)
    assert last(run(SDE([X], [drift], [[0]], time=t), steps_at=[0.3]), "X") == pytest.approx(1.4, abs=1e-5)
