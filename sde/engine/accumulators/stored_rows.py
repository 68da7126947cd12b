"""All saves of every path, in a file beside the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from sde.engine.accumulators.accumulator import ChunkPaths, Extent, Gathered, State, must
from sde.engine.plan import Plan
from sde.storage.archive import broken
from sde.storage.row_file import RowFile


class StoredRows(Gathered):
    """digests: (chunks, 32) SHA-256 of each chunk's record, 0 for none."""

    name = "rows"
    outlet = None

    def __init__(self, plan: Plan, file: RowFile) -> None:
        self.plan, self.file = plan, file
        self.digests = np.zeros((plan.chunks, 32), np.uint8)
        self._ended = np.zeros(1 + plan.events, np.int64)

    @staticmethod
    def length(plan: Plan) -> int:
        """Bytes of a chunk's record."""
        return plan.chunk_size * (plan.width + 8 * (2 + plan.events))

    def add(self, chunk: ChunkPaths) -> None:
        digest = self.file.write(chunk.index, chunk.columns)
        self.digests[chunk.index] = np.frombuffer(digest, np.uint8)

    def merge(self, other: Self) -> None:
        self.digests = self.digests | other.digests

    def state(self) -> dict[str, np.ndarray]:
        return {"digests": self.digests}

    def restore(self, state: State) -> None:
        self.digests = np.array(state["digests"])

    def check(self, state: State, extent: Extent) -> set[str]:
        if "digests" in state:
            extent.form(state, "digests", np.uint8, self.digests.shape)
            extent.must(np.array_equal(np.flatnonzero(state["digests"].any(axis=1)), extent.chunks), "digests")
            self.file.open()
            self._ended[:] = 0
            for index in extent.chunks.tolist():
                rows, left, value, time = self._arrays(index)
                if self.file.read(index, (rows, left, value, time)) != state["digests"][index].tobytes():
                    raise broken(self.file.path, f"the rows of chunk {index} altered")
                self._ended += [np.isfinite(left).sum(), *np.isfinite(time).sum(axis=1)]
        return {"digests"}

    def agree(self, state: State, statistics: Sequence[State]) -> None:
        met = [sum(int(s["explosions.size"][1]) for s in statistics)]
        met += np.sum([s["event_times.hits"][:, -1] for s in statistics], axis=0).tolist()
        must(met == self._ended.tolist(), f"{self.name}.digests")

    def chunks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Of every chunk that is there, in order: its first path, rows (saves, O, n), times and values of explosions
        (n,), times of events (E, n)."""
        for index in np.flatnonzero(self.digests.any(axis=1)).tolist():
            arrays = self._arrays(index)
            self.file.read(index, arrays)
            yield index * self.plan.chunk_size, *arrays

    def _arrays(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        plan, count = self.plan, self.plan.count(index)
        rows = np.zeros((len(plan.clock.saves), plan.rows, count), dtype=plan.program.dtype)
        return rows, np.zeros(count), np.zeros(count), np.zeros((plan.events, count))
