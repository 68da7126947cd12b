"""Jumps at rates, at times and at levels: closed forms, a naive twin, and bits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, InputError, Jump, convergence, expectation, simulate
from symbolic import Bernoulli, Laplace, Normal, Uniform
from tests.naive.hybrid import Level, follow

X, N, S, Z, s, lam = sp.symbols("X N S Z s lam", real=True)
STILL = [[0]]
LEAPING = SDE([X], [X], [[X]], jumps=[Jump({X: 0}, rate=1)])


def within(values: Any, expected: float, errors: float = 5.0) -> bool:
    """Whether a sample's mean is the expected one, by its standard errors."""
    return abs(np.mean(values) - expected) < errors * np.std(values) / np.sqrt(np.size(values))


def run(sde: SDE, start: dict[Any, float], time: float, **options: Any) -> Any:
    given: dict[str, Any] = {"dt": time / 20, "paths": 20_000, "keep": "paths", "save_at": 2, "check": False, "seed": 3}
    return simulate(sde, start=start, time=time, **given | options)


def test_birth_and_death_is_exact_at_any_step() -> None:
    """docs/theory.md eq. (6.9): births at 2 X, deaths at X: E X = x e^t, Var X = 3 x e^t (e^t - 1);
    steps of 0.5 see every jump."""
    sde = SDE(
        [X, N], [0, 0], [[0], [0]], jumps=[Jump({X: X + 1, N: N + 1}, rate=2 * X), Jump({X: X - 1, N: N + 1}, rate=X)]
    )
    found = run(sde, {X: 10.0, N: 0.0}, 1.0, dt=0.5)
    x, e = found.X.values[:, -1], math.e
    assert within(x, 10 * e) and within((x - 10 * e) ** 2, 30 * e * (e - 1))
    assert within(found.N.values[:, -1], 30 * (e - 1)) and (x == np.round(x)).all() and (x >= 0).all()


@pytest.mark.parametrize(
    ("law", "mean", "square"),
    [(Normal(1, 2), 1, 5), (Uniform(0, 3), 1.5, 3), (Bernoulli(0.25), 0.25, 0.25), (Laplace(1, 0.5), 1, 1.5)],
)
def test_compound_poisson(law: Any, mean: float, square: float) -> None:
    """E and Var of a compound Poisson process are rate t times E Z and E Z^2."""
    found = run(SDE([X], [0], STILL, jumps=[Jump({X: X + Z}, rate=3, sizes={Z: law})]), {X: 0.0}, 2.0).X.values[:, -1]
    assert within(found, 6 * mean) and within((found - 6 * mean) ** 2, 6 * square)


def test_rate_of_state_and_time() -> None:
    """dX = -X dt with jumps of 1 at rate 1 + X + s/2: m' = 1 + s/2, as the pull and the rate's slope cancel."""
    sde = SDE([X], [-X], STILL, time=s, jumps=[Jump({X: X + 1}, rate=1 + X + s / 2)])
    assert within(run(sde, {X: 1.0}, 2.0, dt=0.01).X.values[:, -1], 1 + 2 + 1)


def test_merton_call() -> None:
    """Merton's series for a call under jumps (J. Financ. Econ. 3 (1976) 125)."""
    from scipy.stats import norm

    r, sigma, rate, mean, spread = 0.05, 0.2, 1.0, -0.1, 0.15
    shift = math.exp(mean + spread**2 / 2) - 1
    expected = 0.0
    for n in range(30):
        v = math.sqrt(sigma**2 + n * spread**2)
        rn = r - rate * shift + n * math.log(1 + shift) / 1
        d = (rn + v**2 / 2) / v
        weight = math.exp(-rate * (1 + shift)) * (rate * (1 + shift)) ** n / math.factorial(n)
        expected += weight * (norm.cdf(d) - math.exp(-rn) * norm.cdf(d - v))
    sde = SDE([S], [(r - rate * shift) * S], [[sigma * S]],
              jumps=[Jump({S: S * sp.exp(Z)}, rate=rate, sizes={Z: Normal(mean, spread)})])  # fmt: skip
    pay = np.maximum(run(sde, {S: 1.0}, 1.0, dt=0.02, paths=40_000).S.values[:, -1] - 1, 0) * math.exp(-r)
    assert within(pay, expected) and 0.1 < expected < 0.2


def test_integrate_and_fire() -> None:
    """dV = 2 dt + dW, reset to 0 at 1: the mean interval is 1/2, and N counts; noiseless, every interval is."""
    for noise, error in ((1.0, 5.0), (0.0, None)):
        sde = SDE([X, N], [2, 0], [[noise], [0]], jumps=[Jump({X: 0, N: N + 1}, when=X > 1)])
        found = run(sde, {X: 0.0, N: 0.0}, 20.2, dt=0.02, paths=2000)
        count = found.N.values[:, -1]
        if error is None:
            assert (count == 40).all() and found.X.values[:, -1] == pytest.approx(0.4, abs=1e-9)
        else:
            # renewal: E N(t) = t/m + (v/m^2 - 1)/2 with m = 1/2, v = 1/8
            assert within(count, 20.2 * 2 + (0.5 - 1) / 2, 5.0) or abs(count.mean() / 40.15 - 1) < 0.005
            assert found.X.values.max() <= 1 + 1e-12


def test_events_share_the_coin_of_a_reset() -> None:
    """The first spike is dated where the reset is made."""
    sde = SDE([X, N], [2, 0], [[1], [0]], jumps=[Jump({X: 0, N: N + 1}, when=X > 1)])
    found = run(sde, {X: 0.0, N: 0.0}, 1.0, dt=0.1, paths=2000, save_at=11, events={"spike": X > 1})
    had = found.spike_time.values[:, None] <= found.time.values[None, :]
    assert np.array_equal(had, found.N.values > 0)


def test_doses_are_given_at_their_times() -> None:
    """A drug eliminated at rate k, doses of 5 at 0, 8 and 16: a sum of exponentials."""
    k, doses = 0.3, [0, 8, 16]
    sde = SDE([X], [-k * X], STILL, jumps=[Jump({X: X + 5}, at=doses)])
    found = simulate(sde, start={X: 0.0}, time=24.0, dt=0.01, paths=1, keep="paths", save_at=[0, 4, 8, 15.99, 16, 24],
                     scheme="euler-maruyama", check=False)  # fmt: skip
    expected = [sum(5 * math.exp(-k * (t - d)) for d in doses if t >= d) for t in found.time.values]
    assert found.X.values[0] == pytest.approx(expected, rel=0.02)
    assert found.X.values[0, 0] == 5 and found.X.values[0, 4] - found.X.values[0, 3] == pytest.approx(5, abs=0.05)


def test_ruin_by_claims_that_jump_over_the_level() -> None:
    """Cramer-Lundberg: premium c = 1.5, claims exponential(1) at rate 1: ruin with probability exp(-x/3)/1.5."""
    claim = sp.Symbol("claim", real=True)
    sde = SDE([X], [1.5], STILL, jumps=[Jump({X: X + sp.log(claim)}, rate=1, sizes={claim: Uniform(0, 1)})])
    found = run(sde, {X: 1.0}, 150.0, dt=2.0, events={"ruin": X < 0}, stop="first")
    ruined = np.isfinite(found.ruin_time.values)
    assert within(ruined, math.exp(-1 / 3) / 1.5) and (found.X.values[ruined, -1] < 0).all()


def test_paths_are_those_of_the_naive_twin() -> None:
    """Two clocks, a reset and an impulse, on top of noise."""
    jumps = [Jump({X: X / 2}, when=X > 1), Jump({X: X + Z}, rate=2 + X**2, sizes={Z: Normal(0, 0.3)}),
             Jump({X: X - Z}, rate=1, sizes={Z: Laplace(0, 0.2)}), Jump({X: X + 0.25}, at=[0, 0.5])]  # fmt: skip
    sde = SDE([X], [1 - X], [[sp.Rational(1, 2)]], jumps=jumps)
    found = run(sde, {X: 0.0}, 1.0, dt=0.1, paths=60, save_at=11, events={"low": X < -0.5}, stop="first")
    changes = [
        (lambda x, z: x / 2, []),
        (lambda x, z: x + 0.3 * z[0], [-3]),
        (lambda x, z: x - 0.2 * (z[0] - z[1]), [-2, -2]),
        (lambda x, z: x + 0.25, []),
    ]
    rates = [(lambda x: 2 + x**2, 2), (lambda x: 1.0, 3)]
    total = 0
    for path in range(60):
        twin = follow(path, 3, 0.0, found.time.values, lambda x: 1 - x, lambda x: 0.5,
                      [Level(-0.5, -1.0, ends=True), Level(1.0, reset=1)], rates, changes, {0: 4, 5: 4})  # fmt: skip
        assert found.X.values[path] == pytest.approx(np.array(twin.states), abs=1e-9), path
        assert found.stop_time.values[path] == pytest.approx(twin.stop, abs=1e-9, nan_ok=True)
        total += sum(twin.counts)
    assert total > 200 and 3 < np.isfinite(found.stop_time.values).sum() < 57


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_rate_that_is_no_number_loses_its_path(dtype: str) -> None:
    """Where it is asked for, as the naive twin does: it would count as 0 in a comparison. A path that stops there, or
    ends there, is not lost."""
    sde = SDE([X, N], [0, 0], [[1], [0]], jumps=[Jump({X: X + 0.3, N: N + 1}, rate=sp.sqrt(X))])
    found = run(sde, {X: 0.5, N: 0.0}, 1.0, dt=0.1, paths=200, save_at=11, dtype=dtype)
    lost, end = 0, np.isfinite(found.X.values[:, -1])
    for path in range(200 if dtype == "float64" else 0):
        twin = follow(path, 3, 0.5, found.time.values, lambda x: 0.0, lambda x: 1.0, (),
                      [(lambda x: math.sqrt(x) if x >= 0 else math.nan, 1)], [(lambda x, _: x + 0.3, [])])  # fmt: skip
        left = [k for k, x in enumerate(twin.states[:-1]) if x < 0]
        lost += math.isfinite(twin.lost)
        assert math.isfinite(twin.lost) == (not end[path]) and (not left or end[path] == (left[0] == 10))
        assert found.X.values[path, end[path] * 10] == pytest.approx(twin.states[end[path] * 10], abs=1e-9)
    assert found.attrs["exploded_paths"] == (~end).sum() > 20 and (lost == (~end).sum() or dtype == "float32")
    assert (found.X.values[end, -1] < 0).any(), "the last state needs no rate"
    stopped = run(sde, {X: 0.5, N: 0.0}, 1.0, dt=0.1, paths=200, events={"out": X < 0}, stop="first", dtype=dtype)
    assert stopped.attrs["exploded_paths"] == 0 and np.isfinite(stopped.out_time.values).sum() > 20


def test_a_level_is_crossed_from_where_it_has_no_value() -> None:
    """log(X) > 0 is true after a jump from -1 to 2, at the jump; a reset is made there."""
    leap = Jump({X: 2}, at=[0.35])
    for jumps, at in (([leap], "at"), ([Jump({X: 2 + 0 * X}, rate=2)], "rate")):
        sde = SDE([X, N], [0, 0], [[0], [0]], jumps=[*jumps, Jump({N: N + 1}, when=sp.log(X) > 0)])
        found = run(sde, {X: -1.0, N: 0.0}, 1.0, paths=500, events={"up": sp.log(X) > 0})
        led = found.X.values[:, -1] == 2
        assert np.array_equal(np.isfinite(found.up_time.values), led) and np.array_equal(found.N.values[:, -1], led)
        assert at == "rate" or found.up_time.values == pytest.approx(0.35)
        assert led.mean() > 0.8


def test_bits(tmp_path: Path) -> None:
    sde = SDE(
        [X], [-X], [[0.3]], jumps=[Jump({X: X + Z}, rate=1 + X**2, sizes={Z: Normal(0, 1)}), Jump({X: 0}, when=X > 2)]
    )
    options: dict[str, Any] = {"keep": "statistics", "paths": 2000}
    one = run(sde, {X: 0.0}, 2.0, threads=1, **options).attrs["result_hash"]
    assert run(sde, {X: 0.0}, 2.0, threads=3, **options).attrs["result_hash"] == one
    assert run(sde, {X: 0.0}, 2.0, threads=2, executor="processes", **options).attrs["result_hash"] == one
    for _ in range(2):
        assert run(sde, {X: 0.0}, 2.0, checkpoint=tmp_path / "r", **options).attrs["result_hash"] == one


def test_step_check_sees_the_same_jumps() -> None:
    """Jumps of a path do not depend on dt, so half the step differs by the drift's error alone."""
    sde = SDE([X], [-X], [[0.1]], jumps=[Jump({X: X + 1}, rate=3)])
    assert run(sde, {X: 0.0}, 4.0, dt=0.02, check=True).attrs["step_error"] < 0.05


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Jump({X: 0}), "Jump: needs changes, and one"),
        (lambda: Jump({X: 0}, rate=1, when=X > 1), "Jump: needs changes, and one"),
        (lambda: Jump({X: 0}, at=[1, 1]), "Jump.at: must be distinct times"),
        (lambda: Jump({X: Z}, rate=1, sizes={Z: 3}), r"Jump.sizes\[Z\]: must be a distribution"),
        (lambda: SDE([X], [0], STILL, jumps=[Jump({N: 0}, rate=1)]), r"jumps\[0\].changes: must name states"),
        (lambda: SDE([X], [0], STILL, jumps=[Jump({X: N}, rate=1)]), "may use states, time"),
        (lambda: SDE([X], [0], STILL, jumps=[3]), "SDE.jumps: must be a list of Jump"),
        (lambda: run(LEAPING, {X: 1.0}, 1.0, scheme="adaptive-euler"), "jumps: a scheme whose steps"),
        (lambda: expectation(LEAPING, X, tolerance=0.1, start={X: 0.0}, time=1.0), "jumps: only simulate"),
        (lambda: convergence(LEAPING, start={X: 0.0}, time=1.0), "jumps: only simulate"),
    ],
)
def test_what_is_refused(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
