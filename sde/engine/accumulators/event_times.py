"""How many paths have had each event by each save, and the moments of its time."""

from __future__ import annotations

from typing import Self

import numpy as np

from sde.engine.accumulators.accumulator import Accumulator, ChunkPaths, Extent, State, Variables, by_saves, integers
from sde.engine.accumulators.moments import check_cells
from sde.engine.plan import Plan
from sde.engine.result_layout import ResultLayout
from sde.kernels.statistics import moments
from sde.kernels.statistics.moments import COUNT


class EventTimes(Accumulator):
    """cells: (1, E, 5) moments of the times of the paths that had it; hits: (E, saves) paths that had by then."""

    name = "event_times"

    def __init__(self, events: int, saves: np.ndarray, stopping: bool = False) -> None:
        self.stopping = stopping
        self.saves, self.cells = saves, moments.empty(1, events)
        self.hits = np.zeros((events, len(saves)), np.int64)

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        return cls(plan.events, plan.clock.saves, plan.hybrid is not None and plan.hybrid.stops)

    @property
    def stops(self) -> np.ndarray | None:
        """(saves,) paths that have stopped by then, the last of the dates; None where none may."""
        return self.hits[-1] if self.stopping else None

    def add(self, chunk: ChunkPaths) -> None:
        if not len(self.hits):
            return
        cells, hits = moments.empty(1, len(self.hits)), np.zeros_like(self.hits)
        for e, (hit, time) in enumerate(zip(chunk.events.hit, chunk.events.time, strict=True)):
            hits[e] = by_saves(hit, self.saves)
            times = time[hit >= 0]
            if len(times):
                mean = times.mean()
                cells[0, e] = (len(times), mean, np.square(times - mean).sum(), times.min(), times.max())
        moments.merge(self.cells, cells)
        self.hits = self.hits + hits

    def merge(self, other: Self) -> None:
        if not len(self.hits):
            return
        moments.merge(self.cells, other.cells)
        self.hits = self.hits + other.hits

    def state(self) -> dict[str, np.ndarray]:
        return {"event_moments": self.cells, "hits": self.hits}

    def restore(self, state: State) -> None:
        self.cells, self.hits = np.array(state["event_moments"]), np.array(state["hits"])

    def check(self, state: State, extent: Extent) -> set[str]:
        names = {"event_moments", "hits"}
        if not names <= state.keys():
            return names
        extent.form(state, "event_moments", np.float64, self.cells.shape)
        extent.form(state, "hits", np.int64, self.hits.shape)
        cells, hits = state["event_moments"], state["hits"]
        check_cells(state, "event_moments", extent)
        extent.must(bool(np.isfinite(cells[cells[..., COUNT] > 0]).all()), "event_moments")
        extent.must(integers(hits, 0, extent.paths) and not (np.diff(hits, axis=-1) < 0).any(), "hits")
        extent.must(np.array_equal(hits[:, -1], cells[0, :, COUNT]), "hits")
        return names

    def variables(self, layout: ResultLayout) -> Variables:
        return {f"{name}_count": ("time", self.hits[e]) for e, name in enumerate(layout.events)}, {}
