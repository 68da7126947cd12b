"""Euler-Heun: Euler in the drift, trapezoidal in the noise (Gard 1988; Roberts 2012)."""

from typing import Any

from symbolic.schemes.scheme import Scheme, order


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any) -> Any:
    kick = let(sde.diffusion(x, t) * dW)
    return x + sde.drift(x, t) * dt + (kick + sde.diffusion(let(x + kick), t + dt) * dW) / 2


SCHEME = Scheme(
    name="euler-heun",
    calculus="stratonovich",
    noise="general",
    strong=order("1/2", commutative="1"),
    weak=order("1"),
    reference="Kloeden & Platen 1992, eq. 4.9.25; Rumelin 1982",
    suits="equations in Stratonovich's sense whose drift is costly: it is evaluated once a step",
    step=step,
    arrays="general",
    position=11,
)
