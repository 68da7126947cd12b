"""Kuramoto's oscillators.

Twenty phases of one frequency that pull at each other, dX_i = K/N sum_j sin(X_j - X_i) dt + s dW_i. Their drift is a
gradient, so that the stationary density is exp(K N r^2/s^2), where r is the length of the mean of exp(i X); a Gaussian
integral over the mean field makes the mean of r^2 a quadrature that is exact at any N (Bertini, Giacomin, Pakdaman
2010).
"""

import numpy as np
from scipy.integrate import quad
from scipy.special import i0e, i1e

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding
from symbolic import states

N, K, s = 20, 2.0, 1.0
X = states("X", (N,))
EQUATION = SDE(X, drift=K / N * np.sin(X[None, :] - X[:, None]).sum(axis=1), diffusion=np.full(N, s))
kappa = 2 * K / s**2


def coherence() -> float:
    """E r^2 = 2/N d log Z/d kappa, Z = kappa int y exp(-N kappa y^2/2) I_0(kappa y)^N dy."""

    def weight(y: float) -> float:
        return y * np.exp(-N * kappa * (1 - y) ** 2 / 2 + N * np.log(i0e(kappa * y)))

    def slope(y: float) -> float:
        return weight(y) * (1 / kappa - N * y**2 / 2 + N * y * i1e(kappa * y) / i0e(kappa * y))

    return 2 / N * quad(slope, 0, 3)[0] / quad(weight, 0, 3)[0]


def self_consistent() -> float:
    """r^2 of infinitely many: r = I_1(kappa r)/I_0(kappa r)."""
    r = 1.0
    for _ in range(100):
        r = i1e(kappa * r) / i0e(kappa * r)
    return float(r**2)


def finding() -> Finding:
    r2 = {"r2": np.cos(X).mean() ** 2 + np.sin(X).mean() ** 2}
    run = simulate(
        EQUATION, start={X: np.zeros(N)}, time=8, dt=0.05, paths=20_000, scheme="sra1", save_at=2, observables=r2
    )
    row = mean_of(run, "r2", "stationary mean of r^2", coherence(), "quadrature")
    return Finding(rows=(row,), wrong=(row.against(self_consistent(), "infinitely many oscillators"),))
