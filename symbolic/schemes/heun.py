"""Stochastic Heun: trapezoidal in drift and noise (Rumelin 1982; Kloeden and Platen 1992, section 15.5)."""

from typing import Any

NAME, CALCULUS, NOISE = "heun", "stratonovich", "general"
STRONG, WEAK = {"general": "1/2", "commutative": "1"}, {"general": "1", "additive": "2"}
REFERENCE = "Rumelin, SIAM J. Numer. Anal. 19 (1982) 604"


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any) -> Any:
    first = let(sde.increment(x, t, dt, dW))
    return x + (first + sde.increment(let(x + first), t + dt, dt, dW)) / 2
