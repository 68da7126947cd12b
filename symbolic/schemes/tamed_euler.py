"""Tamed Euler: the drift's step is bounded by 1, for drifts that grow faster than linearly (Hutzenthaler, Jentzen, Kloeden 2012)."""

from typing import Any

import sympy as sp

NAME, CALCULUS, NOISE, STRONG, WEAK = "tamed-euler", "ito", "general", {"general": "1/2", "additive": "1"}, "1"
REFERENCE = "Hutzenthaler, Jentzen & Kloeden, Ann. Appl. Probab. 22 (2012) 1611"


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any) -> Any:
    a = let(sde.drift(x, t))
    return x + a * dt / (1 + dt * sp.sqrt(sum(e**2 for e in a))) + sde.diffusion(x, t) * dW
