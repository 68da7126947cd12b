"""Problems of a user's file, collected so that all are told at once, each in the one form that every message here
has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from symbolic.errors import near, nearest, shown
from symbolic.language.names import printable
from symbolic.language.parser import ExpressionError


class ErrorList:
    """A growing list of one-line problems, and the names whose meaning is unknown because of one of them."""

    def __init__(self, tables: Mapping[str, Sequence[str]] | None = None) -> None:
        self.found: list[str] = []
        self.failed: set[str] = set()
        self.tables = tables or {}

    def unknown(self, table: str, key: str, value: Any, rule: str = "unknown key") -> None:
        """Note a key that its table has not: perhaps one of another table, or a near miss. "" is the top of the
        file."""
        others = {f"[{name}]" if name else "the top": k for name, k in self.tables.items() if name != table}
        own, homes = self.tables[table], [name for name, keys in others.items() if key in keys]
        near_ones = [(name, word) for name, keys in others.items() for word in near(key, keys)]
        if homes:
            do = f"It belongs under {' or '.join(homes)}."
        elif near_ones and not near(key, own):
            do = f"Did you mean {near_ones[0][1]!r} under {near_ones[0][0]}?"
        else:
            do = nearest(key, own)
        self.add(f"{table}.{key}" if table else key, rule, value, do)

    def expression(self, error: ExpressionError, hint: str = "") -> None:
        """Note what is wrong with an expression, unless it only follows from a problem noted before."""
        unknown = error.rule.startswith("unknown name")
        if not (unknown and error.text in self.failed):
            self.found.append(f"{error} {hint}" if unknown and hint else str(error))

    def add(self, where: str, rule: str, value: Any, do: str) -> None:
        """Note "<where>: <rule>; got <value> (<type>). <do>"."""
        where = printable(where, 120)
        self.found.append(
            f"{where}: {rule}; got {shown(value, 80)} ({type(value).__name__}). {do}"
            if value is not None
            else f"{where}: {rule}; got nothing (missing). {do}"
        )


def bounded(value: Any) -> Any:
    """A TOML value whose whole numbers of more than 64 bits are floats, infinite ones where these end too."""
    if isinstance(value, dict):
        return {key: bounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [bounded(inner) for inner in value]
    if isinstance(value, int) and abs(value) >= 2**64:
        return float(value) if abs(value) < 2**1023 else math.inf if value > 0 else -math.inf
    return value


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a TOML value is a number (a boolean is not)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
