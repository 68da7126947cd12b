"""Multilevel Monte Carlo's numbers, on samplers written in NumPy: merging moments, orders of decay, allocation, and
what must not pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sde.estimators.level_rates import LevelSample, plain, remaining_bias, slope, variance_order, weak_order
from sde.estimators.multilevel import Estimate, LevelSet, Plan, Sample, VarianceWarning, estimate, mismatch
from sde.estimators.sample_moments import Moments

numbers = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=0, max_size=30)


def close(one: Moments, other: Moments, scale: float) -> bool:
    names = (("mean", 1), ("m2", 2), ("m3", 3), ("m4", 4), ("low", 1), ("high", 1))
    return one.count == other.count and all(
        getattr(one, name)
        == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-11 * max(1, one.count) * scale**power)
        for name, power in names
    )


@given(st.lists(numbers, min_size=1, max_size=5))
def test_moments_of_parts_are_those_of_the_whole(parts: list[list[float]]) -> None:
    whole = Moments.of(np.array([x for part in parts for x in part]))
    forward, backward = Moments(), Moments()
    for part in parts:
        forward = forward.merge(Moments.of(np.array(part)))
        backward = Moments.of(np.array(part)).merge(backward)
    assert close(forward, whole, 1e3) and close(backward, whole, 1e3)


def test_moments_are_numpys() -> None:
    x = np.random.default_rng(1).exponential(size=5000)
    found, d = Moments.of(x), x - x.mean()
    assert found.variance == pytest.approx(x.var(ddof=1)) and found.sem == pytest.approx(x.std(ddof=1) / 5000**0.5)
    assert found.kurtosis == pytest.approx((d**4).mean() / x.var() ** 2)
    assert found.variance_error == pytest.approx(np.sqrt((found.kurtosis - 1) / 5000))
    assert found.m3 == pytest.approx((d**3).sum()) and (found.low, found.high) == (x.min(), x.max())
    assert Moments.of(np.full(7, 0.1)).variance_error == 0 and np.isnan(Moments.of(x[:1]).variance)


def test_the_variances_doubt_is_what_it_varies_by() -> None:
    """Over 2000 samples, within 5 standard errors of a standard deviation."""
    rng = np.random.default_rng(2)
    found = [Moments.of(rng.exponential(size=1000)) for _ in range(2000)]
    spread = np.std([m.variance for m in found])
    assert np.mean([m.variance_error for m in found]) == pytest.approx(spread, rel=0.15)


def levels(
    bias: Callable[[int], float] = lambda n: 1 / n,
    gap: Callable[[int], float] = lambda n: 1 / n,
    size: float = 1.0,
    refine: int = 2,
    steps: int = 1,
    together: bool = True,
) -> Sample:
    """P_n = 3 + bias(n) + size Z + gap(n) Z_n, with Z and Z_n normal: variance order 2 where gap is 1/n. together:
    coarse on the fine one's paths."""

    def value(n: int, z: np.ndarray) -> np.ndarray:
        return 3 + bias(n) + size * z[0] + gap(n) * z[1]

    def sample(level: int, first: int, count: int, coarse: bool) -> tuple[np.ndarray, np.ndarray | None]:
        rng = np.random.default_rng([level, first])
        z, other = rng.normal(size=(2, count)), rng.normal(size=(2, count))
        n = steps * refine**level
        return value(n, z), value(n // refine, z if together else other) if coarse else None

    return sample


def plan(**changes: Any) -> Plan:
    return Plan(**({"tolerance": 0.02, "time": 1.0} | changes))


def shifted(sample: Sample, seed: int) -> Sample:
    return lambda level, first, count, coarse: sample(level, first + (seed << 44), count, coarse)


@pytest.mark.parametrize(("refine", "tolerance"), [(2, 0.05), (4, 0.02)])
def test_the_error_is_the_tolerance(refine: int, tolerance: float) -> None:
    """200 seeds: root mean square within what was asked (chi-square, 4 standard errors), and not below half of it; the
    intervals hold 3."""
    asked = plan(tolerance=tolerance, refine=refine)
    found = [estimate(shifted(levels(refine=refine), seed), asked) for seed in range(200)]
    gaps = np.array([e.value - 3 for e in found])
    assert 0.5 * tolerance < np.sqrt((gaps**2).mean()) < tolerance * (1 + 4 / np.sqrt(400))
    assert np.mean([low <= 3 <= high for low, high in (e.interval for e in found)]) > 0.95 - 4 * np.sqrt(
        0.95 * 0.05 / 200
    )
    assert all(e.error <= 1.02 * tolerance for e in found)
    assert np.std(gaps) == pytest.approx(np.mean([e.sem for e in found]), rel=5 / np.sqrt(400))


def test_the_report_adds_up() -> None:
    found = estimate(levels(), plan())
    assert found.value == pytest.approx(sum(level.mean for level in found.levels), rel=1e-14)
    assert found.path_steps == sum(level.paths * level.cost for level in found.levels) + found.discarded
    assert found.sem**2 == pytest.approx(sum(level.variance / level.paths for level in found.levels), rel=1e-9)
    assert [level.steps for level in found.levels] == [found.levels[0].steps * 2**k for k in range(len(found.levels))]
    for low, high in zip(found.levels[:-1], found.levels[1:], strict=True):
        assert high.cost == low.steps + high.steps and low.dt == 2 * high.dt
        assert high.mean == pytest.approx(-1 / high.steps, abs=5 * np.sqrt(high.variance / high.paths))
    assert found.order == pytest.approx(1, abs=0.2) and found.decay == pytest.approx(2, abs=0.2)
    assert found.bias == pytest.approx(1 / found.levels[-1].steps, rel=0.2) and found.bias < 0.01


def test_the_allocation_is_the_cheapest() -> None:
    """Against a search: no other split of the same variance costs less."""
    level_set = LevelSet(levels(), plan(tolerance=1e-3))
    level_set.add(), level_set.add()
    level_set.level_samples[0].fine = Moments.of(np.array([0.0, 2**0.5]))
    v, cost = np.array([1.0, 0.3, 0.01]), np.array([t.cost for t in level_set.level_samples], dtype=float)
    n = np.array(level_set.required(v)[0])
    assert (v / n).sum() == pytest.approx(0.75e-6, rel=1e-3) and (v / n).sum() <= 0.75e-6
    rng = np.random.default_rng(3)
    for other in n * np.exp(0.2 * rng.normal(size=(200, 3))):
        other = other * (v / other).sum() / (v / n).sum()
        assert (other * cost).sum() >= (n * cost).sum() * (1 - 1e-9)


def test_batches_do_not_change_the_result() -> None:
    """Samplers number paths, so a level that grows takes new ones and never one twice."""
    asked: dict[int, list[tuple[int, int]]] = {}

    def noted(level: int, first: int, count: int, coarse: bool) -> tuple[np.ndarray, np.ndarray | None]:
        asked.setdefault(level, []).append((first, count))
        z = np.array([np.random.default_rng([level, k]).normal(size=2) for k in range(first, first + count)]).T
        n = 2**level
        fine, rough = (3 + 1 / m + z[0] + z[1] / m for m in (n, max(n // 2, 1)))
        return fine, rough if coarse else None

    found = [estimate(noted, plan(tolerance=0.05, batch=batch)) for batch in (1 << 17, 333)]
    assert found[0].value == pytest.approx(found[1].value, rel=1e-12) and found[0].sem == pytest.approx(
        found[1].sem, rel=1e-9
    )
    asked.clear()
    estimate(noted, plan(tolerance=0.05, batch=333))
    for runs in asked.values():
        assert [first for first, _ in runs] == [0, *np.cumsum([count for _, count in runs])[:-1]]


def test_lowest_levels_that_do_not_pay_are_left() -> None:
    """Below 16 steps the coarse value is mostly noise of its own. Every path-step is counted, those on the levels left
    too."""
    spent, sample = [0], levels(gap=lambda n: 10.0 if n < 16 else 1 / n)

    def counted(level: int, first: int, count: int, coarse: bool) -> tuple[np.ndarray, np.ndarray | None]:
        spent[0] += count * (2**level + (2**level // 2 if coarse else 0))
        return sample(level, first, count, coarse)

    found = estimate(counted, plan())
    assert found.levels[0].steps == 16 and found.discarded > 0
    assert found.value == pytest.approx(3, abs=4 * found.error)
    assert found.path_steps == spent[0]


def test_what_plain_monte_carlo_would_cost() -> None:
    """Bias 1/n and variance 1, known: n V / (error**2 - n**-2) at its least, by search; also measured through
    `estimate`."""

    def tally(level: int) -> LevelSample:
        steps, rng = 2**level, np.random.default_rng(level)
        z = rng.normal(size=10_000)
        z = (z - z.mean()) / z.std(ddof=1)
        fine, coarse = 3 + 1 / steps + z, 3 + 2 / steps + z
        return LevelSample(
            level,
            steps,
            steps,
            Moments.of(coarse) if level else None,
            Moments.of(fine - coarse if level else fine),
            Moments.of(fine),
        )

    cheapest = plain([tally(k) for k in range(5)], 1.0, 0.01)
    assert cheapest is not None
    steps, cost = cheapest
    n = np.arange(101, 2000)
    costs = n / (1e-4 - 1 / n**2)
    assert steps == n[costs.argmin()] and cost == pytest.approx(costs.min(), rel=1e-6)
    found = estimate(levels(), plan())
    n = np.arange(round(1 / found.error) + 1, 2000)
    assert found.plain_path_steps == pytest.approx((n / (found.error**2 - 1.0 / n**2)).min(), rel=0.2)


def test_without_bias_plain_monte_carlos_steps_are_told_where_its_noise_is_small() -> None:
    """A bias hidden by noise of its own size may be any number below that, so no steps are named; where f hardly varies
    between levels, one step is."""
    found = estimate(levels(bias=lambda n: 0.0), plan())
    assert found.plain_steps is None and found.plain_path_steps is None and np.isnan(found.saving)
    found = estimate(levels(bias=lambda n: 0.0, gap=lambda n: 1e-3 / n), plan())
    assert found.plain_steps == 1 and found.plain_path_steps == pytest.approx(1 / found.error**2, rel=0.15)


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
def test_orders_of_exact_powers(order: float) -> None:
    values = [3 * 4.0 ** (-order * k) for k in range(5)]
    found, error = slope(range(5), values, np.ones(5).tolist(), 4)
    assert found == pytest.approx(order, abs=1e-12) and error == pytest.approx(1 / np.sqrt(10) / np.log(4))
    assert np.isnan(slope([1], [2.0], [1.0], 2)[0])


def ladder_of(order: float, decay: float, noise: float = 1e-4, count: int = 5) -> list[LevelSample]:
    """Differences of mean 2**(-order level) and variance 2**(-decay level) noise**2 per path, 1000 paths."""
    out = []
    for level in range(count):
        z = np.random.default_rng(level).normal(size=1000)
        z = (z - z.mean()) / z.std(ddof=1)
        d = Moments.of(2.0 ** (-order * level) + noise * 2.0 ** (-decay * level / 2) * z)
        out.append(LevelSample(level, 2**level, 3 * 2**level, Moments() if level else None, d, d))
    return out


def test_the_weak_order_is_the_stated_one_until_levels_speak_against_it() -> None:
    assert weak_order(ladder_of(1.0, 2.0), 2, 1.0) == 1.0
    assert weak_order(ladder_of(0.7, 2.0), 2, 1.0) == pytest.approx(0.7, abs=1e-3)
    assert weak_order(ladder_of(0.2, 2.0), 2, 1.0) == 0.5
    assert weak_order(ladder_of(2.0, 2.0), 2, 1.0) == 1.0
    assert weak_order(ladder_of(0.7, 2.0, noise=1e3), 2, 1.0) == 1.0
    assert variance_order(ladder_of(1.0, 1.3), 2) == pytest.approx(1.3, abs=1e-9)
    assert variance_order(ladder_of(1.0, 9.0), 2) == 4.0


def test_the_bias_that_is_left() -> None:
    """sum over finer levels of 2**-level is the last one's own; a last difference that is 0 by chance does not hide
    those before it."""
    level_samples = ladder_of(1.0, 2.0)
    assert remaining_bias(level_samples, 1.0, 2)[0] == pytest.approx(1 / 16, rel=1e-4)
    level_samples[-1].difference = Moments.of(np.array([-1e-9, 1e-9]))
    assert remaining_bias(level_samples, 1.0, 2)[0] == pytest.approx(1 / 16, rel=1e-4)
    level_samples[-2].difference = level_samples[-1].difference
    assert remaining_bias(level_samples, 1.0, 2)[0] == pytest.approx(1 / 16, rel=1e-4)


def test_levels_that_agree_are_not_told_apart() -> None:
    """Of 2000 pairs of a normal law's, a log-normal one's and a rare event's samples, of sizes far apart: none beyond
    5, and as a normal's own z where it is one."""
    rng = np.random.default_rng(5)
    laws: dict[str, Callable[[int], np.ndarray]] = {
        "normal": lambda n: rng.normal(size=n),
        "lognormal": lambda n: np.exp(1.5 * rng.normal(size=n)),
        "rare": lambda n: (rng.random(n) < 1e-3).astype(float),
    }
    for name, law in laws.items():
        z = np.array([mismatch(Moments.of(law(5000)), Moments.of(law(64))) for _ in range(2000)])
        assert z.max() < 5, name
        if name == "normal":
            assert np.mean(z > 1.5) == pytest.approx(0.13, abs=0.06)


def broken(sample: Sample, by: float) -> Sample:
    """The coarse value is not the one that the level below estimates."""

    def wrong(level: int, first: int, count: int, coarse: bool) -> tuple[np.ndarray, np.ndarray | None]:
        fine, rough = sample(level, first, count, coarse)
        return fine, rough if rough is None else rough + by

    return wrong


def test_a_sum_that_does_not_telescope_is_caught() -> None:
    """A coarse value off on every level, as a coarse step of the wrong length makes."""
    with pytest.raises(ValueError, match=r"levels must agree on E f at \d+ steps; got .* standard errors apart"):
        estimate(broken(levels(), 0.3), plan())
    estimate(broken(levels(), 0.0), plan())


def test_uncoupled_levels_are_seen_in_the_cost() -> None:
    """Coarse values of other paths: variances stay, the lowest levels no longer pay, and the cost rises to plain Monte
    Carlo's or more."""
    coupled, loose = estimate(levels(), plan()), estimate(levels(together=False), plan())
    assert loose.decay <= 1 < coupled.decay and loose.value == pytest.approx(3, abs=4 * loose.error)
    assert loose.path_steps > 3 * coupled.path_steps and loose.saving < 1 < coupled.saving


def test_a_bias_that_does_not_fall_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"expectation.levels: the bias must fall below 0.01 by level 6 \(64 steps\); got 0.2"
    ):
        estimate(levels(bias=lambda n: -0.1 * np.log2(n)), plan(most=6))


def test_a_budget_is_kept_before_it_is_spent() -> None:
    spent = [0]

    def counted(level: int, first: int, count: int, coarse: bool) -> tuple[np.ndarray, np.ndarray | None]:
        spent[0] += count * 2**level
        return levels()(level, first, count, coarse)

    with pytest.raises(
        ValueError, match=r"1e\+06 path-steps are the budget; got 0.0001 .*, which takes .* or more. Ask for about"
    ):
        estimate(counted, plan(tolerance=1e-4, budget=1e6))
    assert spent[0] < 1e6


def test_f_of_one_value_is_refused() -> None:
    with pytest.raises(ValueError, match="f must vary for its mean to have an error; got 4 "):
        estimate(lambda level, first, count, coarse: (np.full(count, 4.0), np.full(count, 4.0)), plan())


def test_a_lowest_level_without_chance_is_left() -> None:
    """As where noise reaches f only by the second step."""
    found = estimate(levels(size=0.0, gap=lambda n: 0.0 if n == 1 else 1 + 1 / n), plan(tolerance=0.005))
    assert found.levels[0].steps > 1 and found.value == pytest.approx(3, abs=4 * found.error)


def test_rounding_that_drowns_the_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="must be well above the rounding of the steps, about .*; got 0.0001"):
        estimate(levels(size=100.0), plan(tolerance=1e-4, rounding=6e-8))


def test_an_error_made_by_few_paths_is_told() -> None:
    """One path in 400 is 20 on the first level; with a normal law there is no warning."""

    def rare(level: int, first: int, count: int, coarse: bool) -> tuple[np.ndarray, np.ndarray | None]:
        x = 20.0 * (np.random.default_rng([level, first]).random(count) < 1 / 400)
        return x + 1 / 2**level, x + 2 / 2**level if coarse else None

    with pytest.warns(
        VarianceWarning, match=r"is itself uncertain by \d+%, as few paths make it \(kurtosis .* on level 0\)"
    ):
        estimate(rare, plan(tolerance=2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate(rare, plan(tolerance=0.01))
        assert isinstance(estimate(levels(), plan()), Estimate)
