"""The motion along a valley of minima beyond what charges tell: generators without a charge, rotations above all, and
where the motion ends (docs/theory.md eq. (5.6) to (5.8)). Numbers only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class End:
    """Where SGD ends, (D,): theta(t) = e^{t rotation} theta, rotation (D, D) antisymmetric per unit of t, 0 where it
    rests; rate: the slowest at which it is reached, per unit of t."""

    theta: np.ndarray
    rotation: np.ndarray
    rate: float

    @property
    def turns(self) -> bool:
        """Whether it turns."""
        return bool(self.rotation.any())

    @property
    def period(self) -> float:
        """Of its fastest turn; infinite where it rests."""
        return 2 * np.pi / float(np.abs(np.linalg.eigvals(self.rotation).imag).max()) if self.turns else np.inf


@dataclass(frozen=True)
class ValleyMotion:
    """Generators (B, b) beside the charges', shapes (k, D, D) and (k, D); theta (D,) -> Hessian of L, (D, D); theta ->
    where SGD ends from there, None where that is not known."""

    linear: np.ndarray
    shift: np.ndarray
    hessian: Callable[[np.ndarray], np.ndarray]
    end: Callable[[np.ndarray], End | None]

    def fields(self, theta: np.ndarray) -> np.ndarray:
        """B theta + b, (k, D)."""
        return self.linear @ theta + self.shift


def covariance(
    h: np.ndarray, factor: np.ndarray, orbit: np.ndarray, temperature: float, step: float, elapsed: float
) -> np.ndarray:
    """Of theta about the path, (D, D), a time after the start, for H (D, D) and Sigma = B B^T, B = factor (D, K), as
    they are here: P' = -HP - PH + step HPH + temperature Sigma. orbit: fields (n, D), along which there is no noise."""
    left, sizes, _ = np.linalg.svd(orbit.T, full_matrices=True)
    across = left[:, int((sizes > 1e-8 * max(float(sizes.max(initial=0.0)), 1e-300)).sum()) :]
    values, vectors = np.linalg.eigh(across.T @ h @ across)
    vectors = across @ vectors
    pairs = values[:, None] + values[None, :] - step * np.outer(values, values)
    noise = vectors.T @ factor
    exponent = np.maximum(pairs * elapsed, -1.0)  # a saddle on the way: no growth without end
    small = np.abs(exponent) < 1e-8
    lasting = np.where(small, elapsed, -np.expm1(-exponent) / np.where(small, 1.0, exponent) * elapsed)
    return vectors @ (temperature * noise @ noise.T * lasting) @ vectors.T
