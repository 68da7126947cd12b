"""Count, mean, sum of squared deviations and extremes of every saved observable."""

from __future__ import annotations

from typing import Self

import numpy as np

from sde.engine.accumulators.accumulator import Accumulator, ChunkPaths, Extent, State, integers
from sde.engine.plan import Plan
from sde.kernels.statistics import moments
from sde.kernels.statistics.moments import COUNT, HIGH, LOW, M2, MEAN


class Moments(Accumulator):
    """cells: (saves, O, 5), see `sde.kernels.statistics.moments`."""

    name = "moments"

    def __init__(self, cells: np.ndarray) -> None:
        self.cells = cells

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        return cls(moments.empty(len(plan.clock.saves), plan.rows))

    def add(self, chunk: ChunkPaths) -> None:
        moments.merge(self.cells, chunk.moments)

    def merge(self, other: Self) -> None:
        moments.merge(self.cells, other.cells)

    def state(self) -> dict[str, np.ndarray]:
        return {"moments": self.cells}

    def restore(self, state: State) -> None:
        self.cells = np.array(state["moments"])

    def check(self, state: State, extent: Extent) -> set[str]:
        if "moments" in state:
            extent.form(state, "moments", np.float64, self.cells.shape)
            check_cells(state, "moments", extent)
        return {"moments"}


def check_cells(state: State, name: str, extent: Extent) -> None:
    """Raise Malformed unless cells (..., 5) are the moments of at most so many paths."""
    cells = state[name]
    count = cells[..., COUNT]
    # A living path's observable may be no number, and then spoils its cell.
    some = (count > 0) & ~np.isnan(cells[..., MEAN])
    extent.must(integers(count, 0, extent.paths), name)
    extent.must(not (some & ((cells[..., M2] < 0) | (cells[..., LOW] > cells[..., HIGH]))).any(), name)
