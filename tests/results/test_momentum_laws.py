"""The exact laws of a charge under momentum, on paths of the compiled engine and of the loops beside it."""

from __future__ import annotations

import numpy as np
import pytest

from sde.results.since.momentum_and_adam import ROUNDING, heavy_residual, nesterov_residual, stationary_ratio


@pytest.mark.parametrize("residual", [heavy_residual, nesterov_residual])
def test_the_charges_recursion_is_exact(residual):
    """docs/theory.md eq. (3.10), (3.11), to rounding, and not with another momentum."""
    assert residual() < ROUNDING
    assert residual(0.89) > 1e5 * ROUNDING


def test_momentum_balances_its_steps_and_decay():
    """docs/theory.md eq. (3.12): the ratio of its sides is 1 (alpha = 1e-6, and errors below 0.02)."""
    ratio = stationary_ratio(100, None)
    error = ratio.std(ddof=1) / np.sqrt(len(ratio))
    assert error < 0.02
    assert abs(ratio.mean() - 1) < 5 * error
