"""Numbers of equations, and the tests that say they check them.

A formula stands in docs/theory.md as `$$ ... $$ (3.2)`; a test says that it checks it by `eq. (3.2)` in its docstring.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
THEORY = ROOT / "docs" / "theory.md"
NUMBER = re.compile(r"\((\d+\.\d+)\)")
CITED = re.compile(r"\beqs?\.\s+(\(\d+\.\d+\)(?:(?:,\s*|\s+and\s+)\(\d+\.\d+\))*)")


def numbered(text: str) -> list[str]:
    """The numbers of the equations that a page states, in its order: of typeset ones and of lines "    (3.2)  ..."."""
    return re.findall(r"(?m)^\$\$ \((\d+\.\d+)\)$", text) + re.findall(r"(?m)^ {4}\((\d+\.\d+)\) ", text)


def stated() -> dict[str, str]:
    """{number: formula} of those that are typeset."""
    text = THEORY.read_text(encoding="utf-8")
    return {number: formula for formula, number in re.findall(r"(?ms)^\$\$\n(.*?)^\$\$ \((\d+\.\d+)\)$", text)}


@dataclass(frozen=True)
class Check:
    """A test that says of itself that it checks equations. path: below the root; source: its text."""

    path: str
    name: str
    source: str
    equations: tuple[str, ...]


def checks() -> Iterator[Check]:
    """Every test that cites an equation."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if not CITED.search(text):
            continue
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                cited = [n for found in CITED.findall(ast.get_docstring(node) or "") for n in NUMBER.findall(found)]
                if cited:
                    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                    source = "\n".join(lines[first - 1 : node.end_lineno])
                    yield Check(str(path.relative_to(ROOT)), node.name, source, tuple(dict.fromkeys(cited)))


@cache
def by_equation() -> Mapping[str, Sequence[Check]]:
    """{number: tests that check it}, for every equation of the theory."""
    found: dict[str, list[Check]] = {n: [] for n in numbered(THEORY.read_text(encoding="utf-8"))}
    for check in checks():
        for number in check.equations:
            found.setdefault(number, []).append(check)
    return found
