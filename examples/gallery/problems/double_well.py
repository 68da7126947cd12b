"""Double well.

A particle in the potential x^4/4 - x^2/2, moved from one side to the other by noise. Its stationary density is
exp(-2 U/s^2) up to a factor; the mean time from the left minimum to the right one is a double integral over it
(Gardiner 2009, section 5.5).
"""

import numpy as np
import sympy as sp
from scipy.integrate import cumulative_simpson, simpson

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

X = sp.Symbol("X", real=True)
s = 0.7
EQUATION = SDE([X], drift=[X - X**3], diffusion=[[s]])

x = np.linspace(-4, 4, 8001)
weight = np.exp(-2 * (x**4 / 4 - x**2 / 2) / s**2)


def passage() -> float:
    """Mean time from -1 to 1: 2/s^2 int_-1^1 (1/w(y)) int_-oo^y w dz dy."""
    inner, inside = cumulative_simpson(weight, x=x, initial=0), np.abs(x) <= 1 + 1e-9
    return float(2 / s**2 * simpson((inner / weight)[inside], x=x[inside]))


def finding() -> Finding:
    square = float(simpson(x**2 * weight, x=x) / simpson(weight, x=x))
    run = simulate(
        EQUATION, start={X: -1}, time=30, dt=0.02, paths=200_000, scheme="sra1", save_at=2, observables={"square": X**2}
    )
    crossing = simulate(
        EQUATION, start={X: -1}, time=400, dt=0.005, paths=40_000, save_at=2, events={"right": X > 1}, stop="first"
    )
    assert int(crossing.running[-1]) == 0
    time = mean_of(crossing, "stop_time", "mean time from -1 to 1", passage(), "quadrature", share=0.03)
    kramers = 2**0.5 * np.pi * np.exp(0.5 / s**2)
    wrong = time.against(float(kramers), "Kramers' formula, which is for weak noise")
    return Finding(rows=(mean_of(run, "square", "stationary mean of X^2", square, "quadrature"), time), wrong=(wrong,))
