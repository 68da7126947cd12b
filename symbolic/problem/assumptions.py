"""What may be assumed of a symbol beyond being real: only what holds for every number that it stands for.

SymPy simplifies by assumptions when an expression is written: with a positive X, Abs(X) is X and Max(X, 0) is X before
anything here sees it. A path knows nothing of that, so a symbol that a path may take elsewhere is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy as sp

from symbolic.problem.base_distribution import Distribution

_REAL = sp.Symbol("x", real=True).assumptions0
_SIGNS = {
    "positive": lambda low, high: low > 0,
    "nonnegative": lambda low, high: low >= 0,
    "negative": lambda low, high: high < 0,
    "nonpositive": lambda low, high: high <= 0,
    "nonzero": lambda low, high: low > 0 or high < 0,
}
_OPPOSITE = {
    "positive": "nonpositive",
    "nonnegative": "negative",
    "negative": "nonnegative",
    "nonpositive": "positive",
    "zero": "nonzero",
}


def beyond(symbol: sp.Symbol) -> dict[str, bool]:
    """What is assumed of a symbol that real=True does not say."""
    return {k: v for k, v in symbol.assumptions0.items() if _REAL.get(k) != v}


def written(symbol: sp.Symbol) -> dict[str, bool]:
    """The assumptions that a symbol was made with, but for what real=True says."""
    made = getattr(symbol, "_assumptions_orig", None) or beyond(symbol)
    return {k: v for k, v in made.items() if v is not None and _REAL.get(k) != v}


def sign_of(symbol: sp.Symbol) -> int:
    """1 or -1 where a symbol stands for numbers of that sign alone, else 0."""
    signs = {k.removeprefix("extended_") for k, v in written(symbol).items() if v}
    return int(bool(signs & {"positive", "nonnegative"})) - int(bool(signs & {"negative", "nonpositive"}))


def known(symbol: sp.Symbol) -> str:
    """The same as they are written."""
    return ", ".join(f"{k}={v}" for k, v in written(symbol).items())


def refused(where: str, symbol: sp.Symbol, why: str) -> str | None:
    """The refusal, in words, of a symbol that must be no more than real; None where it is not."""
    if not beyond(symbol):
        return None
    return (
        f"{where}: may be assumed real, and no more; got {symbol} with {known(symbol)}. {why}, where SymPy has already"
        f" taken Max({symbol}, 0), Abs({symbol}) and the like for something else. Write sympy.Symbol({symbol.name!r},"
        " real=True), and every expression with it."
    )


def holds(symbol: sp.Symbol, low: Any, high: Any, values: Iterable[Any] | None = None) -> bool:
    """Whether all that is assumed of a symbol is true of every number in [low, high], or of the `values`, where it
    stands for those alone."""
    listed = None if values is None else [sp.nsimplify(v) if float(v).is_integer() else sp.Float(v) for v in values]
    for key, truth in written(symbol).items():
        name = key.removeprefix("extended_")
        name = name if truth else _OPPOSITE.get(name, "")
        if name in _SIGNS and _SIGNS[name](low, high):
            continue
        if listed is None or not all(getattr(v, f"is_{key}", None) is truth for v in listed):
            return False
    return True


def support(symbol: sp.Symbol, block: Distribution) -> bool:
    """Whether all that is assumed of a data symbol is true of every number that its distribution can give."""
    if not beyond(symbol):
        return True
    bounds = block.bounds(block.symbols.index(symbol))
    return bounds is not None and holds(symbol, *bounds)
