"""The mean and the covariance of SGD's paths, closed over a normal distribution (docs/theory.md eq. (6.3)).

With E over N(m, P) and steps of size h whose gradients have covariance (T/h) Sigma,

    m' = -E[gbar],   P' = -E[gbar (theta - m)^T] - E[(theta - m) gbar^T] + T E[Sigma] + h E[gbar gbar^T],

gbar with weight decay. Expectations are over m, weighted 1 - D/3, and the 2 D points m +- sqrt(3) columns of
sqrt(P) along its axes, weighted 1/6 each: exact for cubics and for fourth powers along the columns (Julier and Uhlmann,
Proc. IEEE 92 (2004) 401, kappa = 3 - D); where P then leaves all bounds, as it may far from a minimum, and over kinks,
they are over the 2 D points alone, sqrt(D) columns away (kappa = 0), which keeps P positive. At each point <gbar, A
theta> = 0, so that E[C] = m^T A m + Tr[A P] + 2 b^T m follows the charge's own law, dE[C]/dt = T E Tr[Sigma A] + h
E[gbar^T A gbar] - 2 lambda_wd E[C] for b = 0: fluctuations and the finite step are in it, which a path of the mean
leaves out. Of P what lies along rotations is left out: over long times it would spread around a circle. What charges
would lose by that m makes up for along their own directions.
"""

from __future__ import annotations

import numpy as np

from sde.verification.exponential_steps import integrate
from sde.verification.setting import Setting
from sde.verification.theory_numbers import Theory

WORK = 600_000_000
"""Entries of the noise's factors, over all points of a path, up to which it is followed: some 30 s."""
LEAST, MOST = 100, 20_000
"""Evaluations that it may take; where `WORK` allows fewer than the least, it is not begun."""
SMOOTH, KINKED = 2e-4, 5e-2
"""Relative error of a step: kinks, at each of which smaller ones would end a step, are passed over."""
NUDGE = 1e-5
"""Size of the steps of H's central differences, over the largest parameter."""


def points(m: np.ndarray, p: np.ndarray, kappa: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Points (2 D + 1, D), and their weights, whose mean and covariance are m and P. kappa: 3 - D when left out."""
    reach = 3.0 if kappa is None else len(m) + kappa
    values, vectors = np.linalg.eigh(p)
    axes = vectors * np.sqrt(reach * np.clip(values, 0.0, None))
    root = axes @ vectors.T if kappa == 0 else axes.T  # the symmetric root is smooth in P, the other one more exact
    weights = np.full(2 * len(m) + 1, 1 / (2 * reach))
    weights[-1] = 1 - len(m) / reach
    return m + np.concatenate([root, -root, np.zeros((1, len(m)))]), weights


def spread(
    theory: Theory, setting: Setting, theta: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """m (times, D) and P (times, D, D) of paths from theta (D,); None where that takes too much work, or m and P leave
    all bounds."""
    own = 3.0 - len(theta) if theory.smooth else 0.0
    found = _spread(theory, setting, theta, times, own)
    return found if found or not own else _spread(theory, setting, theta, times, 0.0)


def _spread(
    theory: Theory, setting: Setting, theta: np.ndarray, times: np.ndarray, kappa: float
) -> tuple[np.ndarray, np.ndarray] | None:
    d = len(theta)
    affordable = WORK // (2 * d * max(theory.moments(theta[None])[1].size, 1))
    if affordable < LEAST:
        return None

    def speed(time: float) -> float:
        return float(setting.factor(np.array([time]))[0]) * setting.speed

    def slope(time: float, y: np.ndarray) -> np.ndarray:
        s, m = speed(time), y[:, 0]
        across = _across(theory, m)
        around, weights = points(m, across @ y[:, 1:] @ across, kappa)
        mean, factor = theory.moments(around)
        pull = mean + theory.weight_decay * around
        weighted = weights[:, None] * pull
        lag = weighted.T @ (around - m)
        heat = np.tensordot(weights, factor @ factor.transpose(0, 2, 1), 1)
        step = s * setting.learning_rate if setting.plain else 0.0
        grow = s * (s * setting.temperature * heat - lag - lag.T + step * weighted.T @ pull)
        kept = across @ grow @ across
        return np.column_stack([_made_up(theory, m, grow - kept) - s * weights @ pull, kept])

    def hessian(time: float, y: np.ndarray) -> np.ndarray:
        nudge = NUDGE * max(float(np.abs(y[:, 0]).max()), 1e-3)
        ahead, behind = (theory.moments(y[:, 0] + side * nudge * np.eye(d))[0] for side in (1, -1))
        h = (ahead - behind) / (2 * nudge) + theory.weight_decay * np.eye(d)
        return speed(time) * (h + h.T) / 2

    begin, tolerance = np.column_stack([theta, np.zeros((d, d))]), SMOOTH if theory.smooth else KINKED
    try:
        with np.errstate(all="ignore"):
            found = integrate(slope, hessian, begin, times, tolerance=tolerance, most=min(affordable, MOST))
    except np.linalg.LinAlgError:
        return None
    return None if found is None else (found[:, :, 0], found[:, :, 1:])


def _made_up(theory: Theory, m: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """The velocity of m (D,) that moves every charge as growth of P by `lost` (D, D) would."""
    if theory.motion is None or not theory.charges:
        return np.zeros(len(m))
    along = np.array([c.A @ m + c.b for c in theory.charges])
    rates = np.array([np.sum(lost * c.A) for c in theory.charges])
    velocity: np.ndarray = along.T @ np.linalg.lstsq(along @ along.T, rates / 2, rcond=1e-10)[0]
    return velocity


def _across(theory: Theory, theta: np.ndarray) -> np.ndarray:
    """The projection (D, D) onto what is orthogonal to the directions that theta turns in: noise has no component along
    them, and a normal distribution is no good picture of a spread around a circle."""
    if theory.motion is None:
        return np.eye(len(theta))
    left, sizes, _ = np.linalg.svd(theory.motion.fields(theta).T, full_matrices=False)
    along = left[:, sizes > 1e-8 * max(float(sizes.max(initial=0.0)), 1e-300)]
    return np.eye(len(theta)) - along @ along.T
