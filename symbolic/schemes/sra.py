"""SRA1: strong order 3/2 for additive noise with two drift evaluations (Roessler 2010)."""

from typing import Any

import sympy as sp

from symbolic.schemes.scheme import Scheme, order


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, dZ: Any, let: Any) -> Any:
    start, end = sde.diffusion(x, t), sde.diffusion(x, t + dt)
    a = let(sde.drift(x, t))
    later = let(x + sp.Rational(3, 4) * a * dt + sp.Rational(3, 2) * end * dZ / dt)
    drift = (a + 2 * sde.drift(later, t + sp.Rational(3, 4) * dt)) / 3
    return x + drift * dt + end * dW + (start - end) * dZ / dt


SCHEME = Scheme(
    name="sra1",
    calculus="ito",
    noise="additive",
    strong=order("3/2"),
    weak=order("2"),
    reference="Roessler, SIAM J. Numer. Anal. 48 (2010) 922, scheme SRA1",
    suits="noise that does not depend on the state: paths and statistics",
    step=step,
    arrays="additive",
    position=7,
)
