"""What operators give for the types of their arguments, asked of Numba once: wherever one stands, it would try all of
NumPy's ways too, anew, as it is typed and as it is lowered."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba import types

OPERATORS = frozenset(f for f in vars(operator).values() if callable(f) and not isinstance(f, type))

_known: dict[tuple[Any, Any], Any] = {}
"""Signatures by (Numba's type of the operator, types of its arguments). What implements them hangs on that type, which
lives as long as it stands here."""


@contextmanager
def resolved_once() -> Iterator[None]:
    """Within, Numba takes the signatures of operators from what is known."""
    asked, own = types.Function.get_call_type, "get_call_type" in vars(types.Function)

    def get_call_type(self: Any, context: Any, args: Any, kws: Any) -> Any:
        if kws or self.typing_key not in OPERATORS:
            return asked(self, context, args, kws)
        found = _known.get((self, args))
        if found is None:
            found = _known[self, args] = asked(self, context, args, kws)
        return found

    types.Function.get_call_type = get_call_type
    try:
        yield
    finally:
        if own:
            types.Function.get_call_type = asked
        else:
            del types.Function.get_call_type
