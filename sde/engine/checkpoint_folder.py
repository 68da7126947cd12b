"""A checkpoint of many runs: a folder with a manifest that says of what, an ordinary checkpoint of each run, and what
was computed between them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sde.engine.checkpoint import Checkpoint, CheckpointTarget
from sde.engine.ensemble import CheckpointWarning
from sde.storage.archive import MANIFEST
from sde.storage.files import check_writable, write_text
from symbolic.errors import InputError, warn

FORMAT = "noetherflow checkpoint folder 1"
MOST_BYTES = 64 * 2**20
"""Longest manifest that is read."""


class Memory:
    """Numbers kept in a folder's file, between runs: like a run's own checkpoint it is refused unless it is this one's,
    and a failure to write warns once."""

    def __init__(self, folder: Folder, checkpoint: Checkpoint) -> None:
        self._folder, self._checkpoint = folder, checkpoint

    def load(self) -> dict[str, np.ndarray]:
        """What was kept, empty at first. Raises OSError for a file that is not whole, ValueError for another run's."""
        return self._checkpoint.load() or {}

    def save(self, state: Mapping[str, np.ndarray]) -> bool:
        """Keep it; whether that could be done."""
        try:
            self._checkpoint.save(state)
        except OSError as error:
            self._folder.warn(error)
            return False
        return True


class Folder:
    """The folder `place` of a `kind` of run, "verify" say. identity: of all that decides the result; header: what else
    to tell of it. Made where it is not there. Raises OSError for what cannot be one, ValueError for another run's."""

    def __init__(
        self, target: str | Path | CheckpointTarget, kind: str, identity: str, header: Mapping[str, Any]
    ) -> None:
        target = target if isinstance(target, CheckpointTarget) else CheckpointTarget(Path(target))
        self.path, self.header, self.identity, self._warned = target.path, dict(header), identity, False
        if not self.path.exists() or (self.path.is_dir() and _blank(self.path)):
            try:
                self.path.mkdir(exist_ok=True)
                record = {"format": FORMAT, **self.header, "kind": kind, "identity": identity, "call": target.call}
                write_text(self.path / MANIFEST, json.dumps(record | {"digest": _digest(record)}, indent=1) + "\n")
            except OSError as error:
                raise OSError(
                    f"checkpoint: the folder must be writable; got {self.path} ({error.strerror or error}). Choose"
                    " another path."
                ) from error
            return
        found = manifest(self.path)
        if (found.get("kind"), found.get("identity")) != (kind, identity):
            raise InputError(
                f"checkpoint: must be of the same run, argument by argument; got {self.path}, of another"
                f" {found.get('kind')} of {found.get('name')} with seed {found.get('seed')}. Name another folder, or"
                " delete this one to begin anew."
            )

    def target(self, name: str) -> CheckpointTarget | None:
        """Where a run of it is saved; None, with a warning at first, where nothing can be written."""
        try:
            check_writable(self.path / name, "checkpoint")
        except OSError as error:
            self.warn(error)
            return None
        return CheckpointTarget(self.path / name)

    def checkpoint(self, name: str, *decides: np.ndarray) -> Checkpoint | None:
        """The file `name`, for numbers that the folder's identity and these arrays decide; None where nothing can be
        written."""
        target, mark = self.target(name), hashlib.sha256(f"{self.identity} {name}".encode())
        for array in decides:
            mark.update(np.ascontiguousarray(array).tobytes())
        return None if target is None else Checkpoint(target, mark.hexdigest(), self.header)

    def memory(self, name: str, *decides: np.ndarray) -> Memory | None:
        """The same, for what is computed between runs."""
        found = self.checkpoint(name, *decides)
        return None if found is None else Memory(self, found)

    def drop(self, *names: str) -> None:
        """Remove what is no longer needed."""
        for name in names:
            try:
                (self.path / name).unlink(missing_ok=True)
            except OSError as error:
                self.warn(error)

    def warn(self, error: OSError) -> None:
        """Say once that the folder cannot be written; the work goes on."""
        if not self._warned:
            warn(f"{error} Meanwhile the run goes on.", CheckpointWarning)
        self._warned = True


def folder(
    target: str | Path | CheckpointTarget | None, kind: str, identity: str, described: Mapping[str, Any]
) -> Folder | None:
    """The folder of a composite run that `told` tells of, None without a place."""
    if target is None:
        return None
    of, settings = described["problem"], described["settings"]
    header = {"name": of.get("loss") or of.get("sde"), "kind": kind, "seed": str(settings["seed"])}
    return Folder(target, kind, identity, header | {"paths": settings.get("paths", 0), "run": dict(described)})


def _blank(path: Path) -> bool:
    """Whether there is nothing in it but a manifest that a killed process had begun to write."""
    return all(p.name.startswith(f".{MANIFEST}.") for p in path.iterdir())


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def manifest(path: str | Path) -> dict[str, Any]:
    """What a folder is the checkpoint of. Raises OSError for what is none, or not as it was written."""
    path = Path(path)

    def refuse(kind: str) -> OSError:
        return OSError(
            f"checkpoint: of many runs it is a folder that this made, as it was written; got {path} ({kind}). Name an"
            " empty folder or a new one."
        )

    if not path.is_dir():
        raise refuse("a file" if path.exists() else "nothing there")
    try:
        with (path / MANIFEST).open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        found = json.loads(data.decode("utf-8"))
    except OSError:
        raise refuse(f"a folder without {MANIFEST}") from None
    except (ValueError, RecursionError):
        raise refuse(f"{MANIFEST} altered") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.pop("digest", None) != _digest(found):
        raise refuse(f"{MANIFEST} altered")
    return found
