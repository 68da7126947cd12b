"""Stochastic Heun: trapezoidal in drift and noise (Rumelin 1982; Kloeden and Platen 1992, section 15.5)."""

from typing import Any

from symbolic.schemes.scheme import Scheme, order


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any) -> Any:
    first = let(sde.increment(x, t, dt, dW))
    return x + (first + sde.increment(let(x + first), t + dt, dt, dW)) / 2


SCHEME = Scheme(
    name="heun",
    calculus="stratonovich",
    noise="general",
    strong=order("1/2", commutative="1"),
    weak=order("1", additive="2"),
    reference="Rumelin, SIAM J. Numer. Anal. 19 (1982) 604",
    suits="equations in Stratonovich's sense",
    step=step,
    arrays="general",
    position=10,
)
