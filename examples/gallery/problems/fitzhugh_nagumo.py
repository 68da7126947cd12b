"""FitzHugh-Nagumo model.

A nerve's voltage V, which fires, and its slow recovery R, both with noise. No formula is known for its stationary
density; the Fokker-Planck equation is solved on two grids, from which the value on an infinitely fine one follows.
"""

from typing import Any

import numpy as np
import sympy as sp
from scipy.linalg import solve_continuous_lyapunov
from scipy.optimize import fsolve

from examples.gallery.fokker_planck import stationary
from examples.gallery.measuring import mean_of
from sde import SDE, simulate
from sde.results.result import Finding

V, R = sp.symbols("V R", real=True)
slow, noise = 0.3, (0.5, 0.3)


def drift(v: Any, r: Any) -> Any:
    return v - v**3 / 3 - r + 0.3, slow * (v + 0.7 - 0.8 * r)


EQUATION = SDE([V, R], drift=list(drift(V, R)), diffusion=[[noise[0], 0], [0, noise[1]]])


def by_fokker_planck(cells: int) -> tuple[float, float]:
    """Mean of V^2, and P(V > 0)."""
    v, _, p = stationary(drift, noise, ((-4, 4), (-3, 4)), (cells, cells))
    return float((v**2 * p).sum()), float(p[v > 0].sum())


def linear_noise() -> float:
    """Mean of V^2 were the noise small: about the fixed point, by Lyapunov's equation."""
    v = fsolve(lambda y: drift(*y), [-1, 0])[0]
    slopes = np.array([[1 - v**2, -1], [slow, -0.8 * slow]])
    return float(v**2 + solve_continuous_lyapunov(slopes, -np.diag(np.square(noise)))[0, 0])


def finding() -> Finding:
    coarse, fine = by_fokker_planck(100), by_fokker_planck(200)
    square, high = ((4 * b - a) / 3 for a, b in zip(coarse, fine, strict=True))
    seen = {"square": V**2, "high": sp.Piecewise((1, V > 0), (0, True))}
    run = simulate(
        EQUATION, start={V: 0, R: 0}, time=60, dt=0.03, paths=600_000, scheme="sra1", save_at=2, observables=seen
    )
    rows = (
        mean_of(run, "square", "stationary mean of V^2", square, "Fokker-Planck equation"),
        mean_of(run, "high", "share of the time that V > 0", high, "Fokker-Planck equation"),
    )
    return Finding(rows=rows, wrong=(rows[0].against(linear_noise(), "small noise about the fixed point"),))
