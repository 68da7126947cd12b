"""Where a state of an SDE lives, and what of its equation keeps it there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from symbolic.arrays.building import elementwise
from symbolic.errors import InputError, nearest

NONNEGATIVE, REFLECT, PERIODIC, ABSORB = "nonnegative", "reflect", "periodic", "absorb"
WALLS = (REFLECT, PERIODIC, ABSORB)
EXAMPLE = 'Write domain={X: "nonnegative"}, or {X: ("reflect", 0, 1)}, with "periodic" or "absorb" likewise.'


@dataclass(frozen=True)
class Domain:
    """kind: "nonnegative", where the equation itself keeps the state, or what happens at low and high: "reflect",
    "periodic", "absorb"; an end that is infinite is none."""

    kind: str
    low: sp.Expr = sp.S.Zero
    high: sp.Expr = sp.oo

    @property
    def given(self) -> Any:
        """As a user writes it."""
        return self.kind if self.kind == NONNEGATIVE else (self.kind, self.low, self.high)

    def holds(self, least: float, most: float) -> bool:
        """Whether numbers from least to most are in it."""
        return float(self.low) <= least and most <= float(self.high)

    def __str__(self) -> str:
        return self.kind if self.kind == NONNEGATIVE else f"{self.kind} ({self.low}, {self.high})"


def read(given: Mapping[Any, Any] | None, states: Sequence[Any]) -> dict[Any, Domain]:
    """{state: domain}, in the order of states, symbols or arrays. Raises InputError."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InputError.of("SDE.domain", "must be a mapping {state: domain}", given, EXAMPLE)
    named = {s.name: s for s in states}
    found: dict[Any, Domain] = {}
    for key, value in given.items():
        name = str(getattr(key, "name", key))
        if name not in named:
            raise InputError.of("SDE.domain", "must name states", key, nearest(name, list(named)))
        if named[name] in found:
            raise InputError.of("SDE.domain", "a state has one domain", key, "Give it once.")
        found[named[name]] = _one(f"SDE.domain[{name}]", value)
    return {s: found[s] for s in states if s in found}


def _one(where: str, value: Any) -> Domain:
    if isinstance(value, str) and value == NONNEGATIVE:
        return Domain(NONNEGATIVE)
    kind, *ends = value if isinstance(value, (tuple, list)) and value else (value,)
    if kind not in WALLS or len(ends) != 2:
        raise InputError.of(where, 'must be "nonnegative", or a kind of wall with two ends', value, EXAMPLE)
    try:
        low, high = (sp.sympify(e, strict=True) for e in ends)
        ordered = bool(low < high) and low.is_number and high.is_number
    except (sp.SympifyError, TypeError, AttributeError):
        ordered = False
    if not ordered:
        raise InputError.of(where, "ends must be numbers, the lower one first", value, "An end may be -oo or oo.")
    infinite = [e for e in (low, high) if e in (sp.oo, -sp.oo)]
    if len(infinite) == 2 or (infinite and kind == PERIODIC):
        raise InputError.of(where, f"{kind} needs {'finite ends' if kind == PERIODIC else 'an end'}", value, EXAMPLE)
    return Domain(kind, low, high)


@dataclass(frozen=True)
class SquareRoot:
    """dv = (a - k v) dt + sqrt(v) c dW: a, k and c (1, J) are free of states."""

    a: sp.Expr
    k: sp.Expr
    c: sp.ImmutableMatrix


def square_root(sde: Any, i: int) -> SquareRoot | None:
    """State i as a square-root diffusion, where it is one."""
    f, row, root = _at_positive(sde, i)
    a, c = f.subs(root, 0), row.applyfunc(lambda b: sp.cancel(b / root))
    k = -sp.cancel(sp.expand(f - a) / root**2)
    free = set(sde.states) | {root}
    if any(e.free_symbols & free or e.has(sp.nan, sp.zoo) for e in (a, k, *c)) or not any(c):
        return None
    return SquareRoot(a, k, sp.ImmutableMatrix(c))


def rates(sde: Any, i: int) -> tuple[sp.Expr, sp.ImmutableMatrix] | None:
    """What drift and noises multiply state i by, f/x and b/x (1, J), where they have no singularity at 0."""
    f, row, root = _at_positive(sde, i)
    found = [sp.cancel(sp.expand(e) / root**2) for e in (f, *row)]
    for e in found:
        at_zero = e.subs(root, 0)
        if at_zero.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
            return None
    x = sde.states[i]
    back = [e.xreplace({root: sp.sqrt(x)}) for e in found]
    return back[0], sp.ImmutableMatrix([back[1:]])


def check(sde: Any) -> None:
    """Raise InputError where the equation does not keep a state at or above 0 that is said to be: there (at 0) its
    noise must vanish, and Ito's drift not point below."""
    if sde.domain and sde.interpretation != "ito":
        sde.to("ito")
        return
    for i, x in enumerate(sde.states):
        if x not in sde.domain or sde.domain[x].kind != NONNEGATIVE:
            continue
        f, row, root = _at_positive(sde, i)
        drift, *noise = (e.subs(root, 0) for e in (f, *row))
        noisy, why = [b for b in noise if b != 0 and not b.has(sp.nan)], ""
        if noisy:
            why = f"needs noise that vanishes there: at {x} = 0 that of {x} is {noisy[0]} and carries it below"
        elif drift.is_negative:
            why = f"needs a drift that does not point below: at {x} = 0 that of {x} is {drift}"
        if why:
            raise left(x, why)


def left(x: Any, why: str) -> InputError:
    """The refusal of an equation that does not keep a state at or above 0."""
    advice = 'Give ("reflect", 0, sympy.oo) or ("absorb", 0, sympy.oo), or mend the equation.'
    return InputError.of(f"SDE.domain[{x}]", why, NONNEGATIVE, advice)


def _at_positive(sde: Any, i: int) -> tuple[sp.Expr, sp.Matrix, sp.Symbol]:
    """Drift and row of the diffusion of state i in the root of a positive state, and that root; other states that are
    known to be no less than 0 have that assumption, so that Max(x, 0) and Abs(x) are x."""
    root = sp.Dummy("root", positive=True)
    others = {s: sp.Dummy(s.name, nonnegative=True) for s, d in sde.domain.items() if d.kind == NONNEGATIVE}
    back = {d: s for s, d in others.items()}
    given = others | {sde.states[i]: root**2}

    def at(e: sp.Expr) -> Any:
        return e.subs(given, simultaneous=True).xreplace(back)

    return at(sde.drift_vector[i]), sde.diffusion_matrix[i, :].applyfunc(at), root


def truncated(sde: Any) -> dict[Any, Any]:
    """{state: Max(state, 0)} for those that are at or above 0."""
    largest = (lambda s: elementwise("Max", s, 0)) if sde.arrays else (lambda s: sp.Max(s, 0))
    return {s: largest(s) for s, d in sde.domain.items() if d.kind == NONNEGATIVE}
