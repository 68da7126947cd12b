"""Checkpoints: the complete chunks of a run in one file, written whole, that is refused unless it is exactly what was written.

A line that names the format, then a NumPy archive of arrays (never of objects) with a JSON header among them, then the SHA-256 of all
before it. Nothing read from the file is ever run as a program.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import IO, Any

import numpy as np
from llvmlite import binding

from sde.files import check_writable, write_whole
from sde.kernels.options import source_hash

MAGIC = b"noetherflow checkpoint 1\n"
DIGEST = 64
HEADER = "header"
EVERY = 5.0
"""Seconds between checkpoints, or twenty times what writing one took."""


def engine() -> dict[str, str]:
    """What the bits of a path depend on besides the problem: our kernels, the compiler, the processor."""
    features = ",".join(sorted(k for k, v in dict(binding.get_host_cpu_features()).items() if v))
    mark = hashlib.sha256(f"{binding.get_host_cpu_name()} {features}".encode()).hexdigest()[:12]
    return {
        "kernels": source_hash()[:12],
        "numpy": version("numpy"),
        "numba": version("numba"),
        "llvmlite": version("llvmlite"),
        "processor": f"{platform.machine()} {binding.get_host_cpu_name()} {mark}",
    }


@dataclass(frozen=True)
class Place:
    """A checkpoint's path, with what else to say in its header: `call`, how `resume` makes the same run again."""

    path: Path
    call: Mapping[str, Any] | None = None
    every: float = EVERY


class Checkpoint:
    """Where one run is continued from and saved to. identity: of all that decides the run's result; header: what else to tell of it."""

    def __init__(self, place: str | Path | Place, identity: str, header: Mapping[str, Any]) -> None:
        place = place if isinstance(place, Place) else Place(Path(place))
        self.path, self.every = place.path, place.every
        self.header = {**header, "call": place.call, "identity": identity, "engine": engine()}
        self._next = monotonic()  # the first chunks are saved at once
        check_writable(self.path, "checkpoint")

    def load(self) -> dict[str, np.ndarray] | None:
        """The state saved there, None where there is no file. Raises OSError for a file that is not whole, ValueError for another run's."""
        if not self.path.exists():
            return None
        header, state = read(self.path)
        if header["identity"] != self.header["identity"]:
            raise ValueError(
                f"checkpoint: must be of the same run, argument by argument; got {self.path}, of {header['name']} with seed {header['seed']} and "
                f"{header['paths']} paths (another run). Name another file, or delete this one to begin anew."
            )
        for what, theirs in header["engine"].items():
            if theirs != self.header["engine"][what]:
                raise ValueError(
                    f"checkpoint: must be continued by what began it, or bits would differ; got {self.path}, of {what} {theirs} where this is "
                    f"{self.header['engine'][what]}. Continue there, or delete it to begin anew."
                )
        return state

    def due(self) -> bool:
        """Whether it is time to save."""
        return monotonic() >= self._next

    def save(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the file by this state, whole or not at all. Raises OSError naming the file."""
        began = monotonic()
        try:
            write(self.path, self.header, state)
        finally:
            self._next = monotonic() + max(self.every, 20 * (monotonic() - began))


class _Hashing:
    """A stream that can only be written to, and adds up what went through."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.digest = stream, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.stream.write(data)
        return len(data)

    def flush(self) -> None:
        self.stream.flush()


def write(path: Path, header: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
    """Write a checkpoint whole."""

    def fill(scratch: Path) -> None:
        with scratch.open("wb") as stream:
            out = _Hashing(stream)
            out.write(MAGIC)
            with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[arg-type]
                text = np.frombuffer(json.dumps(dict(header)).encode(), dtype=np.uint8)
                for name, array in {HEADER: text, **state}.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, np.asarray(array, order="C"), allow_pickle=False)
            stream.write(out.digest.hexdigest().encode())

    write_whole(path, fill, "checkpoint")


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and state. Raises OSError, naming the file, unless it is byte by byte what was written."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OSError(
            f"checkpoint: the file must be readable; got {path} ({error.strerror or error}). Check the path."
        ) from error
    body, digest = data[:-DIGEST], data[-DIGEST:]
    if not data.startswith(MAGIC) or hashlib.sha256(body).hexdigest().encode() != digest:
        kind = "truncated or altered" if data.startswith(MAGIC) else "not a checkpoint"
        raise OSError(
            f"checkpoint: the file must be as it was written; got {path} ({kind}). Restore a copy, or delete it to begin anew."
        )
    with np.load(io.BytesIO(body[len(MAGIC) :]), allow_pickle=False) as archive:
        state = {name: archive[name] for name in archive.files}
    return json.loads(state.pop(HEADER).tobytes().decode()), state
