"""Underdamped Langevin equation.

A particle with friction and heat in the potential x^4/4. At temperature T its stationary density is
exp(-(v^2/2 + x^4/4)/T): position and velocity are independent, E V^2 = T, E X^4 = T and E X^2 is a ratio of gamma
functions (Pavliotis 2014, chapter 6).
"""

import sympy as sp
from scipy.special import gamma

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

X, V = sp.symbols("X V", real=True)
friction, T = 1.0, 0.5
EQUATION = SDE([X, V], drift=[V, -friction * V - X**3], diffusion=[[0], [sp.sqrt(2 * friction * T)]])


def finding() -> Finding:
    square = 2 * T**0.5 * gamma(0.75) / gamma(0.25)
    seen = {"kinetic": V**2, "square": X**2, "fourth": X**4}
    run = simulate(
        EQUATION, start={X: 0, V: 0}, time=20, dt=0.02, paths=500_000, scheme="sra1", save_at=2, observables=seen
    )
    rows = (
        mean_of(run, "kinetic", "stationary mean of V^2", T, "closed form"),
        mean_of(run, "square", "stationary mean of X^2", float(square), "closed form"),
        mean_of(run, "fourth", "stationary mean of X^4", T, "closed form", share=0.02),
    )
    return Finding(rows=rows, wrong=(rows[0].against(T / 2, "noise without its factor 2"),))
