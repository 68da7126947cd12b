"""Checkpoints: the complete chunks of a run in one file, refused unless it is of the same run, by the same engine, and
consistent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from sde.engine.engine_identity import engine
from sde.storage import archive
from sde.storage.archive import HEADER, MAGIC, Malformed, write
from sde.storage.files import check_writable
from sde.storage.row_file import RowFile, beside
from symbolic.errors import InputError

__all__ = ["EVERY", "HEADER", "MAGIC", "Checkpoint", "CheckpointTarget", "Malformed", "engine", "read", "write"]

EVERY = 5.0
"""Seconds between checkpoints, or twenty times what writing one took."""
TYPES: Mapping[str, Any] = {
    "identity": str,
    "name": str,
    "kind": str,
    "seed": str,
    "paths": int,
    "versions": str,
    "call": (dict, type(None)),
    "engine": dict,
}
"""Of what a header says; other keys may be there."""
NEEDED = ("identity", "engine")


@dataclass(frozen=True)
class CheckpointTarget:
    """A checkpoint's path, with what else to say in its header: `call`, how `resume` makes the same run again."""

    path: Path
    call: Mapping[str, Any] | None = None
    every: float = EVERY


def read(path: str | Path, arrays: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and state (arrays False: the header alone). Raises OSError, naming the file, unless it is what was
    written."""
    header, state = archive.read(path, arrays)
    wrong = [k for k in NEEDED if k not in header]
    wrong += [k for k, kind in TYPES.items() if k in header and not _is(header[k], kind)]
    if not wrong and not all(isinstance(v, str) for v in header["engine"].values()):
        wrong = ["engine"]
    if wrong:
        raise archive.broken(Path(path), f"its header's {wrong[0]} is not there or of another type")
    return header, state


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


class Checkpoint:
    """Where one run is continued from and saved to. identity: of all that decides the run's result; header: what else
    to tell of it. Raises OSError for a path that cannot be written, or where something lies that is no checkpoint."""

    def __init__(self, target: str | Path | CheckpointTarget, identity: str, header: Mapping[str, Any]) -> None:
        target = target if isinstance(target, CheckpointTarget) else CheckpointTarget(Path(target))
        self.path, self.every = target.path, target.every
        self.header = {**header, "call": target.call, "identity": identity, "engine": engine()}
        self._next = monotonic()  # the first chunks are saved at once
        self._rows: RowFile | None = None
        check_writable(self.path, "checkpoint")
        archive.check_kind(self.path)

    def row_file(self, length: int) -> RowFile:
        """Where the rows of a streamed run lie, in records of at most `length` bytes; what is saved here is then worth
        nothing without it. Raises OSError."""
        self._rows = RowFile(beside(self.path), str(self.header["identity"]), length)
        return self._rows

    def load(self, check: Callable[[Mapping[str, np.ndarray]], None] | None = None) -> dict[str, np.ndarray] | None:
        """The state saved there, None where there is no file, or none of its rows. check: raises `Malformed` for a
        state that this run cannot have had. Raises OSError for a file that is not whole or not consistent, ValueError
        for another run's."""
        if not self.path.exists():
            return None
        header, state = read(self.path)
        if header["identity"] != self.header["identity"]:
            described = [header.get(key, "unknown") for key in ("name", "seed", "paths")]
            raise InputError(
                f"checkpoint: must be of the same run, argument by argument; got {self.path}, of {described[0]} with"
                f" seed {described[1]} and {described[2]} paths (another run). Name another file, or delete this one to"
                " begin anew."
            )
        theirs, ours = header["engine"], self.header["engine"]
        for what in [*ours, *(k for k in theirs if k not in ours)]:
            if theirs.get(what) != ours.get(what):
                raise InputError(
                    f"checkpoint: must be continued by what began it, or bits would differ; got {self.path}, of {what}"
                    f" {theirs.get(what, 'unknown')} where this is {ours.get(what, 'unknown')}. Continue there, or"
                    " delete it to begin anew."
                )
        if self._rows is not None and not self._rows.exists():
            return None
        if check is not None:
            try:
                check(state)
            except Malformed as error:
                raise archive.broken(self.path, str(error)) from error
        return state

    def due(self) -> bool:
        """Whether it is time to save."""
        return monotonic() >= self._next

    def save(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the file by this state, whole or not at all. Raises OSError naming the file."""
        began = monotonic()
        try:
            if self._rows is not None:
                self._rows.sync()
            write(self.path, self.header, state)
        finally:
            self._next = monotonic() + max(self.every, 20 * (monotonic() - began))
