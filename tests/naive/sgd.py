"""Discrete SGD and Euler-Maruyama of its order-1 SDE, one path, in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import numpy as np

from tests.naive.gradient import gradients
from tests.naive.noise import Noise


def heavy_ball(
    theta: np.ndarray,
    gradient: Callable[[int, np.ndarray], np.ndarray],
    steps: int,
    *,
    rate: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    multiplier: Callable[[float], float] = lambda time: 1.0,
) -> np.ndarray:
    """Path (steps + 1, D) of PyTorch's SGD: v <- beta v + (g + wd theta), theta <- theta - rate m(t) v, t = rate k.

    gradient: of the k-th minibatch at theta. multiplier: the schedule m.
    """
    path, velocity = [np.array(theta, dtype=float)], np.zeros(len(theta))
    for k in range(steps):
        velocity = momentum * velocity + gradient(k, path[-1]) + weight_decay * path[-1]
        path.append(path[-1] - rate * multiplier(rate * k) * velocity)
    return np.array(path)


def sgd(loss: Any, theta: np.ndarray, batches: np.ndarray, **options: Any) -> np.ndarray:
    """Path (K + 1, D) of SGD on explicit samples (K, S, len(loss.z)); options: see `heavy_ball`."""
    return heavy_ball(theta, lambda k, now: gradients(loss, now, batches[k]).mean(axis=0), len(batches), **options)


def sgd_on_rows(loss: Any, theta: np.ndarray, rows: np.ndarray, **options: Any) -> np.ndarray:
    """As `sgd`, with the minibatches as row indices (K, S) of the loss's one data set."""
    return sgd(loss, theta, np.asarray(loss.blocks[0].table)[rows], **options)


def every_run(population: int, batch: int, steps: int, replacement: bool) -> np.ndarray:
    """All equally likely sequences of minibatches, as row indices (runs, steps, batch)."""
    one = product(range(population), repeat=batch) if replacement else permutations(range(population), batch)
    return np.array(list(product(list(one), repeat=steps)))


def root(sigma: np.ndarray) -> np.ndarray:
    """Symmetric square root of a covariance by its eigenvalues, negative rounding cut to 0."""
    e, v = np.linalg.eigh(sigma)
    return (v * np.sqrt(np.maximum(e, 0))) @ v.T


def euler_maruyama(
    noise: Noise, theta: np.ndarray, normals: np.ndarray, *, dt: float, temperature: float, weight_decay: float = 0.0
) -> np.ndarray:
    """Path (K + 1, D) of d theta = -(gbar + wd theta) dt + sqrt(T) Sigma^(1/2) dW from explicit normals (K, D)."""
    path = [np.array(theta, dtype=float)]
    for xi in normals:
        now = path[-1]
        drift = -(noise.mean_gradient(now) + weight_decay * now)
        path.append(now + drift * dt + np.sqrt(temperature * dt) * root(noise.sigma(now)) @ xi)
    return np.array(path)


def step_moments(
    noise: Noise,
    theta: np.ndarray,
    *,
    rate: float,
    batch: int = 1,
    weight_decay: float = 0.0,
    population: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) of theta' - theta over one SGD step: -eta (gbar + wd theta), eta^2 Sigma f/S.

    population: N for sampling without replacement, f = (N - S)/(N - 1); None for f = 1.
    """
    f = 1.0 if population is None else (population - batch) / (population - 1)
    return -rate * (noise.mean_gradient(theta) + weight_decay * theta), rate**2 * noise.sigma(theta) * f / batch
