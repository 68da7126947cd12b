"""The one forecast: exponential steps, what is done where fluctuations are too much, words at the equilibrium."""

from __future__ import annotations

import numpy as np
import pytest

from sde import SGD, verify
from sde.verification import fluctuations
from sde.verification.claims.equilibrium import _beside
from sde.verification.exponential_steps import integrate
from symbolic import library


def test_linear_motion_is_exact_however_stiff() -> None:
    """m' = -H m, P' = -H P - P H + Q with eigenvalues from 0 to 1e6, in few slopes."""
    rates, turn = np.array([0.0, 1.0, 1e6]), np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    h, q = turn * rates @ turn.T, turn @ np.ones((3, 3)) @ turn.T
    calls = [0]

    def slope(time: float, y: np.ndarray) -> np.ndarray:
        calls[0] += 1
        m, p = y[:, 0], y[:, 1:]
        return np.column_stack([-h @ m, -h @ p - p @ h + q])

    m, times = turn @ np.array([1.0, 2.0, 3.0]), np.array([0.0, 1e-6, 0.3, 2.0])
    start = np.column_stack([m, np.zeros((3, 3))])
    found = integrate(slope, lambda time, y: h, start, times, tolerance=1e-3, most=200)
    assert found is not None and calls[0] < 100
    pairs = rates[:, None] + rates[None, :]
    for y, t in zip(found, times, strict=True):
        np.testing.assert_allclose(turn.T @ y[:, 0], np.exp(-rates * t) * np.array([1.0, 2.0, 3.0]), atol=1e-6)
        kept = np.where(pairs > 0, -np.expm1(-pairs * t) / np.where(pairs > 0, pairs, 1.0), t)
        np.testing.assert_allclose(turn.T @ y[:, 1:] @ turn, kept, atol=1e-6)
    assert integrate(slope, lambda time, y: h, start, times, tolerance=1e-3, most=2) is None


def test_a_report_says_that_the_mean_alone_was_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"start": {"u": 1.2, "w": 0.6}, "time": 1.0, "paths": 20}
    assert "leaves fluctuations out" not in verify(library.rescaling(), SGD(0.05), **settings).to_dict()["forecast"]
    monkeypatch.setattr(fluctuations, "WORK", 0)
    assert "leaves fluctuations out" in verify(library.rescaling(), SGD(0.05), **settings).to_dict()["forecast"]


def test_the_equilibrium_of_the_sde_is_told_in_standard_errors() -> None:
    flow = 0.1 + 0.01 * np.array([1.0, -1.0, 1.0, -1.0])
    assert _beside(flow, np.ones(4)).endswith("0.1, 17.3 standard errors off 0")
    assert _beside(np.zeros(4), np.ones(4)) == ""
