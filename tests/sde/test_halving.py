"""Steps by an error estimate: against one path at a time by hand, against known solutions, and without the bias of
steps whose noise is drawn again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import convergence, simulate
from symbolic import SDE, InputError
from tests.naive.halving import Path

X, Y, W, s = sp.symbols("X Y W s", real=True)
GRID = 0.125 * np.arange(9)
PAIR = SDE([X, Y], [Y - X**3, -Y * X**2 + s], [[X / 2, 0], [0, 1 + s * Y]], time=s, name="pair")
GROWTH = SDE([X, W], [X / 2, 0], [[X], [1]], name="growth")
"""Geometric Brownian motion beside the motion that drives it."""
BETWEEN = SDE([X, W], [-X * (1 - X**2), 0], [[1 - X**2], [1]], name="between")
"""X = tanh(W)."""
RELAXING = SDE([X], [-1000 * (X - sp.cos(s))], [[1]], time=s, name="relaxing")
WINDOW = SDE([X, W], [50 * sp.exp(-((s - sp.Rational(2, 5)) ** 2) * 2000), 0], [[1], [1]], time=s, name="window")


def run(sde: SDE = PAIR, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "start": {X: 2.0, Y: -1.0},
        "time": 1.0,
        "dt": 0.125,
        "paths": 300,
        "save_at": 9,
        "keep": "paths",
        "scheme": "adaptive-milstein",
        "tolerance": 1e-2,
        "seed": 5,
    }
    return simulate(sde, **settings | changes)


def by_hand(x: np.ndarray, t: float, h: float, w: np.ndarray) -> np.ndarray:
    f = np.array([x[1] - x[0] ** 3, -x[1] * x[0] ** 2 + t])
    b, slope = np.array([x[0] / 2, 1 + t * x[1]]), np.array([0.5, t])
    return x + f * h + b * w + slope * b * (w**2 - h) / 2


def test_paths_are_those_by_hand() -> None:
    """docs/theory.md eq. (7.1): two noises, time in both coefficients; every path's steps, taken and rejected, are
    counted."""
    found = run(paths=3)
    taken = rejected = 0
    for number in range(3):
        path = Path(by_hand, 2, 1e-2, found.attrs["size"], 5, number)
        states = path.run([2.0, -1.0], GRID)
        got = np.stack([found.X.values[number], found.Y.values[number]], axis=1)
        assert got == pytest.approx(states, rel=1e-8)
        taken, rejected = taken + path.accepted, rejected + path.rejected
    assert (found.attrs["own_steps"], found.attrs["rejected_steps"]) == (taken, rejected)
    assert rejected > 20 and found.attrs["gave_up_paths"] == 0 and found.attrs["tolerance"] == 1e-2


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_a_path_does_not_know_its_neighbours(dtype: str) -> None:
    """Same bits alone and in company, from a start of its own among wild ones, for any threads and chunks. (The first
    paths' starts set the states' size.)"""
    starts = np.linspace(-6.0, 6.0, 1000)
    whole = run(start={X: starts, Y: 0.0}, paths=1000, dtype=dtype)
    again = run(start={X: starts, Y: 0.0}, paths=1000, dtype=dtype, threads=1)
    keep = (np.arange(1000) == 300) | (np.arange(1000) < 16)
    tame = run(start={X: np.where(keep, starts, 0.1), Y: 0.0}, paths=1000, dtype=dtype)
    assert np.array_equal(whole.X.values, again.X.values)
    assert np.array_equal(whole.X.values[300], tame.X.values[300])
    assert whole.attrs["own_steps"] == again.attrs["own_steps"] > 1.2 * tame.attrs["own_steps"]


def test_the_noise_of_a_path_is_that_of_other_schemes() -> None:
    """What a driving motion has moved by at saves is the same under Milstein at the same dt, however steps are
    halved."""
    options: dict[str, Any] = {"start": {X: 1.0, W: 0.0}, "paths": 64}
    fine = run(GROWTH, tolerance=1e-4, **options)
    plain = run(GROWTH, scheme="milstein", tolerance=None, **options)
    assert fine.attrs["rejected_steps"] > 1000
    assert fine.W.values == pytest.approx(plain.W.values, abs=1e-12)


def errors(sde: SDE, start: dict[Any, float], exact: Any, **changes: Any) -> list[float]:
    """Root mean square errors at the end, for tolerances that fall by 10."""
    found = []
    for tolerance in (1e-2, 1e-3, 1e-4):
        ran = run(sde, start=start, tolerance=tolerance, save_at=2, paths=256, **changes)
        assert ran.attrs["exploded_paths"] == 0
        found.append(float(np.sqrt(np.mean((ran.X.values[:, -1] - exact(ran)) ** 2))))
    return found


def test_the_error_falls_with_the_tolerance() -> None:
    """Of geometric Brownian motion, and between walls, as tolerance^(2/3), two-sided; of a drift that is there for a
    moment only, sd dt/8, of which Milstein's scheme in steps of dt misses a tenth."""
    for sde, start, exact in ((GROWTH, 1.0, np.exp), (BETWEEN, 0.0, np.tanh)):
        found = errors(sde, {X: start, W: 0.0}, lambda r, exact=exact: exact(r.W.values[:, -1]))
        slopes = np.log10(np.array(found[:-1]) / found[1:])
        assert ((slopes > 0.5) & (slopes < 0.85)).all(), (found, slopes)
    pulse = 50 * np.sqrt(np.pi / 2000)
    of_window = errors(WINDOW, {X: 0.0, W: 0.0}, lambda r: r.W.values[:, -1] + pulse)
    plain = run(WINDOW, start={X: 0.0, W: 0.0}, scheme="milstein", tolerance=None, check=False, save_at=2)
    assert np.sqrt(np.mean((plain.X.values - plain.W.values)[:, -1] - pulse) ** 2) > 0.09 * pulse
    assert of_window[0] < 0.05 * pulse and of_window[2] < of_window[1] / 3 < of_window[0] / 9, of_window


def test_a_fast_transient_is_followed() -> None:
    """From 5 to the slow part, cos s, at rate 1000 in steps of at most 1/20, where Milstein's scheme explodes: the mean
    on the way is off by tolerance^(1/2), two-sided, and in the end mean and variance are those of the solution."""
    gaps = []
    for tolerance in (1e-2, 1e-3, 1e-4):
        options: dict[str, Any] = {"paths": 2000, "time": 0.1, "dt": 0.05, "save_at": [0.0, 0.002, 0.1]}
        found = run(RELAXING, start={X: 5.0}, tolerance=tolerance, **options)
        mean, variance = [], []
        for t in (0.002, 0.1):
            start = np.exp(-1000 * t)
            mean.append((1e6 * (np.cos(t) - start) + 1e3 * np.sin(t)) / (1e6 + 1) + 5 * start)
            variance.append((1 - start**2) / 2000)
        x = found.X.values[:, 1:]
        gaps.append(abs(x[:, 0].mean() - mean[0]))
    assert abs(x[:, 1].mean() - mean[1]) < 4 * np.sqrt(variance[1] / 2000)
    assert (abs(x.var(axis=0) / variance - 1) < 4 * np.sqrt(2 / 2000) + 0.02).all()
    slopes = np.log10(np.array(gaps[:-1]) / gaps[1:])
    assert ((slopes > 0.3) & (slopes < 0.75)).all(), (gaps, slopes)


def redrawn(tolerance: float, paths: int, seed: int) -> np.ndarray:
    """Geometric Brownian motion dX = X/2 dt + X dW at 1, in the same steps but that a rejected one's noise is drawn
    again: the naive way."""
    rng = np.random.default_rng(seed)

    def step(x: np.ndarray, h: np.ndarray, w: np.ndarray) -> np.ndarray:
        return x * (1 + h / 2 + w + (w**2 - h) / 2)

    x, t, h = np.ones(paths), np.zeros(paths), np.full(paths, 0.125)
    while (going := t < 1 - 1e-12).any():
        q = np.where(going, 1.0, 0.0) * np.sqrt(h / 4) * rng.standard_normal((4, paths))
        one = step(x, h, q.sum(axis=0))
        two = step(step(x, h / 2, q[0] + q[1]), h / 2, q[2] + q[3])
        four = x
        for w in q:
            four = step(four, h / 4, w)
        close = np.maximum(abs(two - one), abs(four - two)) <= tolerance * np.sqrt(2 + x**2)
        x, t = np.where(going & close, four, x), np.where(going & close, t + h, t)
        longest = np.where(np.round(t / h) % 2 == 0, 2 * h, h)  # of the tree's, where it begins
        h = np.where(close, np.minimum(longest, 0.125), h / 2)
    return x


def off(x: np.ndarray) -> list[float]:
    """How many standard errors E X_1, of e^(1/2), and mean and variance of log X_1 = W_1, which is normal, are off."""
    z, n = np.log(np.maximum(x, 1e-300)), len(x)
    sem = np.sqrt((np.e**2 - np.e) / n)
    return [abs(x.mean() - np.exp(0.5)) / sem, abs(z.mean()) * np.sqrt(n), abs(z.var() - 1) * np.sqrt(n / 2)]


def test_rejection_biases_nothing() -> None:
    """Nine of ten thousand such tests fail by chance. One that draws a rejected step's noise again fails by far."""
    found = run(GROWTH, start={X: 1.0, W: 0.0}, tolerance=1e-3, paths=20_000, save_at=2)
    assert found.attrs["rejected_steps"] > 100_000
    assert max(off(found.X.values[:, -1])) < 4.0
    again = off(redrawn(1e-3, 20_000, seed=1))
    assert again[0] > 20 and again[2] > 20


def test_saves_are_hit_and_events_have_the_times_of_steps() -> None:
    """An event is the end of the first accepted step after which it holds: a multiple of dt/2^n."""
    found = run(time=1.1, save_at=[0.0, 0.123, 0.5, 1.1], events={"low": 1.9 - X})
    assert found.time.values.tolist() == [0.0, 0.123, 0.5, 1.1]
    times = run(events={"low": 1.9 - X}, tolerance=1e-3).low_time.values / 0.125 * 2**10
    assert np.array_equal(times, np.round(times)) and len(np.unique(times)) > 3


def test_a_path_that_asks_for_shorter_steps_than_there_are_is_lost_and_counted() -> None:
    """dX = X^2 dt + dW/10 leaves every bound at a time near 1/X_0, but not those that reach the end before."""
    sde = SDE([X], [X**2], [[sp.Rational(1, 10)]], name="blowing up")
    with pytest.warns(UserWarning, match="exploded"):
        lost = run(sde, start={X: np.repeat([2.0, 0.5], 20)}, paths=40, bound=np.inf)
    assert lost.attrs["exploded_paths"] == lost.attrs["gave_up_paths"] == 20
    assert lost.explosion_time.values[:20] == pytest.approx(0.5, abs=0.2)
    assert "dt/2**21 and still missed the tolerance" in lost.attrs["explosions"]


def test_what_it_cannot_do_is_refused() -> None:
    twisted = SDE([X, Y], [-X, -Y], [[1, Y], [X, 1]])
    for call, message in (
        (lambda: run(twisted), "scheme: adaptive-milstein needs noises that commute"),
        (lambda: run(PAIR.to("stratonovich")), "integrates ito equations"),
        (lambda: run(refine=2), "refine: "),
        (lambda: run(tolerance=0.0), "tolerance: "),
        (lambda: run(tolerance=1e-7, dtype="float32"), "tolerance: must be at least 1e-05 in float32"),
        (lambda: run(scheme="milstein"), "tolerance: milstein takes steps that dt decides"),
        (lambda: convergence(GROWTH, "adaptive-milstein", start={X: 1.0, W: 0.0}), "convergence.scheme: "),
    ):
        with pytest.raises(InputError, match=message):
            call()
