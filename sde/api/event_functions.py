"""Functions of a path's end that name events: 1 where the path has had one by then, 0 where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError

MOST = 4
"""Events that one function may name, which is written once for each combination of them."""


@dataclass(frozen=True)
class EventFunction:
    """A function's forms, one for each combination of the events that it names; dates: of these events, their numbers
    among the dates of a path, the slowest to change first."""

    forms: tuple[sp.Expr, ...]
    dates: tuple[int, ...] = ()

    def at(self, values: np.ndarray, happened: np.ndarray) -> np.ndarray:
        """Of its forms (2**k, n), those that paths have. happened: (E, n), whether each has had each event."""
        which = np.zeros(values.shape[1], dtype=np.int64)
        for date in self.dates:
            which = 2 * which + happened[date]
        return values[which, np.arange(len(which))]


def event_function(where: str, f: Any, dated: Sequence[str]) -> EventFunction:
    """f, an expression or the name of an event, where symbols named as `dated` stand for events. Raises InputError."""
    f = sp.Symbol(f) if isinstance(f, str) else f
    named = [s for s in f.free_symbols if s.name in dated] if isinstance(f, sp.Expr) else []
    names = sorted({s.name for s in named})
    if len(names) > MOST:
        raise InputError.of(where, f"one function may name {MOST} events", names, "Write several functions.")
    each = [dict(zip(names, bits, strict=True)) for bits in product((0, 1), repeat=len(names))]
    forms = tuple(f.xreplace({s: sp.Integer(bits[s.name]) for s in named}) if named else f for bits in each)
    for bits, form in zip(each, forms, strict=True):
        if named and form.has(sp.zoo, sp.oo, -sp.oo, sp.nan):
            rule = "must be a number with and without the events that it names"
            had = ", ".join(f"{name} = {bit}" for name, bit in bits.items())
            raise InputError.of(where, rule, f"{form} where {had}", "Write f so that it is.")
    return EventFunction(forms, tuple(dated.index(name) for name in names))
