"""Where the theory says that SGD's paths go, and the starts that it is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from sde.verification.fluctuations import points, spread
from sde.verification.setting import Setting
from sde.verification.theory_numbers import Theory


def orbit_starts(
    theory: Theory, starts: Sequence[np.ndarray], count: int = 3, size: float = 0.35
) -> tuple[np.ndarray, ...]:
    """The given starts, filled up to `count` with points on the first one's orbit under the convergent charges'
    generators, to both sides of it in turn, twice as far to the second: beyond balance, from most."""
    linalg: Any = import_module("scipy.linalg")  # slow to load

    out = [np.asarray(s, dtype=np.float64) for s in starts]
    movers = [c.A for c in theory.charges if c.kind == "convergent" and not c.b.any() and (c.A @ out[0]).any()]
    rng, mixed = np.random.default_rng(7), np.zeros(0)
    for k in range(count - len(out) if movers else 0):
        other = k % 2 > 0
        mixed = -mixed if other else np.einsum("k,kij->ij", rng.standard_normal(len(movers)), np.array(movers))
        reach = size * (1 + other) * (1 + k // 2 if len(movers) == 1 else 1)
        out.append(linalg.expm(reach * mixed / np.linalg.norm(mixed, 2)) @ out[0])
    return tuple(out)


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

    def expected(self, f: Callable[[np.ndarray], np.ndarray], which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """E f (times, ...) of a function of states (n, D) to (n, ...). which: of the times."""
        mean = self.mean[which]
        if self.covariance is None:
            return f(mean)
        clouds = [points(m, p) for m, p in zip(mean, self.covariance[which], strict=True)]
        return np.array([np.tensordot(weights, f(states), 1) for states, weights in clouds])


def forecast(theory: Theory, setting: Setting, theta: np.ndarray, times: np.ndarray) -> Forecast:
    """From theta (D,): mean and covariance where that is affordable, else the path of the mean alone."""
    found = spread(theory, setting, theta, times) if theory.fluctuating else None
    return Forecast(*found) if found else Forecast(mean_field(theory, setting, theta, times), None)


class _Lost(Exception):
    """The path has left all bounds."""


def mean_field(theory: Theory, setting: Setting, theta: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The predicted path (times, D) by the charges' law alone: gradient flow, with every charge moved at its predicted
    rate. NaN where it cannot be followed."""

    def velocity(time: float, at: np.ndarray) -> np.ndarray:
        s = float(setting.factor(np.array([time]))[0]) * setting.speed
        step = s * setting.learning_rate if setting.plain else 0.0
        try:
            with np.errstate(all="ignore"):
                found = s * theory.closure(at, s * setting.temperature, step)
        except np.linalg.LinAlgError:  # of numbers beyond all bounds
            found = np.full_like(at, np.nan)
        if not np.isfinite(found).all():
            raise _Lost
        return found

    integrate: Any = import_module("scipy.integrate")  # slow to load

    method = "LSODA" if theory.smooth else "RK23"  # a multistep method crawls over kinks
    lost = np.full((len(times), len(theta)), np.nan)
    try:
        solution = integrate.solve_ivp(
            velocity, (0.0, float(times[-1])), theta, method, t_eval=times, rtol=1e-4, atol=1e-6
        )
    except _Lost:
        return lost
    if not solution.success or solution.y.shape[1] != len(times):
        return lost
    return solution.y.T
