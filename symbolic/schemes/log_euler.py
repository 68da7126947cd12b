"""Euler-Maruyama of the logarithm of every state that is at or above 0: x' = x exp((f/x - |b/x|^2/2) dt + (b/x) dW),
for those whose drift and noise, divided by them, have no singularity at 0. It stays above 0, and where f/x and b/x
are constant it is the solution."""

from typing import Any

import sympy as sp

from symbolic.dynamics.domain import NONNEGATIVE, WALLS, rates
from symbolic.schemes.scheme import Scheme, order


def refuse(sde: Any) -> str | None:
    """Why this SDE cannot be stepped, if so."""
    kept = [i for i, x in enumerate(sde.states) if x in sde.domain and sde.domain[x].kind == NONNEGATIVE]
    if not kept:
        return 'is for states of a domain: SDE(..., domain={X: "nonnegative"})'
    left = [str(sde.states[i]) for i in kept if rates(sde, i) is None]
    return f"needs drift/x and diffusion/x without singularities at 0; got {', '.join(left)} without" if left else None


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any) -> Any:
    out = list(x + sde.increment(x, t, dt, dW))
    for i, s in enumerate(sde.states):
        if s in sde.domain and sde.domain[s].kind == NONNEGATIVE:
            out[i] = x[i] * sp.exp(exponent(rates(sde, i), dt, dW))
    return sp.ImmutableMatrix(out)


def exponent(found: Any, dt: Any, dW: Any) -> Any:
    """What the logarithm of a state gains. found: f/x, and b/x (1, J)."""
    r, b = found
    return (r - sum(e**2 for e in b) / 2) * dt + (b * dW)[0]


SCHEME = Scheme(
    name="log-euler",
    calculus="ito",
    noise="general",
    strong=order("1/2"),
    weak=order("1"),
    reference="Kloeden & Platen 1992, eq. 10.2.4, of log x",
    suits="states at or above 0 whose drift and noise are in proportion to them",
    step=step,
    refuse=refuse,
    keeps=(NONNEGATIVE, *WALLS),
    position=14,
)
