"""How many paths have left the bound by each save, and which were the first."""

from __future__ import annotations

from typing import Self

import numpy as np

from sde.engine.accumulators.accumulator import Accumulator, ChunkPaths, Extent, State, Variables, by_saves, integers
from sde.engine.plan import Plan
from sde.engine.result_layout import ResultLayout

NAMED = 8
"""How many explosions are kept by path, time and value."""


class Explosions(Accumulator):
    """paths: in all; by_then: (saves,) exploded by then; count: exploded in all; named: (K, 4) path, time, state row,
    value of the first."""

    name = "explosions"

    def __init__(self, saves: np.ndarray) -> None:
        self.saves, self.paths, self.count = saves, 0, 0
        self.by_then, self.named = np.zeros(len(saves), np.int64), np.empty((0, 4))

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        return cls(plan.clock.saves)

    def add(self, chunk: ChunkPaths) -> None:
        dead, left, row, value = chunk.events[:4]
        exploded = np.flatnonzero(dead >= 0)
        self.paths += chunk.count
        if len(exploded):
            self._count(0, len(exploded), by_saves(dead, self.saves))
            first = exploded[np.lexsort((exploded, left[exploded]))][:NAMED]
            self._name(np.stack([chunk.first + first, left[first], row[first], value[first]], axis=1))

    def merge(self, other: Self) -> None:
        self._count(other.paths, other.count, other.by_then)
        if len(other.named):
            self._name(other.named)

    def _count(self, paths: int, count: int, by_then: np.ndarray) -> None:
        self.paths, self.count, self.by_then = self.paths + paths, self.count + count, self.by_then + by_then

    def _name(self, named: np.ndarray) -> None:
        every = np.concatenate([self.named, named])
        self.named = every[np.lexsort((every[:, 0], every[:, 1]))][:NAMED]

    def state(self) -> dict[str, np.ndarray]:
        return {"size": np.array([self.paths, self.count]), "exploded": self.by_then, "named": self.named}

    def restore(self, state: State) -> None:
        self.paths, self.count = map(int, state["size"])
        self.by_then, self.named = np.array(state["exploded"]), np.array(state["named"])

    def check(self, state: State, extent: Extent) -> set[str]:
        names = {"size", "exploded", "named"}
        if not names <= state.keys():
            return names
        extent.form(state, "size", np.int64, (2,))
        paths, count = map(int, state["size"])
        extent.must(paths == extent.paths and 0 <= count <= paths, "size")
        extent.form(state, "exploded", np.int64, self.by_then.shape)
        by_then = state["exploded"]
        extent.must(integers(by_then, 0, count) and not (np.diff(by_then) < 0).any(), "exploded")
        extent.must(int(by_then[-1]) == count, "exploded")
        extent.form(state, "named", np.float64, (min(count, NAMED), 4))
        path, time, row = state["named"].T[:3]
        extent.must(integers(path, 0, extent.plan.paths - 1) and bool(np.isfinite(time).all()), "named")
        extent.must(integers(row, -1, extent.plan.program.states - 1), "named")
        ours = np.isin(path // extent.plan.chunk_size, extent.chunks).all()
        extent.must(bool(ours) and len(np.unique(path)) == len(path), "named")
        return names

    def variables(self, layout: ResultLayout) -> Variables:
        return {"exploded": ("time", self.by_then)}, {}
