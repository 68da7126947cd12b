"""What readers of every kind of spec share: sections, names, shapes and expressions, all problems collected."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sde.spec.error_list import ErrorList
from symbolic.errors import InputError
from symbolic.language import names
from symbolic.language.parser import ExpressionError, parse
from symbolic.language.vocabulary import CONSTANTS, FUNCTIONS, MAX_ENTRIES
from symbolic.problem.parameter import MOST_AXES


class SpecError(InputError):
    """All that is wrong with a spec: `problems`, one line each."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = tuple(names.printable(problem, 1_000) for problem in errors)
        super().__init__("\n".join(self.errors))


class Reader:
    """Reads one TOML document section by section, collecting problems instead of stopping at the first."""

    kinds = ""
    """What names stand for."""
    declaring = ""
    """Where names are declared."""

    def __init__(self, raw: dict[str, Any], path: Path, tables: Mapping[str, Sequence[str]]) -> None:
        self.raw, self.path, self.errors = raw, path, ErrorList(tables)
        self.names: dict[str, np.ndarray] = {}

    def name(self) -> str:
        """What the problem is called."""
        name = self.raw.get("name", names.printable(self.path.stem, names.LONGEST))
        try:
            names.check("name", name)
        except ValueError as error:
            self.errors.found.append(str(error))
        return name

    def section(self, name: str, *, needed: bool = False) -> dict[str, Any]:
        value = self.raw.get(name, None)
        if value is None and not needed:
            return {}
        if not isinstance(value, dict) or (needed and not value):
            self.errors.add(
                name,
                "the section is needed" if needed else "must be a section",
                value,
                f"Write [{name}] and its entries.",
            )
            return {}
        return value

    def declare(self, name: str, where: str, value: np.ndarray | None) -> bool:
        """Enter a name into the table of names (None: its value is unknown); False if it has none or cannot be one,
        with a problem."""
        rule, do = None, "Rename it."
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or not name.isascii():
            rule, do = (
                "a name must be letters, digits and underscores, starting with a letter, and no Python keyword",
                "Rename it.",
            )
        elif name in FUNCTIONS or name in CONSTANTS or name == "t":
            rule, do = f"the name {name!r} is taken by the expression language", "Rename it."
        elif name in self.names or name in self.errors.failed:
            rule, do = (
                f"a name may stand for one thing only, among {self.kinds}",
                "Rename one of them.",
            )
        if rule:
            self.errors.add(where, rule, name, do)
            return False
        if value is None:
            self.errors.failed.add(name)
            return False
        self.names[name] = value
        return True

    def shape(self, where: str, value: Any) -> tuple[int, ...] | None:
        if (
            isinstance(value, list)
            and all(type(n) is int and n >= 1 for n in value)
            and len(value) <= MOST_AXES
            and math.prod(value) <= MAX_ENTRIES
        ):
            return tuple(value)
        self.errors.add(
            where,
            f"must be a shape, at most {MOST_AXES} whole numbers with a product of at most {MAX_ENTRIES}",
            value,
            self.shape_advice(value),
        )
        return None

    def shape_advice(self, value: Any) -> str:
        return "Write [] or [4] or [3, 2]."

    def read_where(self, section: str, table: Any) -> dict[str, Any]:
        """Declare named expressions, top down; the table."""
        if not isinstance(table, dict):
            self.errors.add(
                f"{section}.where", "must be a table of named expressions", table, 'Write where = { h = "W@x" }.'
            )
            return {}
        for name, text in table.items():
            value = self.expression(f"{section}.where.{name}", text)
            self.declare(name, f"{section}.where.{name}", value)
        return table

    def expression(self, where: str, text: Any, more: Mapping[str, Any] | None = None) -> np.ndarray | None:
        """more: names of this place only."""
        try:
            return parse(text, {**self.names, **(more or {})}, where)
        except ExpressionError as error:
            self.errors.expression(error, self.declaring)
            return None
