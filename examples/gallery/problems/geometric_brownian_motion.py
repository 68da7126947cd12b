"""Geometric Brownian motion.

A price whose returns are independent. Its mean grows as exp(r t); a call that pays S - 1 where that is above 0 costs
what Black and Scholes (1973) say.
"""

from math import exp, log, sqrt

import sympy as sp
from scipy.stats import norm

from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

S = sp.Symbol("S", real=True)
r, v = 0.05, 0.4
EQUATION = SDE([S], drift=[r * S], diffusion=[[v * S]], domain={S: "nonnegative"})


def black_scholes(strike: float, time: float) -> float:
    """Price of a call on what is worth 1."""
    d = (log(1 / strike) + (r + v**2 / 2) * time) / (v * sqrt(time))
    return float(norm.cdf(d) - strike * exp(-r * time) * norm.cdf(d - v * sqrt(time)))


def finding() -> Finding:
    call = {"call": exp(-2 * r) * sp.Max(S - 1, 0)}
    run = simulate(EQUATION, start={S: 1}, time=2.0, dt=0.1, paths=2_000_000, save_at=2, observables=call)
    mean = mean_of(run, "S", "mean at t = 2", exp(2 * r), "closed form")
    wrong = mean.against(exp(2 * (r + v**2 / 2)), "the noise read in Stratonovich's sense")
    price = mean_of(run, "call", "price of a call", black_scholes(1.0, 2.0), "closed form")
    return Finding(rows=(mean, price), wrong=(wrong,))
