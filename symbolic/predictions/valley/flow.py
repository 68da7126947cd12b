"""The flow of SGD along the orbit of a minimum, in coordinates of the symmetries (docs/theory.md eq. (5.6)).

Along e^x, x a generator, the loss keeps its values, so that H and Sigma follow theta by linear algebra: H -> e^{-x^T} H
e^{-x}, Sigma likewise. Isometries of the algebra (rotations, translations) take the flow to itself; what is left of it
when they are divided out is the reduced flow, whose zeros are the relative equilibria.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symbolic.algebra.affine import AffineField
from symbolic.predictions.valley.fluctuations import fluctuations
from symbolic.predictions.valley.gram import DEPENDENT, Gram

Array = np.ndarray
ZERO = 1e-9
"""Eigenvalue of H, over the largest one, up to which a direction is flat."""
NUDGE = 1e-5
"""Norm of the generator along which derivatives are taken by central differences."""


@dataclass(frozen=True)
class Place:
    """A minimum theta (D,), with H and Sigma there, both (D, D)."""

    theta: Array
    hessian: Array
    sigma: Array


@dataclass(frozen=True)
class Coordinates:
    """Coordinates about a place: generators that move it across the orbit of the isometries, as combinations (reduced,
    n) of the basis, and the isometries' combinations (k, n)."""

    across: Array
    isometries: Array


class ValleyFlow:
    """theta' = sum_i nu_i v_i over every generator, for given coefficients.

    heat: strength of the noise, T times the speed squared; decay: weight decay times the speed; step: learning rate
    of the finite-step form, 0 for the limit of small steps.
    """

    def __init__(self, fields: Sequence[AffineField], heat: float, decay: float, step: float = 0.0) -> None:
        pairs = [x.arrays() for x in fields]
        self.linear, self.shift = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
        self.heat, self.decay, self.step = heat, decay, step
        self.isometries = self._isometries()

    def _isometries(self) -> Array:
        """Combinations (k, n) of the basis with an antisymmetric linear part; those that keep the origin, with weight
        decay."""
        n = len(self.linear)
        bent = (self.linear + self.linear.transpose(0, 2, 1)).reshape(n, -1)
        if self.decay:
            bent = np.hstack([bent, self.shift])
        values, vectors = np.linalg.eigh(bent @ bent.T)
        return vectors[:, values <= 1e-12 * max(float(values[-1]), 1.0)].T

    def fields(self, theta: Array) -> Array:
        """v_i, (n, D)."""
        return self.linear @ theta + self.shift

    def velocity(self, at: Place) -> Array:
        """theta', (D,)."""
        spectrum, vectors = np.linalg.eigh(at.hessian)
        x = fluctuations(spectrum, vectors, vectors.T @ at.sigma @ vectors, ZERO * spectrum[-1], self.step)
        fields = self.fields(at.theta)
        pushes = self.heat * np.tensordot(self.linear, (x @ at.hessian).T, 2) - self.decay * fields @ at.theta
        return Gram.of(fields).solve(pushes) @ fields

    def dimension(self, theta: Array) -> int:
        """Of the orbit."""
        sizes = np.linalg.svd(self.fields(theta), compute_uv=False)
        return int((sizes > np.sqrt(DEPENDENT) * max(float(sizes.max(initial=0.0)), 1e-300)).sum())

    def frame(self, theta: Array) -> Coordinates:
        """Coordinates about theta, orthonormal there."""
        fields = self.fields(theta)
        turned = _row_space(self.isometries @ fields)
        left, values, _ = np.linalg.svd(fields - fields @ turned.T @ turned, full_matrices=False)
        kept = values > np.sqrt(DEPENDENT) * max(float(np.linalg.norm(fields, 2)), 1e-300)
        return Coordinates((left[:, kept] / values[kept]).T, self.isometries)

    def reduced(self, at: Place, frame: Coordinates) -> Array:
        """The flow in the coordinates of a frame, isometries divided out."""
        fields = self.fields(at.theta)
        columns = np.vstack([frame.across @ fields, frame.isometries @ fields]).T
        return np.linalg.lstsq(columns, self.velocity(at), rcond=1e-10)[0][: len(frame.across)]

    def jacobian(self, at: Place, frame: Coordinates) -> Array:
        """Derivative of the reduced flow by the coordinates."""
        columns: list[Array] = []
        for combination in frame.across:
            size = NUDGE / max(float(np.linalg.norm(np.tensordot(combination, self.linear, 1), 2)), 1e-300)
            ahead, behind = (
                self.reduced(self.moved(at, s * size * combination, slightly=True)[0], frame) for s in (1, -1)
            )
            columns.append((ahead - behind) / (2 * size))
        return np.array(columns).T.reshape(len(frame.across), len(frame.across))

    def moved(self, at: Place, combination: Array, slightly: bool = False) -> tuple[Place, Array]:
        """The place that a combination of generators leads to in unit time, and the linear map that does; slightly: up
        to its third power."""
        from scipy.linalg import expm  # slow to load

        d, exponential = len(at.theta), _cubic if slightly else expm
        field = np.zeros((d + 1, d + 1))
        field[:d, :d] = np.tensordot(combination, self.linear, 1)
        field[:d, d] = combination @ self.shift
        there, back = exponential(field), exponential(-field[:d, :d])
        hessian, sigma = back.T @ at.hessian @ back, back.T @ at.sigma @ back
        theta = there[:d, :d] @ at.theta + there[:d, d]
        return Place(theta, (hessian + hessian.T) / 2, (sigma + sigma.T) / 2), there[:d, :d]

    def turning(self, at: Place) -> Array:
        """The antisymmetric matrix Omega (D, D) of least norm whose rotation carries theta with the flow."""
        if not len(self.isometries):
            return np.zeros_like(at.hessian)
        generators = np.tensordot(self.isometries, self.linear, 1)
        fields = self.isometries @ self.fields(at.theta)
        gram = np.tensordot(generators, generators, ((1, 2), (1, 2)))
        values, basis = np.linalg.eigh(gram)
        real = values > 1e-12 * max(float(values[-1]), 1e-300)
        white = basis[:, real] / np.sqrt(values[real])
        found = white @ np.linalg.lstsq((white.T @ fields).T, self.velocity(at), rcond=1e-10)[0]
        return np.tensordot(found, generators, 1)


def _cubic(x: Array) -> Array:
    """e^x for x so small that x^4 is rounding."""
    square = x @ x
    return np.eye(len(x)) + x + square / 2 + square @ x / 6


def _row_space(rows: Array) -> Array:
    """An orthonormal basis, as rows, of what the rows span."""
    if not len(rows):
        return rows
    _, values, right = np.linalg.svd(rows, full_matrices=False)
    return right[values > np.sqrt(DEPENDENT) * max(float(values[0]), 1e-300)]
