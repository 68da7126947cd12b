"""A pilot: a few paths of small steps in NumPy, made before a run, that tell how fast its equation moves and how large
its states are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Field = Callable[[Array, Array], Array]
"""(x (D, n), t (n,)) -> (D, n) for a drift, (D, J, n) for a diffusion, or (D, n), its diagonal."""

PATHS, STEPS = 16, 200
"""Paths, and the most steps: enough for forty times the shortest relaxation time where the whole run is out of
reach."""
SHARE = 0.2
"""A step's length times the fastest rate there."""
LATER = 16
"""Parts of the run in each of which rates are looked at where the paths are at last: they may not get so far."""
QUANTILE = 0.9
"""Of the drift's rate over states and times: what the default step resolves."""
RESOLVED = 0.02
"""The default step's length times that rate: Euler's variance of a linear equation is then 1 % off."""


@dataclass(frozen=True)
class Pilot:
    """rate: of the drift, the largest |eigenvalue| of its Jacobian, exceeded at one in ten of the states and times
    seen; noise: median rate at which multiplicative noise spreads neighbouring paths, the sum over noises of |grad
    b_j|^2; both per unit time. size: root mean square of |x|, 1 where all are 0.
    """

    rate: float
    noise: float
    size: float

    @property
    def step(self) -> float:
        """The longest step that resolves both rates, infinite where nothing moves."""
        fastest = max(self.rate, self.noise)
        return RESOLVED / fastest if fastest > 0 else float("inf")


def pilot(drift: Field, diffusion: Field, start: Array, time: float, steps: int = STEPS, begin: float = 0.0) -> Pilot:
    """Follow paths from the states `start` (D, n) with Euler steps that resolve the fastest rate seen, over a length
    `time` from `begin`, or as far as `steps` go.

    States that leave the functions' domain, or overflow, are left out from then on.
    """
    rng = np.random.Generator(np.random.Philox(20))
    x, t = np.array(start, dtype=np.float64), 0.0
    n = x.shape[1]
    direction = rng.standard_normal(x.shape)
    rates, spread, sizes = list[Array](), list[Array](), list[Array]()
    with np.errstate(all="ignore"):
        for _ in range(steps):
            when = np.full(n, begin + t)
            f, b = drift(x, when), diffusion(x, when)
            rate, direction = _growth(drift, x, when, f, direction)
            noise = _spread(diffusion, x, when, b, rng.standard_normal(x.shape))
            rates.append(rate)
            spread.append(noise)
            sizes.append(np.square(x).sum(axis=0))
            fastest = np.nanmax(np.concatenate([[0.0], rate, noise]))
            h = min(time / steps * 2, SHARE / fastest if fastest > 0 else np.inf, time - t)
            if not h > 0:
                break
            xi = rng.standard_normal(b.shape[-2:])
            x = x + f * h + np.sqrt(h) * (b * xi if b.ndim == 2 else np.einsum("djn,jn->dn", b, xi))
            x[:, ~np.isfinite(x).all(axis=0)] = np.nan
            t += h
        later = list[Array]()
        for when in begin + time * (np.arange(LATER)[:, None] + rng.random((LATER, n))) / LATER:
            later.append(_growth(drift, x, when, drift(x, when), direction)[0])
    return Pilot(
        max(_quantile(np.concatenate(rates), QUANTILE), _quantile(np.concatenate(later), QUANTILE)),
        _quantile(np.concatenate(spread), 0.5),
        float(np.sqrt(_mean(np.concatenate(sizes)))) or 1.0,
    )


ITERATIONS = 4
"""Power iterations at each state; the direction is carried along the path."""


def _growth(drift: Field, x: Array, t: Array, f: Array, v: Array) -> tuple[Array, Array]:
    """The drift's rate (n,) at every state by power iteration, from directions v (D, n), and the directions it ends
    with.

    Two applications at once: the geometric mean of both does not swing with a pair of complex eigenvalues."""
    growth = np.zeros((ITERATIONS, x.shape[1]))
    for k in range(ITERATIONS):
        w = _derivative(drift, x, t, f, v)
        growth[k] = np.linalg.norm(w, axis=0)
        v = np.where(growth[k] > 0, w / np.where(growth[k] > 0, growth[k], 1.0), v / np.linalg.norm(v, axis=0))
    return np.sqrt(growth[-1] * growth[-2]), v


def _derivative(field: Field, x: Array, t: Array, f: Array, v: Array) -> Array:
    """The derivative of a field along unit directions, by a difference."""
    unit = v / np.linalg.norm(v, axis=0)
    size = np.linalg.norm(x, axis=0)
    small = 1e-6 * (size + np.sqrt(np.nanmean(np.append(size**2, 0.0)))) + 1e-12
    return (field(x + small * unit, t) - f) / small


def _spread(diffusion: Field, x: Array, t: Array, b: Array, v: Array) -> Array:
    change = _derivative(diffusion, x, t, b, v)
    return len(x) * np.square(change).sum(
        axis=tuple(range(change.ndim - 1))
    )  # a random direction sees 1/D of it on average


def _quantile(values: Array, q: float) -> float:
    values = values[np.isfinite(values)]
    return float(np.quantile(values, q)) if len(values) else 0.0


def _mean(values: Array) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0
