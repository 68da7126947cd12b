"""Sums of a loss's slopes over rows, row by row, by SymPy's own derivatives in NumPy."""

from __future__ import annotations

import numpy as np
import sympy as sp

from symbolic.problem.loss import Loss

FUNCTIONS = {"relu": lambda v: np.maximum(v, 0), "step": lambda v: 1.0 * (v > 0)}


def row_slopes(loss: Loss, x: np.ndarray, z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """sum over rows r of w[r] grad l(x, z[r]), (D, lanes). x (D, lanes); z (rows, Z, lanes), the data symbols that the
    loss holds, in order; w (rows, lanes)."""
    used = [s for s in loss.z if s in loss.expression.free_symbols]
    slopes = [sp.diff(loss.expression, s) for s in loss.theta]
    gradient = sp.lambdify([*loss.theta, *used], slopes, modules=[FUNCTIONS, "numpy"])
    total = np.zeros_like(x)
    for row, weight in zip(z, w, strict=True):
        total += np.array([weight * np.broadcast_to(g, weight.shape) for g in gradient(*x, *row)])
    return total
