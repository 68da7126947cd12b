"""The slope of measured on forecast changes, judged on made-up windows whose slope is known: how often a verdict is
wrong, for instruments strong and weak. Errors of the mean are those of sums of squares, as a step's |g|^2 has them."""

import numpy as np
import pytest

from sde.networks.records import Records
from sde.networks.slope_claim import SlopeClaim
from sde.networks.training_claims import claims_of
from sde.verification.verdicts import Claim, judge

ALPHA, RUNS = 0.01, 250


def windows(rng, count, slope, strength, told=0.3):
    """Records of three charges. strength: mean of a predicted change over the scatter of a measured one; told: scatter
    of what a forecast takes from one step's samples, of the mean."""
    mean = np.array([1.0, -0.7, 0.4])
    predicted = mean * (1 + told * rng.standard_normal((count, 3)))
    scatter = (rng.chisquare(6, (count, 1)) - 6) / np.sqrt(12) * rng.choice([1.0, 0.5], (count, 3))
    measured = slope * mean + scatter / strength
    records = Records()
    ones = np.ones(3)
    records.add(0, {"value": ones})
    for k in range(count):
        row = {"predicted": predicted[k], "measured": measured[k], "known": 0 * ones, "scale": 1e3 * ones}
        records.add(10 * (k + 1), {**row, "reach": 0 * ones, "blur": 0 * ones, "rounding": 1e-16 * ones})
    return records


def drift(records):
    return next(c for c in claims_of(records, ["rescaling"] * 3, ["convergent"] * 3) if c.group == "drift")


def verdicts(seed, count, slope, strength, runs=RUNS, **options):
    """Shares of each verdict."""
    rng = np.random.default_rng(seed)
    found = [judge([drift(windows(rng, count, slope, strength, **options))], ALPHA)[0] for _ in range(runs)]
    return {word: sum(v.verdict == word for v in found) / runs for word in ("supported", "refuted", "inconclusive")}


@pytest.mark.parametrize("count", [9, 40])
@pytest.mark.parametrize("strength", [0.02, 0.2, 5.0], ids=["none", "weak", "strong"])
def test_a_right_forecast_is_refuted_as_seldom_as_said(count, strength):
    """At alpha = 0.01, of 250 runs 2.5; 4 standard errors more are 9."""
    assert verdicts(1, count, 1.0, strength)["refuted"] <= 9 / RUNS


@pytest.mark.parametrize("strength", [0.02, 0.2, 5.0], ids=["none", "weak", "strong"])
@pytest.mark.parametrize("slope", [0.95, 1.05])
def test_a_forecast_at_the_margins_edge_is_supported_as_seldom_as_said(slope, strength):
    assert verdicts(2, 40, slope, strength)["supported"] <= 9 / RUNS


def test_strong_instruments_decide():
    """A forecast that is half of what is measured, or twice, is refuted; a right one supported."""
    assert verdicts(3, 60, 2.0, 5.0, 100)["refuted"] == 1
    assert verdicts(3, 60, 0.5, 5.0, 100)["refuted"] == 1
    assert verdicts(3, 60, 1.0, 20.0, 100, told=0.05)["supported"] == 1


def slope_claim(top, bottom):
    plain = Claim(
        group="drift",
        subject="",
        text="",
        estimate=1.0,
        error=np.inf,
        margin=(0.95, 1.05),
        expected=1.0,
        paths=0,
        unit="windows",
    )
    return SlopeClaim.of(np.array(top), np.array(bottom), plain)


def test_the_interval_is_of_the_slopes_that_are_not_refused():
    """Of docs/theory.md eq. (11.11)."""
    rng = np.random.default_rng(4)
    bottom = rng.normal(2.0, 1.0, 30)
    claim = slope_claim(1.3 * bottom + rng.normal(0.0, 0.5, 30), bottom)
    low, high = claim.interval(0.99)
    limit = 2.756  # Student's, 29 degrees, two-sided 1 %
    assert claim.statistic(low) == pytest.approx(limit, rel=1e-3)
    assert claim.statistic(high) == pytest.approx(limit, rel=1e-3)
    assert low < claim.estimate < high
    assert claim.p_values()[1] < 1e-3


def test_a_weak_instrument_has_no_bounds_and_no_verdict():
    rng = np.random.default_rng(5)
    top, bottom = rng.normal(0.0, 1.0, (2, 30))
    for sign in (1.0, -1.0):  # of windows that anticorrelate by chance, too
        claim = slope_claim(sign * top, sign * bottom)
        assert claim.interval(0.99) == (-np.inf, np.inf)
        assert judge([claim], ALPHA)[0].verdict == "inconclusive"
    assert judge([claim], ALPHA)[0].needs.endswith("windows")
