"""All results, found in their folders: a new one is a file there with a `RESULT`, whose name has the file's."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from sde.results.result import Result
from symbolic.errors import InputError, nearest

FOLDERS = {"paper": "The paper", "since": "What came after"}
"""Sections of the gallery."""


@cache
def results() -> dict[str, Result]:
    """By name, in the order of the gallery: section by section, each by position."""
    found: dict[str, Result] = {}
    for folder in FOLDERS:
        names = sorted(m.name for m in iter_modules([str(Path(__file__).parent / folder)]))
        modules = [import_module(f"sde.results.{folder}.{name}") for name in names]
        of_folder: list[Result] = sorted((m.RESULT for m in modules), key=lambda r: r.position)
        found |= {r.name: r for r in of_folder}
    return found


def named(names: tuple[str, ...]) -> list[Result]:
    """These, in the order of the gallery; all where none is named. Raises InputError for an unknown one."""
    known = results()
    for name in names:
        if name not in known:
            raise InputError.of("reproduce.names", "must name results", name, nearest(name, list(known)))
    return [r for r in known.values() if not names or r.name in names]
