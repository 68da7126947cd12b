"""Tamed Euler: the drift's step is bounded by the size that states have in the run, for drifts that grow faster than
linearly (Hutzenthaler, Jentzen, Kloeden 2012, whose size is 1: another unit of the states is to change nothing)."""

from typing import Any

from symbolic.dynamics.domain import WALLS
from symbolic.schemes.scheme import Scheme, order


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any, size: Any) -> Any:
    a = let(sde.drift(x, t))
    return x + a * dt / (1 + dt * sde.length(a) / size) + sde.diffusion(x, t) * dW


SCHEME = Scheme(
    name="tamed-euler",
    calculus="ito",
    noise="general",
    strong=order("1/2", additive="1"),
    weak=order("1"),
    reference="Hutzenthaler, Jentzen & Kloeden, Ann. Appl. Probab. 22 (2012) 1611",
    suits="drifts that grow faster than linearly, which plain Euler loses paths to",
    step=step,
    arrays="general",
    keeps=WALLS,
    position=2,
)
