"""Decimals of many digits stand for fractions all through: what is 0 by them comes out as 0."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Loss, Normal, derive
from tests.symbolic.losses import x, y

a, b, c = sp.symbols("a b c", real=True)
DRAWN = np.random.default_rng(0).normal(size=3)
CONSTANTS: dict[str, list[float]] = {
    "twelve digits": [1, 0.123456789012],
    "six digits": [1, 0.123456],
    "one digit": [1, 0.1],
    "drawn": list(DRAWN),
    "small": [1e-9, 3.00000001, 0.7],
    "large": [123456789.123, 1, 1e-3],
    "negative": [-0.333333333333333, 2.718281828459, 0.577215664901],
}


def linear(weights: list[float]) -> Loss:
    """(sum_i c_i theta_i x - y)^2."""
    theta = [a, b, c][: len(weights)]
    model = sp.Add(*(w * t for w, t in zip(weights, theta, strict=True)))
    return Loss((model * x - y) ** 2, theta, {x: Normal(0, 1), y: Normal(0, 1)})


@pytest.mark.parametrize("name", CONSTANTS)
def test_what_noise_never_touches_has_no_drift(name: str) -> None:
    """All noise lies along the constants, and every charge has them in its generator's kernel. docs/theory.md eq.
    (3.2)."""
    theory = derive(linear(CONSTANTS[name]))
    at = np.array([0.3, 0.7, -0.2])[: theory.loss.dimension]
    assert theory.certificate.status == "proved" and theory.charges
    for charge in theory.charges:
        assert charge.classification == "frozen"
        assert charge.drift(SGD(0.1)) == 0
        assert charge.drift_at(at, SGD(0.1)) == 0


@pytest.mark.parametrize("name", CONSTANTS)
def test_equilibrium_of_large_coefficients_gives_no_warning(name: str) -> None:
    theory = derive(linear(CONSTANTS[name]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = theory.equilibrium(dict(zip(theory.loss.theta, (0.3, 0.7, -0.2), strict=False)), SGD(0.1))
    assert all(e.classification == "frozen" and e.lambda_star == 0 for e in found.charges)


def test_rescaling_by_decimals_ends_where_the_same_by_fractions_does() -> None:
    """u and 0.123456789012 w, generators with whole numbers of 24 digits: the same point, the same rate."""
    k = 0.123456789012
    ends = []
    for factor in (sp.Float(k), sp.Rational(str(k))):
        model = (a + factor * b) * (b - c) * x
        theory = derive(Loss((model - y) ** 2, [a, b, c], {x: Normal(0, 1), y: Normal(0, 1)}))
        found = theory.equilibrium({a: 1.2, b: 0.6, c: 0.1}, SGD(0.1))
        ends.append((found.charges[0].value, found.charges[0].rate, [str(q.drift()) for q in theory.charges]))
    assert ends[0][2] == ends[1][2]
    assert ends[0][:2] == pytest.approx(ends[1][:2], rel=1e-9)
