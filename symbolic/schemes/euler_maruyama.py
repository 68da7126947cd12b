"""Euler-Maruyama (Maruyama 1955; Kloeden and Platen 1992, eq. 10.2.4)."""

from typing import Any

from symbolic.dynamics.domain import WALLS
from symbolic.schemes.scheme import Scheme, order


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any) -> Any:
    return x + sde.increment(x, t, dt, dW)


SCHEME = Scheme(
    name="euler-maruyama",
    calculus="ito",
    noise="general",
    strong=order("1/2", additive="1"),
    weak=order("1"),
    reference="Kloeden & Platen 1992, eq. 10.2.4",
    suits="any noise, one drift a step: the default, and that of losses",
    step=step,
    arrays="general",
    steps_losses=True,
    keeps=WALLS,
    position=1,
)
