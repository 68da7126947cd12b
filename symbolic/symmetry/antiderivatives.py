"""Antiderivatives of the slopes of separable laws, by rules that end; what they do not know stays an integral.

SymPy's own search is asked only where one kind of function of one linear argument stands alone: mixed with the variable
itself, as in SiLU or GELU, it may not come back.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from symbolic.functions.registry import ELEMENTARY

LONGEST = 60
"""Operations in a slope that is integrated."""
PERIODIC = (sp.sin, sp.cos, sp.tan)
EXPONENTIAL = (sp.exp, sp.sinh, sp.cosh, sp.tanh)


def antiderivative(slope: sp.Expr, s: sp.Symbol) -> sp.Expr:
    """An antiderivative of slope in s, unevaluated where the rules know none."""
    if slope.count_ops() <= LONGEST:
        gauss = _gauss(slope, s)
        if gauss is not None:
            return gauss
        if _alone(slope, s):
            found = sp.integrate(sp.simplify(slope.rewrite(sp.exp)), s)
            if not found.has(sp.Integral):
                return sp.simplify(found)
    return sp.Integral(slope, s)


def _gauss(slope: sp.Expr, s: sp.Symbol) -> sp.Expr | None:
    """The imaginary error function, for c exp(q s^2) with q > 0."""
    factor, rest = slope.as_independent(s, as_Add=False)
    if not isinstance(rest, sp.exp) or not rest.args[0].is_polynomial(s):
        return None
    q: Any = rest.args[0] / s**2
    if not (q.is_number and q.is_positive):
        return None
    return factor * sp.sqrt(sp.pi / q) / 2 * sp.erfi(sp.sqrt(q) * s)


def _alone(slope: sp.Expr, s: sp.Symbol) -> bool:
    """Whether s occurs in powers only, or in one kind of function of linear arguments only."""
    functions = [f for f in slope.atoms(sp.Function) if f.has(s)]
    if not functions:
        return all(p.base == s or p.exp.is_Integer for p in slope.atoms(sp.Pow) if p.has(s))
    for kinds in (PERIODIC, EXPONENTIAL):
        if all(isinstance(f, kinds) and sp.diff(f.args[0], s).is_number for f in functions):
            return not slope.xreplace({f: sp.Dummy() for f in functions}).has(s)
    return False


def by_slopes(law: sp.Expr, twins: dict[sp.Symbol, sp.Symbol]) -> sp.Expr:
    """A law for a tape: terms that it does not know, of one s each, as s times their slope at the twin of s, which has
    the same gradient where twins are equal."""
    terms = []
    for term in sp.Add.make_args(law):
        names = term.free_symbols & twins.keys()
        if len(names) == 1 and _unknown(term):
            s = next(iter(names))
            term = s * sp.diff(term, s).xreplace({s: twins[s]})
        terms.append(term)
    return sp.Add(*terms)


def _unknown(term: sp.Expr) -> bool:
    return term.has(sp.Integral) or any(type(f) not in ELEMENTARY for f in term.atoms(sp.Function))
