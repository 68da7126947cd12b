"""Expressions part by part, each part once: thousands of terms may share one long sum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sympy as sp


def parts(expressions: Iterable[sp.Basic], seen: set[sp.Basic] | None = None) -> Iterator[sp.Basic]:
    """Every distinct part of the expressions, an expression's own before the next one's. seen: parts to leave out,
    which grows by those that are yielded."""
    seen = set() if seen is None else seen
    for e in expressions:
        waiting = [e]
        while waiting:
            part = waiting.pop()
            if part not in seen:
                seen.add(part)
                waiting += part.args
                yield part
