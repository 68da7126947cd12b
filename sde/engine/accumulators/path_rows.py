"""All saves of every path, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from sde.engine.accumulators.accumulator import (
    Accumulator,
    ChunkPaths,
    Extent,
    PathEvents,
    State,
    by_saves,
    integers,
    must,
)
from sde.engine.plan import Plan


class PathRows(Accumulator):
    """rows: (saves, O, paths), NaN where dead; events: how each path ended; ran: (paths,) which are there."""

    name = "path"

    def __init__(self, plan: Plan, paths: int) -> None:
        self.saves = plan.clock.saves
        self.rows = np.full((len(self.saves), plan.rows, paths), np.nan, dtype=plan.program.dtype)
        self.events, self.ran = PathEvents.none(paths, plan.events), np.zeros(paths, dtype=bool)

    @classmethod
    def empty(cls, plan: Plan, paths: int | None = None) -> Self:
        """paths: room for so many, the plan's own when left out."""
        return cls(plan, plan.paths if paths is None else paths)

    def add(self, chunk: ChunkPaths) -> None:
        some = slice(chunk.first, chunk.first + chunk.count)
        self.rows[:, :, some] = chunk.rows[:, :, : chunk.count]
        for every, own in zip(self.events, chunk.events, strict=True):
            every[..., some] = own
        self.ran[some] = True

    def merge(self, other: Self) -> None:
        self._take(other.rows[:, :, other.ran], [e[..., other.ran] for e in other.events], other.ran)

    def _take(self, rows: np.ndarray, events: list[np.ndarray], ran: np.ndarray) -> None:
        self.rows[:, :, ran] = rows
        for every, own in zip(self.events, events, strict=True):
            every[..., ran] = own
        self.ran |= ran

    def state(self) -> dict[str, np.ndarray]:
        out = {name: value[..., self.ran] for name, value in zip(PathEvents._fields, self.events, strict=True)}
        return out | {"kept": self.rows[:, :, self.ran], "ran": np.packbits(self.ran)}

    def restore(self, state: State) -> None:
        ran = np.unpackbits(state["ran"], count=len(self.ran)).astype(bool)
        self._take(state["kept"], [state[name] for name in PathEvents._fields], ran)

    def check(self, state: State, extent: Extent) -> set[str]:
        names = {*PathEvents._fields, "kept", "ran"}
        if not names <= state.keys():
            return names
        done = np.zeros(extent.plan.chunks, dtype=bool)
        done[extent.chunks] = True
        packed = np.packbits(extent.plan.mask(done))
        extent.form(state, "ran", np.uint8, packed.shape)
        extent.must(np.array_equal(state["ran"], packed), "ran")
        extent.form(state, "kept", self.rows.dtype, (*self.rows.shape[:2], extent.paths))
        for name, array in zip(PathEvents._fields, self.events, strict=True):
            extent.form(state, name, array.dtype, (*array.shape[:-1], extent.paths))
        for when, date in (("dead", "left"), ("hit", "time")):
            number, time = state[when], state[date]
            extent.must(integers(number, -1, extent.plan.clock.steps), when)
            extent.must(np.array_equal(np.isnan(time), number < 0) and not np.isinf(time).any(), date)
        extent.must(integers(state["row"], -1, extent.plan.program.states - 1), "row")
        return names

    def agree(self, state: State, statistics: Sequence[State]) -> None:
        met = sum(np.concatenate([s["explosions.exploded"][None], s["event_times.hits"]]) for s in statistics)
        numbers = np.concatenate([state["dead"][None], state["hit"]])
        must(np.array_equal(met, [by_saves(row, self.saves) for row in numbers]), "path.dead")
        exploded = sum(int(s["explosions.size"][1]) for s in statistics)
        must(int((state["dead"] >= 0).sum()) == exploded, "path.dead")
