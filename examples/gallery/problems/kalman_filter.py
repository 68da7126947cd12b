"""Kalman-Bucy filter of a linear system.

An oscillator (X, V) driven by noise, and an observer (x, v) that sees X through noise of its own and corrects itself
by the gain G. The observer's error has the covariance that solves Riccati's
algebraic equation, put to a matrix solver, and no gain has less (Kalman, Bucy 1961); the system's own variance follows
from a matrix exponential.
"""

import numpy as np
import sympy as sp
from scipy.linalg import expm, solve_continuous_are

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

X, V, x, v = sp.symbols("X V x v", real=True)
A, noise, blur, T = np.array([[0.0, 1.0], [-4.0, -0.4]]), 1.0, 0.5, 12.0
Q, seen = np.diag([0.0, noise**2]), np.array([[1.0, 0.0]])
P = solve_continuous_are(A.T, seen.T, Q, [[blur**2]])
G = P[:, 0] / blur**2
own = [[V, A[1] @ [X, V]], [v, A[1] @ [x, v]]]
EQUATION = SDE(
    [X, V, x, v],
    drift=[*own[0], own[1][0] + G[0] * (X - x), own[1][1] + G[1] * (X - x)],
    diffusion=[[0, 0], [noise, 0], [0, G[0] * blur], [0, G[1] * blur]],
)


def variance() -> float:
    """Of X at T, from rest: Van Loan's (1978) block matrix."""
    block = expm(T * np.block([[-A, Q], [np.zeros((2, 2)), A.T]]))
    return float((block[2:, 2:].T @ block[:2, 2:])[0, 0])


def finding() -> Finding:
    errors = {"error": (X - x) ** 2, "speed": (V - v) ** 2, "square": X**2}
    start = {X: 0, V: 0, x: 0, v: 0}
    run = simulate(EQUATION, start=start, time=T, dt=0.02, paths=500_000, scheme="sra1", save_at=2, observables=errors)
    rows = (
        mean_of(run, "error", "variance of the error in X", float(P[0, 0]), "Riccati equation"),
        mean_of(run, "speed", "variance of the error in V", float(P[1, 1]), "Riccati equation"),
        mean_of(run, "square", "variance of X at t = 12", variance(), "matrix exponential"),
    )
    return Finding(rows=rows, wrong=(rows[0].against(variance(), "an observer that does not look"),))
