"""Nesterov's momentum and Adam on a loss's samples, every step kept: loops in NumPy, as the package runs SGD and the
heavy ball."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbolic.evaluation.tape import Tape
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD


@dataclass(frozen=True)
class Paths:
    """theta (paths, steps + 1, D); velocity (paths, steps, D), the optimiser's average of gradients after each step."""

    theta: np.ndarray
    velocity: np.ndarray


def _gradients(loss: Loss, paths: int, batch: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Of theta (paths, D): the mean gradient of a fresh minibatch for every path, (paths, D)."""
    tape, rng = Tape([loss.expression], (*loss.theta, *loss.z)), np.random.default_rng(seed)

    def gradient(theta: np.ndarray) -> np.ndarray:
        drawn: list[Any] = [block.sample(paths * batch, rng, {}) for block in loss.blocks]
        values = np.concatenate([np.repeat(theta.T, batch, axis=1), *drawn])
        return tape.gradient(values, loss.dimension)[0].T.reshape(paths, batch, -1).mean(axis=1)

    return gradient


def nesterov(loss: Loss, sgd: SGD, start: Mapping[str, Any], *, steps: int, paths: int, seed: int) -> Paths:
    """PyTorch's form: g gains lambda theta, v <- beta v + g, theta <- theta - eta (g + beta v)."""
    gradient = _gradients(loss, paths, sgd.batch_size, seed)
    theta, v = np.tile(loss.pack(start), (paths, 1)), np.zeros((paths, loss.dimension))
    points, velocities = [theta], list[np.ndarray]()
    for _ in range(steps):
        g = gradient(theta) + sgd.weight_decay * theta
        v = sgd.momentum * v + g
        theta = theta - sgd.learning_rate * (g + sgd.momentum * v)
        points.append(theta)
        velocities.append(v)
    return Paths(np.stack(points, axis=1), np.stack(velocities, axis=1))


def adam(
    loss: Loss,
    rate: float,
    start: Mapping[str, Any],
    *,
    steps: int,
    paths: int,
    seed: int,
    decays: tuple[float, float] = (0.9, 0.999),
    floor: float = 1e-8,
) -> Paths:
    """Kingma, Ba (1412.6980), algorithm 1, on batches of one."""
    gradient = _gradients(loss, paths, 1, seed)
    theta, (first, second) = np.tile(loss.pack(start), (paths, 1)), decays
    m, s = np.zeros_like(theta), np.zeros_like(theta)
    points, velocities = [theta], list[np.ndarray]()
    for k in range(1, steps + 1):
        g = gradient(theta)
        m, s = first * m + (1 - first) * g, second * s + (1 - second) * g**2
        theta = theta - rate * (m / (1 - first**k)) / (np.sqrt(s / (1 - second**k)) + floor)
        points.append(theta)
        velocities.append(m)
    return Paths(np.stack(points, axis=1), np.stack(velocities, axis=1))
