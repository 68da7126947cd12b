"""Largest and smallest of several expressions: their slopes where some are equal, and which of them ask for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

import sympy as sp

from symbolic.dynamics.path_functionals import PathFunctional
from symbolic.dynamics.step_map import h, t
from symbolic.functions.reached import Reached

Extreme = sp.Max | sp.Min


def slope(f: sp.Expr, s: sp.Symbol) -> sp.Expr:
    """df/ds, of an extreme the mean slope of the entries that it equals (SymPy's own, of three equal entries and more,
    is 1/2 of each), of |u| at u = 0 the slope to its right, as none would hide that paths leave it."""
    return _slope(f, s).replace(sp.sign, lambda u: sp.Piecewise((1, u >= 0), (-1, True)))


def _slope(f: sp.Expr, s: sp.Symbol) -> sp.Expr:
    if isinstance(f, Extreme) and len(f.args) > 2:
        beyond = sp.Ge if isinstance(f, sp.Max) else sp.Le
        here = [sp.Piecewise((1, beyond(a, f)), (0, True)) for a in f.args]
        return sp.Add(*(one * _slope(a, s) for one, a in zip(here, f.args, strict=True))) / sp.Add(*here)
    walk, several = sp.preorder_traversal(f), dict[sp.Basic, sp.Symbol]()
    for node in walk:
        if isinstance(node, Extreme) and len(node.args) > 2:
            walk.skip()
            if node.has(s):
                several[node] = sp.Dummy(real=True)
    if not several:
        return sp.diff(f, s)
    outer, back = f.xreplace(several), {d: node for node, d in several.items()}
    parts = [sp.diff(outer, s), *(sp.diff(outer, d) * _slope(node, s) for node, d in several.items())]
    return sp.Add(*(p.xreplace(back) for p in parts))


def concave(f: sp.Expr, noisy: Set[sp.Symbol]) -> bool:
    """Whether f > 0 may ask for several entries of an extreme at once, of more than one of the states that have noise:
    for all of a smallest that raises f, of a largest that lowers it, or of what does either."""
    return any(_asking(f.xreplace({node: sp.Dummy(real=True) for node in f.atoms(PathFunctional)}), noisy, 1))


def led(f: sp.Expr, noisy: Set[sp.Symbol], then: Mapping[sp.Basic, sp.Expr]) -> sp.Expr:
    """1 where each extreme by which f is `concave` is the same entry at both ends of a step, else 0. then: the states
    at its end."""
    later = {**then, t: t + h}
    out: sp.Expr = sp.S.One
    for node in sorted(set(_asking(f, noisy, 1)), key=sp.default_sort_key):
        kind, beyond = (sp.Max, sp.Ge) if isinstance(node, sp.Max) else (sp.Min, sp.Le)
        ends = [a.xreplace(later) for a in node.args]
        last = kind(*ends)
        both = [sp.And(beyond(a, node), beyond(b, last)) for a, b in zip(node.args, ends, strict=True)]
        out *= sp.Piecewise((1, sp.Or(*both)), (0, True))
    return out


def _asking(f: sp.Basic, noisy: Set[sp.Symbol], sign: int) -> Iterator[sp.Expr]:
    """The extremes by which sign * f is concave, by which either is where sign is 0."""
    if not f.has(sp.Max, sp.Min):
        return
    if isinstance(f, Extreme):
        moving = [a for a in f.args if a.free_symbols & noisy]
        several = len(moving) > 1 and len(f.free_symbols & noisy) > 1
        if several and sign != (-1 if isinstance(f, sp.Min) else 1):
            yield f
        for a in f.args:
            yield from _asking(a, noisy, sign)
    elif isinstance(f, sp.Mul):
        rest = (sp.Mul(*(b for b in f.args if b is not a)) for a in f.args)
        for a, r in zip(f.args, rest, strict=True):
            yield from _asking(a, noisy, sign * _sign(r))
    else:
        through = isinstance(f, sp.Add | Reached | sp.Piecewise | sp.functions.elementary.piecewise.ExprCondPair)
        for a in f.args:
            yield from _asking(a, noisy, sign if through and isinstance(a, sp.Expr | sp.Tuple) else 0)


def _sign(f: sp.Expr) -> int:
    """Of what may also be 0; 0 where it cannot be told."""
    return 1 if f.is_nonnegative else -1 if f.is_nonpositive else 0
