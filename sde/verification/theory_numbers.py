"""A derived theory as numbers: charges, and the noise that moves them, evaluated on arrays of states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from sde.verification.valley_motion import ValleyMotion

Moments = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""theta (n, D) -> (mean gradient (n, D), a factor B (n, D, K) of the one-sample covariance, Sigma = B B^T)."""


@dataclass(frozen=True)
class Charge:
    """C = theta^T A theta + 2 b^T theta. A: (D, D) symmetric, b: (D,). kind: "convergent", "divergent", "frozen" or ""
    (undecided)."""

    label: str
    A: np.ndarray
    b: np.ndarray
    kind: str

    def value(self, theta: np.ndarray) -> np.ndarray:
        """C at theta (..., D)."""
        return np.einsum("...i,ij,...j->...", theta, self.A, theta, optimize=True) + 2 * theta @ self.b

    def change(self, theta: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Of C from theta to `after`, both (..., D), without the rounding of either value."""
        step = after - theta
        moved: np.ndarray = np.einsum("...i,ij,...j->...", step, self.A, after + theta, optimize=True)
        return moved + 2 * step @ self.b

    def size(self, theta: np.ndarray) -> np.ndarray:
        """The magnitude against which C's rounding counts: theta^T |A| theta + 2 |b|^T |theta|."""
        return np.einsum("...i,ij,...j->...", np.abs(theta), np.abs(self.A), np.abs(theta), optimize=True) + 2 * np.abs(
            theta
        ) @ np.abs(self.b)

    @property
    def gross(self) -> np.ndarray:
        """|A|, A with the absolute values of its eigenvalues: noise of either sign counts."""
        values, vectors = np.linalg.eigh(self.A)
        return (vectors * np.abs(values)) @ vectors.T


@dataclass(frozen=True)
class MatrixCharge:
    """Charges that are the entries of a symmetric matrix. weights: (n, n, charges), C_ij = sum_k weights_ijk C_k."""

    label: str
    weights: np.ndarray

    def eigenvalues(self, values: np.ndarray) -> np.ndarray:
        """Ascending, (..., n), from the values of all charges (..., charges)."""
        return np.linalg.eigvalsh(np.einsum("ijk,...k->...ij", self.weights, values))


@dataclass(frozen=True)
class Theory:
    """What the derivation claims of a loss, as numbers. moments: see `Moments`; weight_decay: lambda_wd; smooth: no
    kinks in the loss; motion: what moves theta beside the charges, None without rotations and the like; matrices: of
    the charges; fluctuating: whether forecasts know of fluctuations, and so of what follows from them."""

    charges: tuple[Charge, ...]
    moments: Moments
    weight_decay: float
    smooth: bool = True
    motion: ValleyMotion | None = None
    matrices: tuple[MatrixCharge, ...] = ()
    fluctuating: bool = True

    @property
    def moving(self) -> list[int]:
        """Places of the charges that noise may move."""
        return [j for j, c in enumerate(self.charges) if c.kind != "frozen"]

    def values(self, theta: np.ndarray) -> np.ndarray:
        """Of every charge at theta (n, D): (n, charges)."""
        return np.array([c.value(theta) for c in self.charges]).T

    def changes(self, theta: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Of every charge from theta to `after`, both (..., D): (..., charges)."""
        return np.stack([c.change(theta, after) for c in self.charges], axis=-1)

    def sizes(self, theta: np.ndarray) -> np.ndarray:
        """Of every charge at theta (n, D): (n, charges)."""
        return np.array([c.size(theta) for c in self.charges]).T

    def noise(self, theta: np.ndarray, matrices: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(Tr[Sigma M], gbar^T M gbar) for each matrix M, at theta (n, D): two arrays (n, len(matrices))."""
        n, chunk = len(theta), self.chunk(theta)
        trace, square = np.empty((n, len(matrices))), np.empty((n, len(matrices)))
        for at in range(0, n, chunk):
            mean, factor = self.moments(theta[at : at + chunk])
            trace[at : at + chunk], square[at : at + chunk] = _forms(matrices, factor, mean)
        return trace, square

    def chunk(self, theta: np.ndarray) -> int:
        """How many states to evaluate at once: about 32 MiB of noise factors."""
        return max(1, 4_000_000 // max(self.moments(theta[:1])[1].size, 1))

    def step_change(
        self, theta: np.ndarray, h: np.ndarray | float, variance: np.ndarray | float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predicted mean change of every charge over one step, and the size of what enters it; both (n, charges).

        The step is theta <- theta - h (g + lambda theta) with E g = gbar, Cov g = variance * Sigma: SGD with h = eta
        and variance = 1/S, Euler-Maruyama with h = dt and variance = T/dt (docs/theory.md eq. (3.4)).
        """
        matrices = [m for c in self.charges for m in (c.A, c.gross)]
        trace, square = self.noise(theta, matrices)
        h, variance = np.broadcast_to(h, len(theta)), np.broadcast_to(variance, len(theta))
        tilted = self.weight_decay and any(c.b.any() for c in self.charges)
        size_of_chunk = self.chunk(theta)
        mean = (
            np.concatenate([self.moments(theta[i : i + size_of_chunk])[0] for i in range(0, len(theta), size_of_chunk)])
            if tilted
            else None
        )
        change, size = np.empty((len(theta), len(self.charges))), np.empty((len(theta), len(self.charges)))
        rho = 1 - h * self.weight_decay
        for j, c in enumerate(self.charges):
            linear = 2 * theta @ c.b
            decay = (rho**2 - 1) * (c.value(theta) - linear) + (rho - 1) * linear
            if mean is not None:
                decay = decay + 2 * h * (rho - 1) * (mean @ c.b)
            change[:, j] = decay + h**2 * (variance * trace[:, 2 * j] + square[:, 2 * j])
            size[:, j] = np.abs(decay) + h**2 * (variance * trace[:, 2 * j + 1] + square[:, 2 * j + 1])
        return change, size

    def closure(self, theta: np.ndarray, temperature: float, step: float) -> np.ndarray:
        """Velocity of the mean-field path (D,): gradient flow, plus the motion along the orbits that moves every charge
        at its predicted rate T Tr[Sigma A] + step * gbar^T A gbar; fluctuations around the path are left out."""
        mean, factor = self.moments(theta[None])
        velocity: np.ndarray = -mean[0] - self.weight_decay * theta
        if self.charges:
            directions = np.array([c.A @ theta + c.b for c in self.charges])
            trace, square = _forms([c.A for c in self.charges], factor, mean)
            rates = (temperature * trace + step * square)[0]
            along = cast(np.ndarray, np.linalg.lstsq(directions @ directions.T, rates / 2, rcond=1e-10)[0])
            velocity = velocity + directions.T @ along
        return velocity


def _forms(matrices: list[np.ndarray], factor: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Tr[B B^T M], g^T M g) for every M (D, D), on the rows where M is not zero; B (n, D, K), g (n, D)."""
    trace, square = np.empty((len(mean), len(matrices))), np.empty((len(mean), len(matrices)))
    for j, m in enumerate(matrices):
        rows = np.flatnonzero(np.abs(m).any(axis=1))
        sub, f, g = m[np.ix_(rows, rows)], factor[:, rows, :], mean[:, rows]
        trace[:, j] = ((sub @ f) * f).sum(axis=(1, 2))
        square[:, j] = ((g @ sub) * g).sum(axis=1)
    return trace, square
