"""Expressions as functions of numbers: the one place where SymPy writes source and Python runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

OURS = ("sympy", "symbolic")


def function(where: str, expression: sp.Expr, arguments: Sequence[sp.Symbol]) -> Callable[..., Any]:
    """The expression as a NumPy function of its arguments, in their order.

    `sympy.lambdify` writes names of symbols and of undefined functions into the source that it runs. So every symbol, bound ones too, has a neutral
    name there, and nodes of a class that neither SymPy nor `symbolic` defines are refused with a ValueError, as `where`'s.
    """
    for node in sp.preorder_traversal(expression):
        kind = type(node)
        if isinstance(node, AppliedUndef) or str(kind.__module__).split(".")[0] not in OURS:
            raise ValueError(
                f"{where}: must be made of functions that have a value; got {str(node)[:60]!r} ({kind.__name__!r}). Use SymPy's functions."
            )
    loose = expression.free_symbols - set(arguments)
    if loose:
        raise ValueError(
            f"{where}: may use {sorted(map(str, arguments))} only; got {sorted(map(str, loose))!r}. Give the others numbers."
        )
    neutral = {s: sp.Dummy("z", **s.assumptions0) for s in expression.atoms(sp.Symbol) | set(arguments)}
    return sp.lambdify([neutral[s] for s in arguments], expression.xreplace(neutral), modules=["numpy"])
