"""Lotka-Volterra equations in a random environment.

Prey X, which limits itself, and its predator Y; good and bad years multiply both. Where both persist, the logarithms
of X and Y gain nothing on average, so that the stationary means solve two linear equations: those of the fixed point,
with growth rates less by half the variance of the noise (Hening, Nguyen 2018).
"""

import numpy as np
import sympy as sp

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

X, Y = sp.symbols("X Y", real=True)
rates, noise = np.array([2.0, -0.5]), np.array([0.6, 0.4])
loss = np.array([[1.0, 1.0], [-1.0, 0.5]])
grow = [rates[i] - loss[i, 0] * X - loss[i, 1] * Y for i in range(2)]
EQUATION = SDE(
    [X, Y],
    drift=[X * grow[0], Y * grow[1]],
    diffusion=[[noise[0] * X, 0], [0, noise[1] * Y]],
    domain={X: "nonnegative", Y: "nonnegative"},
)


def finding() -> Finding:
    known, fixed_point = np.linalg.solve(loss, rates - noise**2 / 2), np.linalg.solve(loss, rates)
    balance = {"balance": X * grow[0]}
    run = simulate(EQUATION, start={X: 1, Y: 1}, time=30, dt=0.01, paths=80_000, save_at=2, observables=balance)
    rows = (
        mean_of(run, "X", "stationary mean of the prey", known[0], "linear equations"),
        mean_of(run, "Y", "stationary mean of the predator", known[1], "linear equations"),
        mean_of(run, "balance", "stationary mean of the prey's drift", 0.0, "stationarity", margin=0.02),
    )
    return Finding(rows=rows, wrong=(rows[1].against(fixed_point[1], "the fixed point without noise"),))
