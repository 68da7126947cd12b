"""What the ends of a domain make of a step, or of a jump: reflection (Bossy, Gobet, Talay 2004), a period, absorption
with the Brownian bridge between a step's ends (Gobet 2000)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, reduce
from typing import Any

import numpy as np
import sympy as sp

from symbolic.arrays.building import elementwise
from symbolic.dynamics.domain import ABSORB, NONNEGATIVE, PERIODIC, REFLECT, Domain
from symbolic.dynamics.step_map import h, t

STRONG = {REFLECT: Fraction(1, 2), ABSORB: Fraction(1, 4), PERIODIC: Fraction(1, 2)}
"""Strong orders beyond which walls let no scheme come: the lowest point of a path is off by sqrt(dt) between steps; two
steps' bridges disagree on whether it was absorbed, and two paths on whether a period is over, for a share of them."""
TINY = sp.Rational(1, 10**30)


@dataclass(frozen=True)
class Functions:
    """What the formulas below are made of. either: of conditions; choose((value, condition), ..., otherwise)."""

    absolute: Callable[[Any], Any]
    floor: Callable[[Any], Any]
    erf: Callable[[Any], Any]
    log: Callable[[Any], Any]
    largest: Callable[[Any, Any], Any]
    either: Callable[..., Any]
    choose: Callable[..., Any]


SCALARS = Functions(sp.Abs, sp.floor, sp.erf, sp.log, sp.Max, sp.Or, lambda *of: sp.Piecewise(*of[:-1], (of[-1], True)))
ARRAYS = Functions(
    partial(elementwise, "Abs"),
    partial(elementwise, "floor"),
    partial(elementwise, "erf"),
    partial(elementwise, "log"),
    partial(elementwise, "Max"),
    lambda *of: reduce(partial(elementwise, "logical_or"), of),
    lambda *of: reduce(lambda otherwise, case: elementwise("where", case[1], case[0], otherwise), of[-2::-1], of[-1]),
)
"""The same of arrays."""


def draws(sde: Any) -> int:
    """How many further normals a step takes, of an equation of arrays for each entry."""
    return sum(s.size if sde.arrays else 1 for s, d in sde.domain.items() if d.kind == ABSORB)


def kept(sde: Any, updates: Any, extra: Iterator[Any], let: Any) -> list[Any]:
    """A step's states after the ends of their domains. extra: normals of variance dt that are no part of the
    Brownian path."""
    out, f = list(updates), ARRAYS if sde.arrays else SCALARS
    for i, x in enumerate(sde.states):
        domain = sde.domain.get(x)
        if domain is None:
            continue
        if domain.kind == REFLECT:
            out[i] = reflected(let(out[i]), domain, let, f)
        elif domain.kind == PERIODIC:
            moved = let(out[i] - domain.low)
            width = domain.high - domain.low
            out[i] = domain.low + moved - width * f.floor(moved / width)
        elif domain.kind == ABSORB:
            out[i] = absorbed(x, let(out[i]), domain, let(_variance(sde, i) * h), next(extra), let, f)
    return out


def _variance(sde: Any, i: int) -> Any:
    """Of state i, per unit time."""
    if not sde.arrays:
        return sum(b**2 for b in sde.diffusion(sp.ImmutableMatrix(sde.states), t)[i, :])
    b = sde.strengths[i]
    return np.sum(b * b, axis=-1) if sde.shared else b * b


def reflected(y: Any, domain: Domain, let: Any, f: Functions = SCALARS) -> Any:
    """Folded at both ends, as often as it takes."""
    if domain.high == sp.oo:
        return domain.low + f.absolute(y - domain.low)
    if domain.low == -sp.oo:
        return domain.high - f.absolute(domain.high - y)
    width = domain.high - domain.low
    moved = let(y - domain.low)
    return domain.low + width - f.absolute(let(moved - 2 * width * f.floor(moved / (2 * width))) - width)


def absorbed(x: Any, y: Any, domain: Domain, variance: Any, normal: Any, let: Any, f: Functions = SCALARS) -> Any:
    """At an end from where it was met on: at the end of the step, or with the probability exp(-2 d d'/variance) that a
    bridge between distances d and d' on one side has."""
    uniform = let(f.erf(normal / sp.sqrt(2 * h)) / 2)
    cases = []
    for end, sign in ((domain.low, 1), (domain.high, -1)):
        if end in (sp.oo, -sp.oo):
            continue
        before, after = let(sign * (x - end)), let(sign * (y - end))
        share = let(f.log(f.largest(sp.Rational(1, 2) + sign * uniform, TINY)))
        met = f.either(before <= 0, after <= 0, 2 * before * after < -variance * share)
        cases.append((end, met))
    return f.choose(*cases, y)


def landed(state: Any, value: Any, domain: Domain, f: Functions = SCALARS) -> Any:
    """What a jump that makes `value` of a state leaves of it: a state at an end that absorbs stays there, and what lies
    beyond an end is brought back: to 0, to the end, folded or by whole periods."""
    low, high = domain.low, domain.high
    if domain.kind == NONNEGATIVE:
        return f.choose((0, value < 0), value)
    if domain.kind == PERIODIC:
        return f.choose((_wrapped(value, domain, f), f.either(value < low, value >= high)), value)
    if domain.kind == REFLECT:
        return f.choose((reflected(value, domain, lambda e: e, f), f.either(value < low, value > high)), value)
    lower = [(low, state <= low), (low, value <= low)] if low != -sp.oo else []
    upper = [(high, state >= high), (high, value >= high)] if high != sp.oo else []
    return f.choose(*lower[:1], *upper[:1], *lower[1:], *upper[1:], value)


def _wrapped(value: Any, domain: Domain, f: Functions) -> Any:
    moved, width = value - domain.low, domain.high - domain.low
    return domain.low + moved - width * f.floor(moved / width)
