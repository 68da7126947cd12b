"""Wright-Fisher diffusion.

The share of a gene in a population, with selection, until it is fixed or lost. The chance of fixation is Kimura's
(1962); the mean time until either is an integral over Green's function (Ewens 2004, section 4.4).
"""

from math import exp

import sympy as sp
from scipy.integrate import quad

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

X = sp.Symbol("X", real=True)
s, x = 1.0, 0.3
inside = sp.Max(X * (1 - X), 0)
EQUATION = SDE([X], drift=[s * inside], diffusion=[[sp.sqrt(inside)]])


def fixation(x: float) -> float:
    """The chance that it is fixed, from x."""
    return (1 - exp(-2 * s * x)) / (1 - exp(-2 * s))


def absorption() -> float:
    """Mean time until it is fixed or lost."""

    def green(y: float) -> float:
        begun = fixation(x) * (1 - fixation(y)) if x < y else fixation(y) * (1 - fixation(x))
        return 2 * begun / (y * (1 - y)) * (1 - exp(-2 * s)) / (2 * s) * exp(2 * s * y)

    return quad(green, 0, x)[0] + quad(green, x, 1)[0]


def finding() -> Finding:
    run = simulate(
        EQUATION,
        start={X: x},
        time=25,
        dt=0.001,
        paths=200_000,
        save_at=2,
        observables={"fixed": sp.Piecewise((1, X > 0.5), (0, True))},
        events={"up": X >= 1, "down": X <= 0},
        stop="first",
    )
    assert int(run.running[-1]) == 0
    chance = mean_of(run, "fixed", "chance of fixation", fixation(x), "closed form")
    time = mean_of(run, "stop_time", "mean time to fixation or loss", absorption(), "quadrature", share=0.02)
    return Finding(rows=(chance, time), wrong=(chance.against(x, "no selection"),))
