"""No output is an input, nor another output: files are told apart as the file system does, not by the text of their
paths."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from sde.storage.files import located
from symbolic.errors import InputError


def check_apart(outputs: Iterable[str | Path | None], inputs: Iterable[str | Path] = ()) -> None:
    """Raise ValueError for an output that is the same file as an input or as another output: by whatever path, through
    links, as a second name of one file, or where names differ in case alone. outputs: None and "-" (standard output)
    are left out.
    """
    read, seen = [_Location(path) for path in inputs], list[_Location]()
    for target in outputs:
        if target is None or str(target) == "-":
            continue
        location = _Location(target)
        for other in read:
            if location.is_like(other) and not location.endless:
                raise InputError(
                    "output: each must be a file of its own, not the spec, its data or what it is resumed from; got"
                    f" {target}, which is the input {other.given}. Choose another name."
                )
        for other in seen:
            if location.is_like(other):
                raise InputError(
                    f"output: each must be a file of its own, not the spec; got {target} twice (once as {other.given})."
                    " Choose another name."
                )
        seen.append(location)


class _Location:
    """Where a path leads. endless: to a pipe, a terminal or a device, which nothing is overwritten in. A folder is like
    all that lies in it."""

    def __init__(self, given: str | Path) -> None:
        self.given = given
        self.path = located(given)
        self.status, self.folder = _status(self.path), _status(self.path.parent)
        self.name = unicodedata.normalize("NFC", self.path.name).casefold()

    @property
    def endless(self) -> bool:
        return (
            self.status is not None and not stat.S_ISREG(self.status.st_mode) and not stat.S_ISDIR(self.status.st_mode)
        )

    def is_like(self, other: _Location) -> bool:
        if self.path == other.path or self.path in other.path.parents or other.path in self.path.parents:
            return True
        if self.status is not None and other.status is not None and os.path.samestat(self.status, other.status):
            return True
        if self.folder is None or other.folder is None:
            together = str(self.path.parent).casefold() == str(other.path.parent).casefold()
        else:
            together = os.path.samestat(self.folder, other.folder)
        return together and self.name == other.name


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None
