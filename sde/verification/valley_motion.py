"""The motion along a valley of minima beyond what charges tell: generators without a charge, rotations above all, and
where the motion ends (docs/theory.md eq. (5.6) to (5.8)). Numbers only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class End:
    """Where SGD ends, (D,): theta(t) = e^{t rotation} theta, rotation (D, D) antisymmetric per unit of t, 0 where it
    rests; rate: the slowest at which it is reached, per unit of t; limit: theta for ever smaller steps."""

    theta: np.ndarray
    rotation: np.ndarray
    rate: float
    limit: np.ndarray

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
    """Generators (B, b) beside the charges', shapes (k, D, D) and (k, D); end: theta (D,) -> where SGD ends from
    there, None where that is not known, and why, where it was not looked for to the end."""

    linear: np.ndarray
    shift: np.ndarray
    end: Callable[[np.ndarray], tuple[End | None, str]]

    def fields(self, theta: np.ndarray) -> np.ndarray:
        """B theta + b, (k, D)."""
        return self.linear @ theta + self.shift
