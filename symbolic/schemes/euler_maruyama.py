"""Euler-Maruyama (Maruyama 1955; Kloeden and Platen 1992, eq. 10.2.4)."""

from typing import Any

NAME, CALCULUS, NOISE, STRONG, WEAK = "euler-maruyama", "ito", "general", {"general": "1/2", "additive": "1"}, "1"
REFERENCE = "Kloeden & Platen 1992, eq. 10.2.4"


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any) -> Any:
    return x + sde.increment(x, t, dt, dW)
