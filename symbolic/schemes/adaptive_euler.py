"""Euler-Maruyama with steps that each path chooses by its state (Fang and Giles 2020; Kelly and Lord 2018).

With relative rates a = |f|/sqrt(s^2 + |x|^2) of the drift, g = max(0, -<x, f>)/(s^2 + |x|^2) of its pull inward and
c = |b|^2/(s^2 + |x|^2) of the noise (0 where the noise is additive), s the size that states have in the run, and r =
|grad f| the rate at which the drift itself changes, a path takes steps of dt/(1 + a + r + c + dt a^2/(1 + 2 g)): of
order dt everywhere, so that orders are Euler's; no longer than (|x|^2 - 2 <x, f>)/|f|^2 where the drift is steep, so
that |x|^2 grows no faster than it may and moments stay bounded; and short of dt/r where it pulls back fast, however
small it is there. Another unit of the states changes nothing.
"""

from typing import Any

import sympy as sp

from symbolic.schemes.scheme import Scheme, order


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any) -> Any:
    return x + sde.increment(x, t, dt, dW)


def pace(sde: Any, x: Any, t: Any, dt: Any, size: Any) -> sp.Expr:
    """The longest step from state x; dt: from a state where nothing happens."""
    square = size**2 + sum(e**2 for e in x)
    f = sde.drift(x, t)
    steep = sum(e**2 for e in f) / square
    inward = sp.Max(0, -sum(a * b for a, b in zip(x, f, strict=True))) / square
    slope = sp.sqrt(sum(e**2 for e in f.jacobian(x)))
    noisy = 0 if sde.noise_class == "additive" else sum(e**2 for e in sde.diffusion(x, t)) / square
    return dt / (1 + sp.sqrt(steep) + slope + noisy + dt * steep / (1 + 2 * inward))


SCHEME = Scheme(
    name="adaptive-euler",
    calculus="ito",
    noise="general",
    strong=order("1/2", additive="1"),
    weak=order("1"),
    reference="Fang & Giles, Ann. Appl. Probab. 30 (2020) 526; Kelly & Lord 2018",
    suits="such drifts too, and rates that change along the way: each path chooses its steps by its state",
    step=step,
    pace=pace,
    position=3,
)
