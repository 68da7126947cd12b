"""Noise equilibrium lambda* by bisection along the orbit, the covariance computed anew at every point."""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm

from tests.naive.noise import Noise


def orbit(A: np.ndarray, b: np.ndarray, theta: np.ndarray, lam: float) -> np.ndarray:
    """The point reached from theta (D,) after time lam along the field A theta + b."""
    field = np.vstack([np.column_stack([A, b]), np.zeros(len(theta) + 1)])
    return (expm(lam * field) @ np.append(theta, 1.0))[:-1]


def pull(
    noise: Noise,
    A: np.ndarray,
    b: np.ndarray,
    theta: np.ndarray,
    *,
    temperature: float = 1.0,
    weight_decay: float = 0.0,
) -> float:
    """dC/dt at theta for C = theta' A theta + 2 b' theta under the order-1 SDE, mean gradient included."""
    slope = 2 * (A @ theta + b)
    return temperature * noise.trace(theta, A) - float(slope @ (noise.mean_gradient(theta) + weight_decay * theta))


def lambda_star(
    noise: Noise,
    A: np.ndarray,
    b: np.ndarray,
    theta: np.ndarray,
    *,
    temperature: float = 1.0,
    weight_decay: float = 0.0,
    bound: float = 12.0,
) -> float:
    """Zero of dC/dt along the orbit; +inf or -inf where it keeps one sign as far as bound/max|a|."""
    top = bound / np.abs(np.linalg.eigvalsh(A)).max() if A.any() else bound * (1 + np.linalg.norm(theta))

    def f(lam: float) -> float:
        return pull(noise, A, b, orbit(A, b, theta, lam), temperature=temperature, weight_decay=weight_decay)

    low = high = 0.0
    while f(high) > 0:
        low, high = high, high + top / 24
        if high > top:
            return np.inf
    while f(low) < 0:
        high, low = low, low - top / 24
        if low < -top:
            return -np.inf
    for _ in range(44):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) > 0 else (low, middle)
    return float(low + high) / 2
