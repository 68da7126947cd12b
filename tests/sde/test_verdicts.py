"""Verdicts: equivalence within a margin, refutation beyond it, Holm over both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sde.verification.verdicts import Claim, holm, judge, unmeasured


def claim(estimate: float, error: float, margin=(0.95, 1.05)) -> Claim:
    return Claim(
        group="g", subject="s", text="g: s", estimate=estimate, error=error, margin=margin, expected=1.0, paths=100
    )


@pytest.mark.parametrize(
    ("estimate", "error", "word"),
    [
        (1.0, 0.005, "supported"),
        (1.0, 0.1, "inconclusive"),
        (1.2, 0.005, "refuted"),
        (1.2, 0.1, "inconclusive"),
        (0.90909, 0.005, "refuted"),
        (1.049, 0.005, "inconclusive"),
        (float("nan"), 0.005, "inconclusive"),
        (1.0, float("inf"), "inconclusive"),
    ],
)
def test_word(estimate, error, word):
    (verdict,) = judge([claim(estimate, error)], 0.01)
    assert verdict.verdict == word


def test_deterministic_claims_are_decided_exactly():
    inside, outside = judge([claim(1.05, 0.0), claim(1.0500001, 0.0)], 0.01)
    assert (inside.verdict, outside.verdict) == ("supported", "refuted")


def test_unmeasured_is_inconclusive_with_its_reason():
    (verdict,) = judge([unmeasured(claim(1.0, 1e-6), "too short")], 0.01)
    assert verdict.verdict == "inconclusive"
    assert verdict.note == "too short"
    assert verdict.interval == (-np.inf, np.inf)


def test_holm_against_its_definition():
    p = np.array([0.001, 0.03, 0.0049, 0.2, 0.9])
    # sorted: 0.001 <= 0.01, 0.0049 <= 0.0125, 0.03 > 0.01667 stops
    assert holm(p, 0.05).tolist() == [True, False, True, False, False]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
@settings(max_examples=200, deadline=None)
def test_holm_lies_between_bonferroni_and_no_correction(values, alpha):
    p = np.array(values)
    refused = holm(p, alpha)
    assert (refused | ~(p <= alpha / len(p))).all()
    assert (~refused | (p <= alpha)).all()


def test_family_wise_error_of_wrong_support_is_kept():
    """On the margin's edge, where support is wrong half the time at worst, at most alpha of families err (5 standard
    errors)."""
    rng, alpha, families, wrong = np.random.default_rng(3), 0.05, 2000, 0
    for _ in range(families):
        claims = [claim(1.05 + 1e-9 + 0.004 * rng.standard_normal(), 0.004) for _ in range(4)]
        wrong += any(v.verdict == "supported" for v in judge(claims, alpha))
    assert wrong / families < alpha + 5 * np.sqrt(alpha * (1 - alpha) / families)


def test_more_claims_need_more_evidence():
    weak = claim(1.0, 0.02)
    alone = judge([weak], 0.05)[0].verdict
    crowded = judge([weak] + [claim(1.0, 0.5)] * 50, 0.05)[0].verdict
    assert (alone, crowded) == ("supported", "inconclusive")


def test_alpha_is_checked():
    with pytest.raises(ValueError, match=r"verify.alpha: must lie in \(0, 1\); got 1.5"):
        judge([claim(1, 1)], 1.5)
