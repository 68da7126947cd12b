"""Milstein's scheme for noises that commute: their Levy areas cancel (Milstein 1974; Kloeden and Platen 1992, eq.
10.3.16)."""

from typing import Any

from symbolic.dynamics.domain import WALLS
from symbolic.schemes.scheme import Scheme, order


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, squares: Any) -> Any:
    return x + sde.increment(x, t, dt, dW) + second(sde, x, t, squares)


def second(sde: Any, x: Any, t: Any, integrals: Any) -> Any:
    """sum_jk (grad b_k) b_j I_(j,k), x being the states themselves."""
    b = sde.diffusion(x, t)
    return sum((sde.along(b[:, k], x, b * integrals[:, k]) for k in range(len(integrals[:, 0]))), 0 * x)


SCHEME = Scheme(
    name="milstein",
    calculus="ito",
    noise="commutative",
    strong=order("1"),
    weak=order("1"),
    reference="Kloeden & Platen 1992, eq. 10.3.16",
    suits="paths, where noises commute",
    step=step,
    arrays="diagonal",
    keeps=WALLS,
    position=5,
)
