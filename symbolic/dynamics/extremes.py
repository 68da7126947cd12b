"""Largest and smallest of several expressions: their slopes where some are equal, and which of them ask for all."""

from __future__ import annotations

from collections.abc import Set

import sympy as sp

from symbolic.dynamics.path_functionals import PathFunctional

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
    return _concave(f.xreplace({node: sp.Dummy(real=True) for node in f.atoms(PathFunctional)}), noisy, 1)


def _concave(f: sp.Basic, noisy: Set[sp.Symbol], sign: int) -> bool:
    """The same of sign * f, of either where sign is 0."""
    if not f.has(sp.Max, sp.Min):
        return False
    if isinstance(f, Extreme):
        moving = [a for a in f.args if a.free_symbols & noisy]
        several = len(moving) > 1 and len(f.free_symbols & noisy) > 1
        if several and sign != (-1 if isinstance(f, sp.Min) else 1):
            return True
        return any(_concave(a, noisy, sign) for a in f.args)
    if isinstance(f, sp.Mul):
        rest = (sp.Mul(*(b for b in f.args if b is not a)) for a in f.args)
        return any(_concave(a, noisy, sign * _sign(r)) for a, r in zip(f.args, rest, strict=True))
    through = isinstance(f, sp.Add | sp.Piecewise | sp.functions.elementary.piecewise.ExprCondPair)
    return any(_concave(a, noisy, sign if through and isinstance(a, sp.Expr | sp.Tuple) else 0) for a in f.args)


def _sign(f: sp.Expr) -> int:
    """Of what may also be 0; 0 where it cannot be told."""
    return 1 if f.is_nonnegative else -1 if f.is_nonpositive else 0
