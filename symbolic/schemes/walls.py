"""What the ends of a domain make of a step: reflection (Bossy, Gobet, Talay 2004), a period, absorption with the
Brownian bridge between a step's ends (Gobet 2000)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import sympy as sp

from symbolic.dynamics.domain import ABSORB, PERIODIC, REFLECT, Domain
from symbolic.dynamics.step_map import h, t

STRONG = {REFLECT: Fraction(1, 2), ABSORB: Fraction(1, 4), PERIODIC: Fraction(1, 2)}
"""Strong orders beyond which walls let no scheme come: the lowest point of a path is off by sqrt(dt) between steps; two
steps' bridges disagree on whether it was absorbed, and two paths on whether a period is over, for a share of them."""
TINY = sp.Rational(1, 10**30)


def draws(sde: Any) -> int:
    """How many further normals a step takes."""
    return sum(d.kind == ABSORB for d in sde.domain.values())


def kept(sde: Any, updates: Any, extra: Iterator[sp.Symbol], let: Any) -> list[sp.Expr]:
    """A step's states after the ends of their domains. extra: normals of variance dt that are no part of the
    Brownian path."""
    out = list(updates)
    for i, x in enumerate(sde.states):
        domain = sde.domain.get(x)
        if domain is None:
            continue
        if domain.kind == REFLECT:
            out[i] = reflected(let(out[i]), domain, let)
        elif domain.kind == PERIODIC:
            moved = let(out[i] - domain.low)
            width = domain.high - domain.low
            out[i] = domain.low + moved - width * sp.floor(moved / width)
        elif domain.kind == ABSORB:
            variance = let(sum(b**2 for b in sde.diffusion(sp.ImmutableMatrix(sde.states), t)[i, :]) * h)
            out[i] = absorbed(x, let(out[i]), domain, variance, next(extra), let)
    return out


def reflected(y: Any, domain: Domain, let: Any) -> Any:
    """Folded at both ends, as often as it takes."""
    if domain.high == sp.oo:
        return domain.low + sp.Abs(y - domain.low)
    if domain.low == -sp.oo:
        return domain.high - sp.Abs(domain.high - y)
    width = domain.high - domain.low
    moved = let(y - domain.low)
    return domain.low + width - sp.Abs(let(moved - 2 * width * sp.floor(moved / (2 * width))) - width)


def absorbed(x: Any, y: Any, domain: Domain, variance: Any, normal: Any, let: Any) -> Any:
    """At an end from where it was met on: at the end of the step, or with the probability exp(-2 d d'/variance) that a
    bridge between distances d and d' on one side has."""
    uniform = let(sp.erf(normal / sp.sqrt(2 * h)) / 2)
    cases = []
    for end, sign in ((domain.low, 1), (domain.high, -1)):
        if end in (sp.oo, -sp.oo):
            continue
        before, after = let(sign * (x - end)), let(sign * (y - end))
        share = let(sp.log(sp.Max(sp.Rational(1, 2) + sign * uniform, TINY)))
        met = sp.Or(before <= 0, after <= 0, 2 * before * after < -variance * share)
        cases.append((end, met))
    return sp.Piecewise(*cases, (y, True))
