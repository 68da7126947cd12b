"""Distances between distributions miss, and tell samples apart, as rarely as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from sde.verification import distances
from sde.verification.distances import Distance, Law, kolmogorov, wasserstein
from tests.sde.claim_samples import ALPHA, NORMAL, binomial


@pytest.mark.parametrize("distance", [kolmogorov, wasserstein])
@pytest.mark.parametrize("paths", [20, 400])
def test_a_distance_misses_the_true_one_no_more_often_than_it_says(distance: Any, paths: int) -> None:
    """Two-sided, at a law apart from the claimed one and at that one itself; 5 % declared, 400 samples, refused at
    1e-4. docs/theory.md eq. (10.1), (10.2), (10.3)."""
    rng, shift = np.random.default_rng(3), 0.2
    true = {kolmogorov: 2 * float(stats.norm.cdf(shift / 2)) - 1, wasserstein: shift}[distance]
    for mean, apart in ((shift, true), (0.0, 0.0)):
        missed = 0
        for _ in range(400):
            found: Distance = distance(rng.normal(mean, 1, paths), NORMAL)
            missed += found.tail(abs(found.value - apart)) <= ALPHA
        assert binomial(missed, 400, ALPHA) > 1e-4


@pytest.mark.parametrize("distance", [kolmogorov, wasserstein])
def test_two_samples_of_one_law_are_told_apart_as_rarely_as_it_says(
    distance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/theory.md eq. (10.2)."""
    rng, wrong, bounded, right = np.random.default_rng(4), 0, 0, 0
    monkeypatch.setattr(distances, "PERMUTATIONS", 499)
    for _ in range(40):
        x, y = rng.exponential(1, 60), rng.exponential(1, 90)
        found, shifted = distance(x, y), distance(x + 0.9, y)
        wrong, right = wrong + (found.same() <= ALPHA), right + (shifted.same() <= ALPHA)
        bounded += found.tail(found.value) <= ALPHA
    assert binomial(wrong, 40, ALPHA) > 1e-4 and binomial(bounded, 40, ALPHA) > 1e-4 and right == 40


def test_distances_are_those_of_scipy() -> None:
    rng = np.random.default_rng(5)
    x, y, table = rng.normal(0.3, 1, 300), rng.normal(0, 2, 200), stats.norm.ppf((np.arange(10**6) + 0.5) / 10**6)
    assert kolmogorov(x, NORMAL).value == pytest.approx(stats.kstest(x, "norm").statistic, rel=1e-12)
    assert kolmogorov(x, NORMAL).same() == pytest.approx(stats.kstest(x, "norm").pvalue, rel=1e-9)
    assert kolmogorov(x, y).value == pytest.approx(stats.ks_2samp(x, y).statistic, rel=1e-12)
    assert wasserstein(x, y).value == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-10)
    assert wasserstein(x, NORMAL).value == pytest.approx(stats.wasserstein_distance(x, table), rel=1e-3)
    coin = stats.bernoulli(0.5)
    assert kolmogorov(np.array([0.0, 0.0, 0.0, 1.0]), Law(coin.cdf, coin.ppf)).value == pytest.approx(0.25)
    for found in (kolmogorov(x, y), wasserstein(x, y), kolmogorov(x, NORMAL), wasserstein(x, NORMAL)):
        assert found.tail(found.reach(1e-4)) == pytest.approx(1e-4, rel=1e-3)
