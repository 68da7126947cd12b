"""What a multilevel estimate has sampled, in a checkpoint folder: moments to the bit, so that its decisions come out
again as they did."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from sde.engine.checkpoint_folder import Folder
from sde.estimators.sample_moments import Moments, Parts

FIELDS = tuple(f.name for f in fields(Moments))

Key = tuple[int, int, int, bool]
"""(level, first path, count, whether there is a coarse run too)."""


def run_name(level: int, at: int, first: int, count: int) -> str:
    """The file of paths first..first + count - 1 of a level at the step of level `at`, while they are run."""
    return f"level-{level}-at-{at}-{first}-{count}"


class Remembered:
    """Samples' moments, kept as they are made: `sde.estimators.sample_moments.Memory`. Once they are, the checkpoints
    of their runs are dropped."""

    def __init__(self, folder: Folder, name: str = "samples") -> None:
        self._folder, self._memory = folder, folder.memory(name)
        kept = self._memory.load() if self._memory else {}
        keys, values = kept.get("keys", np.empty((0, 4), np.int64)), kept.get("moments", np.empty((0, 3, len(FIELDS))))
        self._found = {tuple(map(int, key)): value for key, value in zip(keys, values, strict=True)}
        for key in self._found:
            self._drop(key)

    def recall(self, key: Key) -> Parts | None:
        """The moments kept of a sample."""
        found = self._found.get(tuple(map(int, key)))
        if found is None:
            return None
        fine, coarse, difference = (Moments(int(row[0]), *map(float, row[1:])) for row in found)
        return fine, coarse if key[3] else None, difference

    def keep(self, key: Key, parts: Parts) -> None:
        """Keep a sample's moments."""
        rows = [[getattr(part or Moments(), name) for name in FIELDS] for part in parts]
        self._found[tuple(map(int, key))] = np.array(rows, dtype=np.float64)
        if self._memory:
            moments = np.array(list(self._found.values()))
            if self._memory.save({"keys": np.array(list(self._found), np.int64), "moments": moments}):
                self._drop(key)

    def _drop(self, key: tuple[int, ...]) -> None:
        level, first, count, coarse = key
        self._folder.drop(
            run_name(level, level, first, count), *[run_name(level, level - 1, first, count)] * bool(coarse)
        )
