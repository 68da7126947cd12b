"""Milstein's scheme for noises that commute: their Levy areas cancel (Milstein 1974; Kloeden and Platen 1992, eq.
10.3.16)."""

from typing import Any

import sympy as sp

from symbolic.dynamics.stochastic_calculus import jacobian
from symbolic.schemes.scheme import Scheme, order


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any) -> Any:
    return x + sde.increment(x, t, dt, dW) + second(sde, x, t, (dW * dW.T - dt * sp.eye(len(dW))) / 2)


def second(sde: Any, x: Any, t: Any, integrals: Any) -> Any:
    """sum_jk (grad b_k) b_j I_(j,k), x being the states themselves."""
    b = sde.diffusion(x, t)
    return sum((jacobian(b[:, k], list(x)) * (b * integrals[:, k]) for k in range(b.cols)), sp.zeros(b.rows, 1))


SCHEME = Scheme(
    name="milstein",
    calculus="ito",
    noise="commutative",
    strong=order("1"),
    weak=order("1"),
    reference="Kloeden & Platen 1992, eq. 10.3.16",
    step=step,
    position=5,
)
