"""Long loop bodies in several loops: what a compiler does with one body grows faster than the body."""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_CALLS, MOST_CHARACTERS = 64, 12_000
"""Functions of `math` that are inlined in one loop over lanes, and characters of its lines."""
_NAME = re.compile(r"\b[a-z]+\d\w*\b|\bweight\b")
_WITHIN = re.compile(r"\bc\d+[kw]\d*\b")
"""Of a search in a table, which stays in one loop."""


def cost(line: str) -> float:
    """A line's share of one loop."""
    return line.count("math.") / MOST_CALLS + len(line) / MOST_CHARACTERS


def bodies(
    loads: Sequence[str], lines: Sequence[str], stores: Sequence[str], dtype: str, width: str = "LANES"
) -> tuple[list[str], list[str]]:
    """(lines before, loops over lanes). Values that a later loop takes are kept in rows; loads: "name = text" of what
    may be loaded anywhere, before anything is stored."""
    parts, room = [list[str]()], 1.0
    for line in lines:
        if room < cost(line) and parts[-1] and not _WITHIN.search(_right(line)):
            parts.append([])
            room = 1.0
        room -= cost(line)
        parts[-1].append(line)
    if len(parts) == 1:
        return [], [f"    for i in range({width}):", *loads, *lines, *stores]
    parts[-1] += stores
    origin = {line.split(" = ")[0].strip(): k for k, part in enumerate(parts) for line in part if _defines(line)}
    wanted = [{name for line in part for name in _NAME.findall(_right(line))} for part in parts]
    later = {name for k, used in enumerate(wanted) for name in used if origin.get(name, k) < k}
    rows = [f"    {name}_row = np.empty({width}, dtype=np.{dtype})" for name in sorted(later)]
    out = list[str]()
    for k, part in enumerate(parts):
        kept = sorted(name for name in later if origin[name] == k)
        taken = sorted(name for name in wanted[k] & later if origin[name] < k)
        out += [f"    for i in range({width}):", *(load for load in loads if load.split(" = ")[0].strip() in wanted[k])]
        out += [f"        {name} = {name}_row[i]" for name in taken]
        out += [*part, *(f"        {name}_row[i] = {name}" for name in kept)]
    return rows, out


def _defines(line: str) -> bool:
    return _NAME.fullmatch(line.split(" = ")[0].strip()) is not None


def _right(line: str) -> str:
    return line.partition("= ")[2]
