"""Docstrings are plain text: what reStructuredText would take for markup is escaped, `name` of a public name leads to
its page."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

from docs.extensions import api

SPAN = re.compile(r"``?([^`]+)``?")
MARKS = re.compile(r"[\\*|]|_(?!\w)")
RULE = re.compile(r"-{3,}")


def marked(text: str, homes: dict[str, str]) -> str:
    """A line of a docstring as reStructuredText. homes: {public name: full name}."""
    parts = SPAN.split(text)
    parts[::2] = [MARKS.sub(r"\\\g<0>", part) for part in parts[::2]]
    parts[1::2] = [_span(part, homes) for part in parts[1::2]]
    for i in range(1, len(parts), 2):
        before, after = parts[i - 1], parts[i + 1]
        parts[i] = ("\\ " if before[-1:].isalnum() else "") + parts[i] + ("\\ " if after[:1].isalnum() else "")
    return "".join(parts)


def _span(name: str, homes: dict[str, str]) -> str:
    bare = name.removesuffix("()")
    full = homes.get(bare.rpartition(".")[2]) if bare.rpartition(".")[0] in ("", "sde", "symbolic") else None
    return f":py:obj:`{bare} <{full}>`" if full else f"``{name}``"


def plain(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Mark up a docstring in place; examples, headings and underlines stay."""
    homes = {n: f"{package.__name__}.{n}" for n, (package, _) in api.public().items()}
    for i, line in enumerate(lines):
        heading = i + 1 < len(lines) and RULE.fullmatch(lines[i + 1].strip())
        example = line.lstrip().startswith((">>>", "...")) or (lines[i - 1 : i] and _shown(lines, i))
        if line.strip() and not (heading or example or RULE.fullmatch(line.strip())):
            lines[i] = marked(line, homes)


def _shown(lines: list[str], i: int) -> bool:
    """Whether a line is what an example prints."""
    while i > 0 and lines[i].strip():
        i -= 1
        if lines[i].lstrip().startswith(">>>"):
            return True
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.connect("autodoc-process-docstring", plain, priority=100)  # before numpydoc takes them apart
    return {"parallel_read_safe": True, "version": "1"}
