"""Milstein's scheme for any noise, its Levy areas by Legendre series (Milstein 1988; Kuznetsov 2006).

`milstein-levy:n` takes n terms of the series; by itself, as many as the step asks for (`levy_terms`). The areas left
out have mean square dt^2/(4 (2n + 1)), so strong order 1 needs n to grow like 1/dt.
"""

from math import ceil
from typing import Any

from symbolic.errors import InputError
from symbolic.schemes.milstein import second
from symbolic.schemes.scheme import Scheme, order

MOST_TERMS = 64


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, integrals: Any) -> Any:
    return x + sde.increment(x, t, dt, dW) + second(sde, x, t, integrals)


def levy_terms(dt: float) -> int:
    """Terms for which the areas' error over a unit of time is dt. Raises InputError past 64."""
    terms = max(1, ceil((1 / dt - 2) / 4 * (1 - 1e-12)))
    if terms > MOST_TERMS:
        raise InputError(
            f"scheme: milstein-levy takes 1/(4 dt) terms of the Levy areas, at most {MOST_TERMS}; got dt = {dt}"
            f" (float), {terms} terms. Say how many in the name, 'milstein-levy:{MOST_TERMS}'."
        )
    return terms


SCHEME = Scheme(
    name="milstein-levy",
    calculus="ito",
    noise="general",
    strong=order("1"),
    weak=order("1"),
    reference="Kloeden & Platen 1992, eq. 10.3.3; Kuznetsov 2006; Foster & Habermann 2023",
    suits="paths, where noises do not commute: it takes their Lévy areas",
    step=step,
    terms=levy_terms,
    position=6,
)
