"""Euler-Maruyama with steps that each path chooses by its state (Fang and Giles 2020; Kelly and Lord 2018).

With relative rates a = |f|/sqrt(1 + |x|^2) of the drift and c = |b|^2/(1 + |x|^2) of the noise (0 where the noise is additive), a path
takes steps of dt/(1 + a + c + dt a^2): of order dt everywhere, so that orders are Euler's, and no longer than |x|^2/|f|^2 where the
drift is steep, so that moments stay bounded whatever its growth.
"""

from typing import Any

import sympy as sp

NAME, CALCULUS, NOISE, STRONG, WEAK = "adaptive-euler", "ito", "general", {"general": "1/2", "additive": "1"}, "1"
REFERENCE = "Fang & Giles, Ann. Appl. Probab. 30 (2020) 526; Kelly & Lord 2018"


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any) -> Any:
    return x + sde.increment(x, t, dt, dW)


def pace(sde: Any, x: Any, t: Any, dt: Any) -> sp.Expr:
    """The longest step from state x; dt: from a state where nothing happens."""
    size = 1 + sum(e**2 for e in x)
    steep = sum(e**2 for e in sde.drift(x, t)) / size
    noisy = 0 if sde.noise_class == "additive" else sum(e**2 for e in sde.diffusion(x, t)) / size
    return dt / (1 + sp.sqrt(steep) + noisy + dt * steep)
