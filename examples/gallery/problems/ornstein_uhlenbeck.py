"""Ornstein-Uhlenbeck process.

What is pulled back in proportion: the velocity of a particle in a fluid, an interest rate, a voltage. It is Gaussian,
with mean m + (x - m) exp(-k t) and variance s^2 (1 - exp(-2 k t))/(2 k) (Uhlenbeck, Ornstein 1930).
"""

import sympy as sp
from numpy import exp

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

X = sp.Symbol("X", real=True)
k, m, s = 2.0, 1.0, 0.8
EQUATION = SDE([X], drift=[k * (m - X)], diffusion=[[s]])


def finding() -> Finding:
    mean, variance = m + (3 - m) * exp(-k * 0.5), s**2 * (1 - exp(-2 * k * 0.5)) / (2 * k)
    square = {"square": (X - mean) ** 2}
    run = simulate(
        EQUATION, start={X: 3}, time=0.5, dt=0.01, paths=800_000, scheme="auto", save_at=2, observables=square
    )
    rows = (
        mean_of(run, "X", "mean at t = 1/2", mean, "closed form"),
        mean_of(run, "square", "variance at t = 1/2", variance, "closed form"),
    )
    return Finding(rows=rows, wrong=(rows[1].against(s**2 / (2 * k), "the stationary variance, taken too early"),))
