"""How the report writes numbers."""

from __future__ import annotations

from math import inf as INF
from math import nan as NAN

import numpy as np
import pytest

from sde.reports.number_format import bounds, measured, number, span, words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-0.12345, "−0.1235"),
        (1234.5678, "1235"),
        (3.1e-16, "3.1×10⁻¹⁶"),
        (-2.5e9, "−2.5×10⁹"),
        (0.99996, "1"),
        (100.0, "100"),
        (INF, "∞"),
        (-INF, "−∞"),
        (NAN, "n/a"),
        (None, "n/a"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((0.9874, 1.0188), "[0.987, 1.019]"),
        ((-INF, INF), "[−∞, ∞]"),
        ((NAN, NAN), "[n/a, n/a]"),
        ((0.0, 1e-12), "[0, 1.00]×10⁻¹²"),
        ((-0.05, 0.05), "[−0.0500, 0.0500]"),
        ((-INF, 0.01), "[−∞, 0.0100]"),
        ((0.0, 0.0), "no sampling error"),
    ],
)
def test_span(interval: tuple[float, float], text: str) -> None:
    assert span(interval) == text


def test_bounds_are_given_as_round_as_they_are() -> None:
    assert bounds((0.0, 1e-12)) == "[0, 10⁻¹²]"
    assert bounds((-INF, 0.05)) == "[−∞, 0.05]"


def test_measured_gives_the_digits_that_the_interval_warrants() -> None:
    assert measured(1.00031234, (1.0001, 1.0005))[0] == "1.00031"
    assert measured(1.234567, (0.2, 2.2))[0] == "1.23"


def test_words() -> None:
    assert words({"a": 0.5, "b": [1, True, None]}) == "a 0.5, b 1, yes, none"
    assert words(["u = 1, w = 2", "u = 3, w = 4"]) == "u = 1, w = 2; u = 3, w = 4"
    assert words(np.array([[1.0, 2.0], [3.0, 4.0]])) == "(1, 2), (3, 4)"
