"""Cox-Ingersoll-Ross process.

An interest rate that stays at or above 0, here below Feller's line 2 k m = s^2, where it comes to 0 again and again.
Its distribution is a multiple of a noncentral chi-squared one, and a bond E exp(-int V dt) solves a Riccati equation
(Cox, Ingersoll, Ross 1985), here put to a solver of ordinary differential equations.
"""

from math import exp

import sympy as sp
from scipy.integrate import solve_ivp
from scipy.stats import ncx2

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

V, Y = sp.symbols("V Y", real=True)
k, m, s, T = 0.1, 0.1, 0.5, 10.0
EQUATION = SDE([V, Y], drift=[k * (m - V), V], diffusion=[[s * sp.sqrt(V)], [0]], domain={V: "nonnegative"})


def bond() -> float:
    """E exp(-Y) from V = m: exp(-a - b m) with b' = 1 - k b - s^2 b^2/2 and a' = k m b."""
    ends = solve_ivp(lambda t, y: [k * m * y[1], 1 - k * y[1] - (s * y[1]) ** 2 / 2], (0, T), [0, 0], rtol=1e-10)
    return exp(-ends.y[0, -1] - ends.y[1, -1] * m)


def below(level: float) -> float:
    """P(V < level) at T."""
    scale = s**2 * (1 - exp(-k * T)) / (4 * k)
    return float(ncx2.cdf(level / scale, 4 * k * m / s**2, m * exp(-k * T) / scale))


def finding() -> Finding:
    seen = {"bond": sp.exp(-Y), "low": sp.Piecewise((1, V < 0.01), (0, True))}
    run = simulate(EQUATION, start={V: m, Y: 0}, time=T, dt=0.02, paths=400_000, save_at=2, observables=seen)
    price = mean_of(run, "bond", "price of a bond", bond(), "Riccati equation")
    low = mean_of(run, "low", "P(V < .01)", below(0.01), "noncentral chi-squared distribution")
    return Finding(rows=(price, low), wrong=(price.against(exp(-m * T), "a rate without noise"),))
