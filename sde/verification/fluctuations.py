"""The mean and the covariance of SGD's paths, closed over a normal distribution (docs/theory.md eq. (6.3)).

With E over N(m, P) and steps of size h whose gradients have covariance (T/h) Sigma,

    m' = -E[gbar],   P' = -E[gbar (theta - m)^T] - E[(theta - m) gbar^T] + T E[Sigma] + h E[gbar gbar^T],

gbar with weight decay. Expectations are means over the 2 D points m +- sqrt(D) columns of the symmetric sqrt(P), exact
for cubics (Arasaratnam and Haykin, Cubature Kalman filters, IEEE TAC 54 (2009) 1254). At each point <gbar, A theta> =
0, so that E[C] = m^T A m + Tr[A P] + 2 b^T m follows the charge's own law, dE[C]/dt = T E Tr[Sigma A] + h E[gbar^T A
gbar] - 2 lambda_wd E[C] for b = 0: fluctuations and the finite step are in it, which a path of the mean leaves out. Of
P what lies along rotations is left out: over long times it would spread around a circle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from sde.verification.forecast import mean_field
from sde.verification.setting import Setting
from sde.verification.theory_numbers import Theory

LARGEST = 400_000
"""Entries of the noise's factors at all points up to which covariances are followed."""
LONGEST = 20_000
"""Evaluations after which they are given up: a stiff path of a long run."""


@dataclass(frozen=True)
class Forecast:
    """What theory says of SGD's paths over time. mean: (times, D), NaN where it cannot be followed; covariance: (times,
    D, D), None where only the path of the mean was followed, fluctuations left out."""

    mean: np.ndarray
    covariance: np.ndarray | None

    @property
    def followed(self) -> bool:
        """Whether there is one."""
        return bool(np.isfinite(self.mean).all())

    def expected(self, f: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """E f (times, ...) of a function of states (n, D) to (n, ...)."""
        if self.covariance is None:
            return f(self.mean)
        clouds = [f(_points(m, p)).mean(axis=0) for m, p in zip(self.mean, self.covariance, strict=True)]
        return np.array(clouds)


def forecast(theory: Theory, setting: Setting, theta: np.ndarray, times: np.ndarray) -> Forecast:
    """From theta (D,): with fluctuations where they can be followed, else of the mean alone."""
    found = _spread(theory, setting, theta, times)
    return found or Forecast(mean_field(theory, setting, theta, times), None)


def _points(m: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The 2 D points (2 D, D) whose mean and covariance are m and P."""
    values, vectors = np.linalg.eigh(p)
    root = vectors * np.sqrt(len(m) * np.clip(values, 0.0, None)) @ vectors.T
    return m + np.concatenate([root, -root])


def _across(theory: Theory, theta: np.ndarray) -> np.ndarray:
    """The projection (D, D) onto what is orthogonal to the directions that theta turns in: noise has no component along
    them, and a normal distribution is no good picture of a spread around a circle."""
    if theory.motion is None:
        return np.eye(len(theta))
    left, sizes, _ = np.linalg.svd(theory.motion.fields(theta).T, full_matrices=False)
    along = left[:, sizes > 1e-8 * max(float(sizes.max(initial=0.0)), 1e-300)]
    return np.eye(len(theta)) - along @ along.T


class _TooLong(Exception):
    pass


def _spread(theory: Theory, setting: Setting, theta: np.ndarray, times: np.ndarray) -> Forecast | None:
    d, calls = len(theta), 0
    if 2 * d * theory.moments(theta[None])[1].size > LARGEST:
        return None
    upper = np.triu_indices(d)

    def unpack(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = np.zeros((d, d))
        p[upper] = y[d:]
        return y[:d], p + np.triu(p, 1).T

    def velocity(time: float, y: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls > LONGEST or not np.isfinite(y).all():
            raise _TooLong
        s = float(setting.factor(np.array([time]))[0]) * setting.speed
        m, p = unpack(y)
        across = _across(theory, m)
        points = _points(m, across @ p @ across)
        n = len(points)
        mean, factor = theory.moments(points)
        slope = mean + theory.weight_decay * points
        lag = slope.T @ (points - m) / n
        factor = factor.transpose(1, 0, 2).reshape(d, -1)
        heat = factor @ factor.T / n
        step = s * setting.learning_rate if setting.plain else 0.0
        grow = s * (s * setting.temperature * heat - lag - lag.T + step * slope.T @ slope / n)
        return np.concatenate([-s * slope.mean(axis=0), (across @ grow @ across)[upper]])

    integrate: Any = import_module("scipy.integrate")  # slow to load

    begin = np.concatenate([theta, np.zeros(len(upper[0]))])
    method = "LSODA" if theory.smooth and d < 8 else "RK23"
    try:
        with np.errstate(all="ignore"):
            found = integrate.solve_ivp(
                velocity, (0.0, float(times[-1])), begin, method, t_eval=times, rtol=1e-4, atol=1e-7
            )
    except (_TooLong, np.linalg.LinAlgError):
        return None
    if not found.success or found.y.shape[1] != len(times) or not np.isfinite(found.y).all():
        return None
    pairs = [unpack(column) for column in found.y.T]
    return Forecast(np.array([m for m, _ in pairs]), np.array([p for _, p in pairs]))
