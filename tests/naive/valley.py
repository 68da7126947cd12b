"""The slow motion of SGD along the minima of E|U W x - (M x + e)|^2, by formulas of this loss alone: the projected
drift -(T/2) P_ker grad^3 L[X] - lambda P_ker theta. The package's own way, symmetries, is not used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_lyapunov

Array = np.ndarray


@dataclass(frozen=True)
class Regression:
    """Cov x, Cov e, and h hidden units; theta = (U, W) row by row."""

    sx: Array
    se: Array
    h: int

    def split(self, theta: Array) -> tuple[Array, Array]:
        dy, dx = len(self.se), len(self.sx)
        return theta[: dy * self.h].reshape(dy, self.h), theta[dy * self.h :].reshape(self.h, dx)

    def charge(self, theta: Array) -> Array:
        """U'U - WW'."""
        u, w = self.split(theta)
        return u.T @ u - w @ w.T

    def jacobian(self, theta: Array) -> Array:
        """Of the product U W by theta, (dy dx, D), column by column."""
        u, w = self.split(theta)
        columns = []
        for unit in np.eye(len(theta)):
            du, dw = self.split(unit)
            columns.append((du @ w + u @ dw).ravel())
        return np.array(columns).T

    def drift(self, theta: Array, decay: float = 0.0) -> Array:
        """theta' for T = 1 and lambda = decay at a minimum, where U W = M."""
        j = self.jacobian(theta)
        h = 2 * j.T @ np.kron(np.eye(len(self.se)), self.sx) @ j
        sigma = 4 * j.T @ np.kron(self.se, self.sx) @ j
        values, vectors = np.linalg.eigh(h)
        steep, flat = vectors[:, values > 1e-9 * values[-1]], vectors[:, values <= 1e-9 * values[-1]]
        inner = solve_continuous_lyapunov(steep.T @ h @ steep, steep.T @ sigma @ steep)
        x = steep @ inner @ steep.T
        push = np.array([self.third(j, x, t) for t in flat.T])
        return -flat @ (push / 2 + decay * flat.T @ theta)

    def third(self, j: Array, x: Array, t: Array) -> float:
        """grad^3 L[X, t] for t in the kernel of H: 8 sum_ab X_ab <J e_a, B(e_b, t)>_Sx, B the symmetric bilinear form
        of the product's second derivative: L = |J d + B(d, d)|^2_Sx."""
        du, dw = self.split(t)
        total = 0.0
        for b, unit in enumerate(np.eye(len(t))):
            eu, ew = self.split(unit)
            bent = (eu @ dw + du @ ew) / 2
            total += 8 * float(x[:, b] @ (j.T @ (bent @ self.sx).ravel()))
        return total

    def rates(self, theta: Array) -> Array:
        """At which small displacements along the valley from a point of rest die out, ascending, for T = 1."""
        j = self.jacobian(theta)
        values, vectors = np.linalg.eigh(j.T @ np.kron(np.eye(len(self.se)), self.sx) @ j)
        flat, size = vectors[:, values <= 1e-9 * values[-1]], 1e-5
        columns = [(self.drift(theta + size * t) - self.drift(theta - size * t)) / (2 * size) for t in flat.T]
        return np.sort(-np.linalg.eigvals(flat.T @ np.array(columns).T).real)

    def end(self, theta: Array, *, time: float, decay: float = 0.0) -> Array:
        """Where the motion is after so long, in units of 1/T."""

        def velocity(_: float, at: Array) -> Array:
            return self.drift(at, decay)

        return solve_ivp(velocity, (0.0, time), theta, "DOP853", rtol=1e-9, atol=1e-11).y[:, -1]

    def turning(self, theta: Array, decay: float = 0.0) -> Array:
        """Angular velocities |omega_ij|, i < j, between the axes of U'U - WW' in the hidden space: C' = [Omega, C]."""
        u, w = self.split(theta)
        du, dw = self.split(self.drift(theta, decay))
        rate = du.T @ u + u.T @ du - dw @ w.T - w @ dw.T
        values, axes = np.linalg.eigh(self.charge(theta))
        rate = axes.T @ rate @ axes
        pairs = np.triu_indices(self.h, 1)
        return np.abs(rate[pairs] / (values[pairs[1]] - values[pairs[0]]))


def random_start(target: Array, h: int, seed: int) -> Array:
    """Some (U, W) of h units with U W = target, of rank h."""
    rng = np.random.default_rng(seed)
    left, sizes, right = np.linalg.svd(target)
    root = np.sqrt(sizes[:h])
    mix = np.eye(h) + 0.4 * rng.standard_normal((h, h))
    u, w = (left[:, :h] * root) @ mix, np.linalg.solve(mix, root[:, None] * right[:h])
    return np.concatenate([u.ravel(), w.ravel()])
