"""The stationary law of a scalar chain: density, quantiles and moments against quadrature, and against simulated
paths."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from scipy import stats
from scipy.integrate import cumulative_simpson

from symbolic import SGD, Dataset, Loss, Normal
from symbolic.library import rescaling, scalar_chain
from symbolic.predictions.stationary import StationaryLaw, stationary_law
from symbolic.predictions.stationary.density import positive_roots
from tests.symbolic import losses
from tests.symbolic.losses import e, u, w, x, y

v = sp.Symbol("v", positive=True)


def against_mpmath(law: StationaryLaw, at: list[float]) -> None:
    """pdf and cdf against mpmath's quadrature of the symbolic density over log v."""
    f: Any = sp.lambdify(v, law.density(v), "mpmath")
    mass = lambda *ends: mp.quad(lambda t: f(mp.exp(t)) * mp.exp(t), ends)  # noqa: E731
    cuts = [-300, -60, -20, -6, -2, -0.5, 0, 0.5, 2, 6, 20, 60]
    total = mass(*cuts)
    for point in at:
        assert law.pdf(point) == pytest.approx(float(f(mp.mpf(point)) / total), rel=1e-11)
        below = mass(*[c for c in cuts if c < np.log(point)], mp.log(point)) / total
        assert law.cdf(point) == pytest.approx(float(below), rel=1e-10)
        assert law.sf(point) == pytest.approx(float(1 - below), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("sgd", [SGD(0.2), SGD(0.1, weight_decay=0.3), SGD(0.1, batch_size=2, momentum=0.5)], ids=str)
def test_two_factors_against_mpmath(sgd: SGD) -> None:
    """docs/theory.md eq. (5.3)."""
    law = stationary_law(rescaling(), sgd)
    assert law.temperature == pytest.approx(0.2 if not sgd.weight_decay and not sgd.momentum else 0.1)
    against_mpmath(law, [1e-3, 0.4, 1.0, 3.0, 50.0])


def test_three_factors_against_quadrature() -> None:
    """Its exponent by hand for a1 = a2 = 0 (x = 1): (b1 s - b2)/s^{4/3} integrates to (3/2) b1 s^{2/3} + 3 b2 s^{-1/3}.
    docs/theory.md eq. (5.5)."""
    loss = Loss((u * w * e - y) ** 2, [u, w, e], {y: Normal(1, 2)})
    law = stationary_law(loss, SGD(0.5))
    f = lambda p: p**-2.0 * np.exp(-(1.5 * p ** (2 / 3) + 3 * p ** (-1 / 3)) / (3 * 0.5 * 4))  # noqa: E731
    grid = np.linspace(-25, 12, 20001)
    mass = cumulative_simpson(f(np.exp(grid)) * np.exp(grid), x=grid, initial=0)
    points = np.array([1e-3, 0.1, 0.5, 1.0, 5.0, 20.0])
    assert law.pdf(points) == pytest.approx(f(points) / mass[-1], rel=1e-9)
    assert law.cdf(points) == pytest.approx(np.interp(np.log(points), grid, mass / mass[-1]), rel=1e-5)
    assert law.T_c == np.inf


def test_constant_noise_is_a_gamma_law() -> None:
    """x = +-1: p ~ v^{b/(2 T a3) - 3/2} e^{-b1 v/(2 T a3)}."""
    signs, targets = np.array([1.0, -1, 1, 1]), np.array([2.0, -1, 0.5, 1])
    law = stationary_law(Loss((u * w * x - y) ** 2, [u, w], Dataset({x: signs, y: targets})), SGD(0.1))
    a = float(np.var(signs * targets))
    known = stats.gamma(np.mean(signs * targets) / (0.2 * a) - 0.5, scale=0.2 * a)
    q = np.array([1e-9, 0.01, 0.5, 0.99, 1 - 1e-9])
    assert law.ppf(q) == pytest.approx(known.ppf(q), rel=1e-9)
    assert [law.mean(), law.std(), law.moment(5)] == pytest.approx([known.mean(), known.std(), known.moment(5)])
    assert law.tail_exponent == np.inf


@pytest.mark.parametrize("factors", [2, 4])
@pytest.mark.parametrize("rate", [1e-8, 1e-4, 0.1, 0.4, 0.4444])
def test_quantiles_invert_in_both_tails(rate: float, factors: int) -> None:
    law = stationary_law(rescaling() if factors == 2 else scalar_chain(factors), SGD(rate))
    q = np.array([1e-10, 1e-5, 0.1, 0.3, 0.5, 0.6])
    low, high = law.ppf(q), law.isf(q)
    seen, reached = low > 0, high > 0  # near T_c quantiles lie below the smallest float
    high = high[reached]
    assert low[seen] == pytest.approx(law.ppf(law.cdf(low[seen])), rel=1e-9)
    assert high == pytest.approx(law.isf(law.sf(high)), rel=1e-9)
    assert law.cdf(low[seen]) == pytest.approx(q[seen], rel=1e-9)
    assert law.sf(high) == pytest.approx(q[reached], rel=1e-9)
    assert law.ppf(1 - 1e-10) == pytest.approx(law.isf(1e-10), rel=1e-5)
    assert not np.any(np.diff(low) < 0)


def test_narrow_law_is_normal_with_the_linear_variance() -> None:
    """T -> 0: dv = -4 b1 v* (v - v*) dt + 2 v* sqrt(4 T C_2) dW at v* = 1, so Var = 2 T C_2(v*) v*/b1."""
    law = stationary_law(rescaling(), SGD(1e-8))
    assert law.std() == pytest.approx(np.sqrt(2e-8 / 4), rel=1e-6)
    assert law.sf(1 + 2 * law.std()) == pytest.approx(stats.norm.sf(2), rel=1e-3)


def test_moments_and_tail() -> None:
    """v^{-7/2}: mean and variance exist, the third moment does not. docs/theory.md eq. (5.4)."""
    law = stationary_law(rescaling(), SGD(0.2))
    assert law.tail_exponent == 3.5
    assert law.sf(2e8) / law.sf(1e8) == pytest.approx(2**-2.5, rel=1e-6)
    assert law.moment(2) - law.mean() ** 2 == pytest.approx(law.var())
    assert np.isfinite(law.moment(2.4))
    assert law.moment(2.5) == law.moment(3) == np.inf
    grid = np.linspace(-60, 60, 60001)
    density = law.pdf(np.exp(grid)) * np.exp(grid)
    assert law.mean() == pytest.approx(np.trapezoid(density * np.exp(grid), grid), rel=1e-8)
    assert stationary_law(scalar_chain(3), SGD(0.2)).tail_exponent == 4


def test_interface() -> None:
    law = stationary_law(rescaling(), SGD(0.1))
    assert law.cdf(law.median()) == pytest.approx(0.5)
    low, high = law.interval(0.9)
    assert (law.cdf(low), law.sf(high)) == pytest.approx((0.05, 0.05))
    assert law.support() == (0, np.inf)
    assert law.ppf([[0, 1], [2, np.nan]]) == pytest.approx(np.array([[0, np.inf], [np.nan, np.nan]]), nan_ok=True)
    assert (law.pdf(-1.0), law.cdf(-1.0), law.sf(-1.0), law.cdf(np.inf)) == (0, 0, 1, 1)
    assert np.isnan(law.cdf(np.nan))
    assert law.logpdf(1e300) == pytest.approx(law.logpdf(1e200) - 3.5 * np.log(1e100), rel=1e-9)
    draws = law.rvs(size=(40, 50), seed=3)
    assert draws.shape == (40, 50)
    assert stats.kstest(draws.ravel(), law.cdf).pvalue > 0.01
    assert np.array_equal(draws, law.rvs(size=(40, 50), seed=3))
    assert "T_c = 0.444444" in str(law)
    assert law._repr_latex_().startswith("$")


def test_negative_branch_mirrors() -> None:
    mirrored = Loss((u * w * x + x + e) ** 2, [u, w], {x: Normal(0, 1), e: Normal(0, losses.HALF)})
    law, mirror = stationary_law(rescaling(), SGD(0.1)), stationary_law(mirrored, SGD(0.1), "negative")
    q = np.array([1e-8, 0.2, 0.9])
    assert mirror.ppf(q) == pytest.approx(-law.isf(q))
    assert mirror.pdf(-1.2) == pytest.approx(law.pdf(1.2))
    assert mirror.cdf(-1.2) == pytest.approx(law.sf(1.2))
    assert (mirror.mean(), mirror.mode(), mirror.support()) == (-law.mean(), -law.mode(), (-np.inf, 0))
    assert stationary_law(rescaling(), SGD(0.1), "negative").collapsed
    r = -v
    assert mirror.density(r) == law.density(v)


def test_mode() -> None:
    """Below T_c/3 where the density is largest; above it the density is infinite at 0. docs/theory.md eq. (5.4)."""
    law = stationary_law(rescaling(), SGD(0.148))
    assert law.mode_temperature == pytest.approx(4 / 27)
    grid = np.linspace(0.5, 1.5, 200001)
    assert law.mode() == pytest.approx(grid[np.argmax(law.pdf(grid))], abs=1e-5)
    assert law.pdf(0.0) == 0
    above = stationary_law(rescaling(), SGD(0.149))
    assert above.mode() == 0
    assert above.pdf(0.0) == np.inf
    deep = stationary_law(scalar_chain(5), SGD(0.3))
    grid = np.linspace(0.01, 1.5, 200001)
    assert deep.mode() == pytest.approx(grid[np.argmax(deep.pdf(grid))], abs=1e-5)


def test_positive_roots() -> None:
    """(v - 1)(v - 2)(v - 50) and the same with v = t^(1/3); a double root is no change of sign."""
    terms = [(1.0, 3.0), (-53.0, 2.0), (152.0, 1.0), (-100.0, 0.0)]
    assert np.exp(positive_roots(terms)) == pytest.approx([1, 2, 50])
    assert np.exp(positive_roots([(c, p / 3 - 2) for c, p in terms])) == pytest.approx([1, 8, 125000])
    assert positive_roots([(1, 0), (1, 2)]) == positive_roots([(3, 1)]) == []


# simulation


def simulate(start: list[float], temperature: float, decay: float, time: float, paths: int, seed: int) -> np.ndarray:
    """Adaptive Euler-Maruyama of every factor (docs/theory.md, section 7), for x ~ N(0, 1), y = x + N(0, 1/4): the
    product at
    `time`."""
    rng, n, h = np.random.default_rng(seed), len(start), 0.005
    out, ids = np.empty(paths), np.arange(paths)
    state, left = np.tile(np.array(start)[:, None], paths), np.full(paths, time)
    while len(ids):
        p = state.prod(axis=0)
        q, var = 2 * (p - 1), 4 * (2 * p**2 - 4 * p + 2.25)
        others = np.array([np.delete(state, i, 0).prod(axis=0) for i in range(n)])
        size = np.abs(others).max(axis=0) / np.abs(state).max(axis=0)
        dt = np.minimum(left, h / (1 + temperature * var * size**2 + np.abs(q) * size))
        state = (
            state
            - (q * others + decay * state) * dt
            + np.sqrt(temperature * var * dt) * others * rng.standard_normal(len(ids))
        )
        left = left - dt
        done = left <= 0
        if done.any():
            out[ids[done]] = state[:, done].prod(axis=0)
            state, left, ids = state[:, ~done], left[~done], ids[~done]
    return out


def tilted_cdf(law: StationaryLaw, power: float) -> Any:
    """The law with its density multiplied by v^power."""
    grid = np.linspace(-120, 60, 40001)
    mass = cumulative_simpson(law.pdf(np.exp(grid)) * np.exp((1 + power) * grid), x=grid, initial=0)
    return lambda p: np.interp(np.log(p), grid, mass / mass[-1])


@pytest.mark.parametrize(
    ("loss", "start", "sgd", "time"),
    [
        pytest.param(rescaling(), [1.3, 0.5], SGD(0.1), 10.0, marks=pytest.mark.slow),
        (rescaling(), [1.3, 0.5], SGD(0.1, weight_decay=0.3), 10.0),
        (scalar_chain(3), [1.1, 1.0, 0.8], SGD(0.1), 12.0),
    ],
    ids=["two", "two-decay", "three"],
)
def test_simulated_paths_have_this_law_and_no_other(loss: Loss, start: list[float], sgd: SGD, time: float) -> None:
    """From an unbalanced start; KS at 1 %. A temperature 1.3 times as high and an exponent off by 1/2 are rejected.
    docs/theory.md eq. (5.3), (5.5)."""
    p = simulate(start, sgd.temperature, sgd.weight_decay, time, 3000, seed=2)
    law = stationary_law(loss, sgd)
    assert stats.kstest(p, law.cdf).pvalue > 0.01
    hotter = stationary_law(loss, SGD(1.3 * sgd.learning_rate, weight_decay=sgd.weight_decay))
    assert stats.kstest(p, hotter.cdf).pvalue < 1e-4
    assert stats.kstest(p, tilted_cdf(law, 0.5)).pvalue < 0.01
