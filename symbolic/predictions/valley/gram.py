"""The linear system behind motion along an orbit: sum_j <v_i, v_j> nu_j = push_i (docs/theory.md eq. (5.6))."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
DEPENDENT = 1e-10
"""Squared singular value of fields at a point, over the largest one, up to which they are dependent."""


@dataclass(frozen=True)
class Gram:
    """Of fields (n, D) at a point, n > 0. inverse: of its matrix on its range, (n, n); rank: the dimension of their
    span."""

    inverse: Array
    rank: int

    @classmethod
    def of(cls, fields: Array) -> Gram:
        values, basis = np.linalg.eigh(fields @ fields.T)
        moving = values > DEPENDENT * max(float(values[-1]), 1e-300)
        return cls(basis[:, moving] / values[moving] @ basis[:, moving].T, int(moving.sum()))

    def solve(self, pushes: Array) -> Array:
        """nu (n,), of least norm: what moves theta by sum_i nu_i v_i."""
        return self.inverse @ pushes
