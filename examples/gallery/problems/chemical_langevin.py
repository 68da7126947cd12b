"""Chemical Langevin equation.

A gene's messenger M and its protein P, made and lost one by one: each reaction has a noise of its own, as strong as
the root of its rate (Gillespie 2000). Rates are linear, so that means and covariances solve linear equations at any
time, here by a matrix exponential, and are those of the chemical master equation.
"""

import numpy as np
import sympy as sp
from scipy.linalg import expm

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

M, P = sp.symbols("M P", real=True)
made, lost, translated, decayed = 40.0, 2.0, 3.0, 1.0
rates = [sp.S(made), lost * sp.Max(M, 0), translated * sp.Max(M, 0), decayed * sp.Max(P, 0)]
change = sp.Matrix([[1, -1, 0, 0], [0, 0, 1, -1]])
EQUATION = SDE(
    [M, P],
    drift=list(change * sp.Matrix([made, lost * M, translated * M, decayed * P])),
    diffusion=[[change[i, j] * sp.sqrt(rates[j]) for j in range(4)] for i in range(2)],
)


def moments(time: float) -> tuple[float, float]:
    """Mean and variance of P, from (20, 0): (1, m, p, mm, mp, pp) of means and covariances obeys a linear equation."""
    a, b, c, d = made, lost, translated, decayed
    slope = np.array([
        [0, 0, 0, 0, 0, 0],
        [a, -b, 0, 0, 0, 0],
        [0, c, -d, 0, 0, 0],
        [a, b, 0, -2 * b, 0, 0],
        [0, 0, 0, c, -b - d, 0],
        [0, c, d, 0, 2 * c, -2 * d],
    ])  # fmt: skip
    end = expm(time * slope) @ [1, 20, 0, 0, 0, 0]
    return float(end[2]), float(end[5])


def finding() -> Finding:
    mean, variance = moments(2.0)
    square = {"square": (P - mean) ** 2}
    run = simulate(
        EQUATION,
        start={M: 20, P: 0},
        time=2,
        dt=0.01,
        paths=400_000,
        scheme="platen-weak-2",
        save_at=2,
        observables=square,
    )
    rows = (
        mean_of(run, "P", "mean of P at t = 2", mean, "matrix exponential"),
        mean_of(run, "square", "variance of P at t = 2", variance, "matrix exponential"),
    )
    return Finding(rows=rows, wrong=(rows[1].against(mean, "a Poisson distribution, whose variance is its mean"),))
