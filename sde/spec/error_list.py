"""Problems of a user's file, collected so that all are told at once, each in the one form that every message here
has."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, TypeGuard

from symbolic.language.names import LONGEST, printable
from symbolic.language.parser import ExpressionError

MOST = 60
"""Known words that a hint lists."""


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint for a misspelt word: the nearest known one, else all of them."""
    close = difflib.get_close_matches(word[:LONGEST], known, n=1, cutoff=0.6)
    listed = ", ".join(printable(name, 40) for name in known[:MOST])
    return f"Did you mean {close[0]!r}?" if close else f"Known: {listed}{', ...' if len(known) > MOST else ''}."


class ErrorList:
    """A growing list of one-line problems, and the names whose meaning is unknown because of one of them."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.failed: set[str] = set()

    def expression(self, error: ExpressionError, hint: str = "") -> None:
        """Note what is wrong with an expression, unless it only follows from a problem noted before."""
        unknown = error.rule.startswith("unknown name")
        if not (unknown and error.text in self.failed):
            self.found.append(f"{error} {hint}" if unknown and hint else str(error))

    def add(self, where: str, rule: str, value: Any, do: str) -> None:
        """Note "<where>: <rule>; got <value> (<type>). <do>"."""
        where = printable(where, 120)
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        self.found.append(
            f"{where}: {rule}; got {shown} ({type(value).__name__}). {do}"
            if value is not None
            else f"{where}: {rule}; got nothing (missing). {do}"
        )


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a TOML value is a number (a boolean is not)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
