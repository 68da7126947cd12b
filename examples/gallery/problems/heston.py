"""Heston's model.

A price whose variance is itself a square-root diffusion, correlated with it, here far below Feller's line, so that the
variance is often at 0. The price of a call follows from the characteristic function of log S (Heston 1993), by
quadrature along a line in the complex plane (Lewis 2001).
"""

import numpy as np
import sympy as sp
from scipy.integrate import quad
from scipy.stats import norm

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

S, V = sp.symbols("S V", real=True)
k, level, e, rho, T = 0.5, 0.04, 1.0, 0.1, 1.0
root = sp.sqrt(V)
EQUATION = SDE(
    [S, V],
    drift=[0, k * (level - V)],
    diffusion=[[S * root, 0], [0, e * root]],
    correlation={(0, 1): rho},
    domain={S: "nonnegative", V: "nonnegative"},
)


def characteristic(z: complex) -> complex:
    """E exp(i z log S) at T, from S = 1 and V = level."""
    b = k - rho * e * 1j * z
    d = np.sqrt(b**2 + e**2 * (1j * z + z**2))
    g, decay = (b - d) / (b + d), np.exp(-d * T)
    first = k * level / e**2 * ((b - d) * T - 2 * np.log((1 - g * decay) / (1 - g)))
    return np.exp(first + level * (b - d) / e**2 * (1 - decay) / (1 - g * decay))


def finding() -> Finding:
    known = 1 - quad(lambda z: (characteristic(z - 0.5j) / (z**2 + 0.25)).real, 0, np.inf)[0] / np.pi
    call = {"call": sp.Max(S - 1, 0)}
    run = simulate(EQUATION, start={S: 1, V: level}, time=T, dt=0.02, paths=1_600_000, save_at=2, observables=call)
    price = mean_of(run, "call", "price of a call", known, "quadrature")
    black_scholes = float(2 * norm.cdf((level * T) ** 0.5 / 2) - 1)
    return Finding(rows=(price,), wrong=(price.against(black_scholes, "Black and Scholes, at the mean variance"),))
