"""Runs broken off halfway with their checkpoints, and files whose digest is right."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from sde import SGD, simulate
from sde.engine import checkpoint, chunk
from sde.engine.checkpoint import Checkpoint
from sde.storage.archive import DIGEST, MAGIC
from sde.storage.files import fingerprint
from sde.storage.row_file import beside
from symbolic.library import LIBRARY

RESCALING = LIBRARY["rescaling"].build()
u, w = RESCALING.theta
KINDS: dict[str, dict[str, Any]] = {
    "statistics": {
        "events": {"low": 0.3 - w},
        "covariance": ["u", "w"],
        "histogram": {"u": np.linspace(0, 2, 11)},
        "paths": 12_000,
    },
    "few": {"paths": 3000},
    "paths": {"keep": "paths", "paths": 3000, "events": {"low": 0.3 - w}, "bound": 1.21},
    "stream": {"keep": "paths", "paths": 3000, "events": {"low": 0.3 - w}, "bound": 1.21},
}


def call(kind: str, **changes: Any) -> xr.Dataset:
    given = {"start": {"u": 1.2, "w": 0.6}, "time": 0.5, "dt": 0.01, "seed": 3, "save_at": 3, "threads": 1}
    return simulate(RESCALING, SGD(0.05), **(given | KINDS[kind] | changes))


class Half:
    """A run's checkpoint with about half of its chunks, and the result of the undisturbed run."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.path = kind, folder / kind
        self.out = {"out": folder / "out.nc"} if kind == "stream" else {}
        self.whole = call(kind, **self.out).load()
        begun, advance = list[int](), chunk.advance

        def stopping(*arguments: Any) -> Any:
            begun.append(0)
            if len(begun) == 7:
                raise RuntimeError("power cut")
            return advance(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chunk, "advance", stopping)
            patch.setattr(Checkpoint, "due", lambda _: True)
            with pytest.raises(RuntimeError, match="power cut"):
                call(kind, checkpoint=self.path, **self.out)
        self.data, rows = self.path.read_bytes(), beside(self.path)
        self.rows = rows.read_bytes() if self.out else None
        self.header, self.state = checkpoint.read(self.path)

    def goes_on(self) -> str | None:
        """What a run says that continues from the file; None where it came to the undisturbed result."""
        said = ""
        if self.rows is not None:
            beside(self.path).write_bytes(self.rows)
        try:
            found = call(self.kind, checkpoint=self.path, **self.out)
        except (OSError, ValueError) as error:
            said = str(error)
        if said:
            assert said.startswith("checkpoint: ") and str(self.path) in said and "\n" not in said
            return said
        assert fingerprint(found) == fingerprint(self.whole), "other numbers"
        return None


@contextmanager
def every_half(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Half]]:
    """One of every kind, in chunks as short as they may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sde.engine.plan.CHUNK_STEPS", 0)
        yield {kind: Half(kind, tmp_path_factory.mktemp("halves")) for kind in KINDS}


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).hexdigest().encode()


def packed(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file whose digest is right, of entries as they are."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, value in entries.items():
            archive.writestr(name, value)
    return sealed(MAGIC + out.getvalue())


def entries_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data[len(MAGIC) : -DIGEST])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
