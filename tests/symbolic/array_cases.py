"""Functions of arrays written once, for NumPy's arrays and for nodes alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

A = np.random.default_rng(5).uniform(-1, 1, (5, 5))
W = np.linspace(-1, 1, 5)

CASES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "kuramoto": lambda X, V, k: W + k / 5 * np.sin(X[None, :] - X[:, None]).sum(axis=1),
    "matrix times vector": lambda X, V, k: A @ X,
    "products": lambda X, V, k: V @ A @ X,
    "outer arguments": lambda X, V, k: np.exp(-((X[:, None] - V.T) ** 2)).sum(axis=1) * k,
    "where": lambda X, V, k: np.where((X > 0.5) & (V[0] < k), X**3, -X) + np.clip(X, 0.2, 0.6),
    "truth values": lambda X, V, k: (k < X) * 2.0 + ((X > 0.2) | (X < 0.1)) / 2.0 + (~(X > 0.3)) * 1.0,
    "joined": lambda X, V, k: np.concatenate([X[1:] ** 2, X[:1] * k]),
    "ring": lambda X, V, k: np.roll(X, 1) + np.roll(X, -1) - 2 * X,
    "torus": lambda X, V, k: np.roll(V, 1, axis=0) - np.roll(V, 2, axis=1),
    "einsum": lambda X, V, k: np.einsum("ij,kj->ik", V, A) + V.T[::2].sum(axis=0)[:, None],
    "stacked": lambda X, V, k: np.stack([X, X**2 * k], axis=1)[[0, 3, 3]],
    "norms": lambda X, V, k: np.abs(X) / np.linalg.norm(X) * k**2,
    "reshaped": lambda X, V, k: (V * 2).reshape(5, 3)[4] + np.mean(V, axis=1) * np.max(X),
    "powers": lambda X, V, k: np.sqrt(X) + np.maximum(X, 0.3) + X**2.5 + X**-2 + X**0.3 + X**7,
    "moments": lambda X, V, k: (
        np.diff(X) * np.prod(V, axis=0)[:4] + np.var(X) + np.trace(A * X) + np.std(V, axis=1).min()
    ),
    "several functions": lambda X, V, k: np.outer(X, X) + np.exp(-X) / np.log1p(X) * np.hypot(X, 1.0),
    "ufunc outer": lambda X, V, k: np.multiply.outer(X, V).sum(axis=(0, 2)),
    "flipped": lambda X, V, k: V[::-1, ::2] - np.flip(V, 1)[:, :3] + np.diagonal(A * X)[:3],
    "lists": lambda X, V, k: X[[4, 0, 0]] * V[[0, 1, 2], [1, 0, 4]] + X[np.array([True, False, True, False, True])],
    "extremes": lambda X, V, k: np.minimum(X, V).max(axis=1) - np.maximum(0.4, V).min(axis=0).sum(),
    "registry": lambda X, V, k: np.arctan2(X, V[0]) + np.tanh(X) + np.sign(X - 0.5) + np.floor(3 * X) + np.mod(X, 0.3),
    "shared parts": lambda X, V, k: np.exp(X)[:, None] * np.cos(V).T + np.exp(X)[:, None] / np.exp(X).sum(),
    "uniform parts": lambda X, V, k: (np.cos(k * W)[:, None] + A).sum(axis=0) * X + np.cumsum(W)[::-1] * k,
    "reshape and take of parts": lambda X, V, k: np.ravel(V > 0.5)[[3, 7, 9, 1, 0]] * X + np.tile(X * k, 2)[2:7],
}
