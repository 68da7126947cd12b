"""Running extremes and time integrals of paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, SGD, InputError, Jump, simulate
from symbolic import integral, running
from symbolic.library import LIBRARY

X, Y, s = sp.symbols("X Y s", real=True)
WALK = SDE([X], [0], [[1]], time=s)


def walk(sde: SDE = WALK, **options: Any) -> Any:
    given: dict[str, Any] = {"start": {X: 0.0}, "time": 1.0, "dt": 0.05, "paths": 20_000, "keep": "paths", "seed": 5}
    return simulate(sde, save_at=3, check=False, **given | options)


def test_extremes_are_those_of_all_times() -> None:
    """docs/theory.md eq. (6.10): at 20 steps, max W has the distribution of |W| (Kolmogorov-Smirnov, alpha 1e-4),
    as -min W has; looked at after steps both would be 0.13 short."""
    from scipy.stats import kstest

    run = walk(observables={"high": running(max, X), "low": running(min, X)})
    assert kstest(run.high.values[:, -1], "halfnorm").pvalue > 1e-4
    assert kstest(-run.low.values[:, -1], "halfnorm").pvalue > 1e-4
    assert (run.high.values[:, 0] == 0).all() and (run.high.values >= run.X.values - 1e-12).all()
    assert (np.diff(run.high.values, axis=1) >= -1e-15).all()
    free = walk()
    assert run.X.values == pytest.approx(free.X.values, abs=1e-12)


def test_integrals() -> None:
    """int W over [0, 1] is normal of variance 1/3, and int s ds = 1/2; the start counts."""
    run = walk(observables={"area": integral(X), "clock": integral(s), "level": integral(1 + 0 * X)}, start={X: 2.0})
    area = run.area.values[:, -1] - 2
    assert abs(area.mean()) < 5 / np.sqrt(3 * 20_000)
    assert abs(area.var() * 3 - 1 - 0.05**2 / 6 * 0) < 5 * np.sqrt(2 / 20_000) + 0.05**2
    assert run.clock.values[:, -1] == pytest.approx(0.5) and run.level.values[:, -1] == pytest.approx(1)


def test_a_stop_ends_them_where_it_is() -> None:
    """Of an exit from (-1, 1): the larger side is 1 where it left there, and the integral of 1 is the exit time."""
    run = walk(time=30.0, observables={"high": running(max, X), "age": integral(X * 0 + 1), "low": running(min, X)},
               events={"up": X > 1, "down": X < -1}, stop="first")  # fmt: skip
    up = np.isfinite(run.up_time.values)
    high, low = run.high.values[:, -1], run.low.values[:, -1]
    assert (high[up] >= 1 - 1e-12).all() and (np.abs(high[up] - 1) < 1e-12).mean() > 0.8  # else drawn beyond it before
    assert (low[~up] <= -1 + 1e-12).all() and (np.abs(low[~up] + 1) < 1e-12).mean() > 0.8
    assert run.age.values[:, -1] == pytest.approx(run.stop_time.values, abs=1e-9)
    # P(max before -1 exceeds m) = 1/(1 + m)
    assert abs((run.high.values[:, -1] > 0.5).mean() - 2 / 3) < 5 * np.sqrt(2 / 9 / 20_000) + 0.01


def test_a_drawdown_stops() -> None:
    """The maximum when W first lies 1 below it is exponential of mean 1 (Taylor, Ann. Probab. 3 (1975) 234)."""
    run = walk(time=40.0, dt=0.01, paths=5000, observables={"high": running(max, X)},
               events={"fell": running(max, X) - X > 1}, stop="first")  # fmt: skip
    high = run.high.values[:, -1]
    assert abs(high.mean() - 1) < 5 * high.std() / np.sqrt(5000) + 0.06


def test_jumps_are_in_them() -> None:
    sde = SDE([X], [0], [[0]], jumps=[Jump({X: X + 1}, rate=2), Jump({X: 0}, at=[0.75])])
    run = walk(sde, observables={"high": running(max, X), "area": integral(X)}, dt=0.25)
    assert abs(run.high.values[:, -1].mean() - 1.5) < 0.2 and (run.high.values[:, -1] >= run.X.values[:, -1]).all()
    expected = 0.75**2 + 0.25**2
    assert abs(run.area.values[:, -1].mean() - expected) < 5 * run.area.values[:, -1].std() / np.sqrt(20_000)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: running(sum, X), "running: must be max or min"),
        (lambda: integral("X"), "integral: must be of an expression"),
        (lambda: running(max, integral(X)), "running: must be of states"),
        (lambda: simulate(LIBRARY["rescaling"].build(), SGD(0.1), start={"u": 1.0, "w": 1.0}, time=1.0,
                          observables={"m": running(max, LIBRARY["rescaling"].build().theta[0])}), "are of SDEs"),
    ],
)  # fmt: skip
def test_what_is_refused(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
