"""Mean and covariance over time by exponential steps, which take the stiff part of their motion exactly.

y = (m, P), (D, D + 1), moves by y' = f(t, y); of it J y, -H m and -(H P + P H), is diagonal in the axes of H, and a
step of length h goes to

    a = y + h phi1(h J) f(t, y),   y(t + h) = a + h phi2(h J) (f(t + h, a) - f(t, y) - J (a - y)),

phi1(z) = (e^z - 1)/z, phi2(z) = (phi1(z) - 1)/z: of order 2 for any J (Cox and Matthews, J. Comput. Phys. 176 (2002)
430), so that J may be some steps old, and H need not be there exactly; the second term is the error of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ABSOLUTE = 1e-3
"""Error of a step that is let pass at an entry 0, over the relative one elsewhere."""
SPREAD = 5e-3
"""The same of P, over its largest entry: of what `a` misses, which the second term then makes up for."""
KEPT = 4
"""Steps that one H serves."""
SHORTEST = 1e-12
"""Step, over the whole time, at which it is given up."""


@dataclass(frozen=True)
class Axes:
    """Those of H. values: its eigenvalues (D,); vectors: (D, D)."""

    values: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, h: np.ndarray) -> Axes:
        return cls(*np.linalg.eigh(h))

    @property
    def rates(self) -> np.ndarray:
        """J on every entry of y in these axes, (D, D + 1)."""
        return -np.column_stack([self.values, self.values[:, None] + self.values[None, :]])

    def into(self, y: np.ndarray) -> np.ndarray:
        return self.vectors.T @ np.column_stack([y[:, 0], y[:, 1:] @ self.vectors])

    def back(self, y: np.ndarray) -> np.ndarray:
        return self.vectors @ np.column_stack([y[:, 0], y[:, 1:] @ self.vectors.T])


def integrate(
    slope: Callable[[float, np.ndarray], np.ndarray],
    hessian: Callable[[float, np.ndarray], np.ndarray],
    start: np.ndarray,
    times: np.ndarray,
    *,
    tolerance: float,
    most: int,
) -> np.ndarray | None:
    """y at times (K, D, D + 1) from `start` at 0; None where it is not reached in so many slopes. slope: f; hessian(t,
    y): H; tolerance: relative error of a step in m; both are root mean squares over entries."""
    out = np.repeat(start[None], len(times), axis=0)
    end, t, y, age, spent = float(times[-1]), 0.0, start, 0, 1
    f, axes = slope(t, y), Axes.of(hessian(t, y))
    h = min(end, 0.01 / max(float(np.abs(axes.values).max()), 1e-300))
    while t < end:
        if spent >= most or h < SHORTEST * end:
            return None
        h = min(h, end - t)
        rates, begin = axes.rates, axes.into(f)
        first = axes.back(h * _phi(h * rates)[0] * begin)
        ahead = slope(t + h, y + first)
        bend = axes.into(ahead) - begin - rates * axes.into(first)
        second = axes.back(h * _phi(h * rates)[1] * bend)
        after = y + first + second
        size = np.maximum(np.abs(y), np.abs(after))
        scale = tolerance * (ABSOLUTE + size)
        scale[:, 1:] = tolerance * ABSOLUTE + SPREAD * size[:, 1:].max()
        parts = (second / scale) ** 2
        miss, spent = float(np.sqrt(max(parts[:, 0].mean(), parts[:, 1:].mean()))), spent + 1
        if not miss <= 1:
            h *= max(0.2, 0.8 / np.sqrt(miss)) if np.isfinite(miss) else 0.2
            continue
        for k in np.flatnonzero((times > t) & (times <= t + h)):
            part = float(times[k]) - t
            one, two = _phi(part * rates)
            out[k] = y + axes.back(part * one * begin + part**2 / h * two * bend)
        t, y, age, spent = t + h, after, age + 1, spent + 1
        f = slope(t, y)
        h *= min(5.0, 0.8 / np.sqrt(max(miss, 1e-6)))
        if age % KEPT == 0:
            axes = Axes.of(hessian(t, y))
    return out if np.isfinite(out).all() else None


def _phi(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """phi1 and phi2 of every entry."""
    small = np.abs(z) < 1e-2
    w = np.where(small, 1.0, z)
    one = np.where(small, 1 + z / 2 + z**2 / 6 + z**3 / 24, np.expm1(w) / w)
    return one, np.where(small, 0.5 + z / 6 + z**2 / 24 + z**3 / 120, (one - 1) / w)
