"""Quantiles of saved observables, and of event times: values of few paths, counts in bins of many. The bins follow from
the values of chunks spread over the ensemble, as starts may be in order; no order of chunks changes a count."""

from __future__ import annotations

from typing import Self

import numpy as np

from sde.engine.accumulators.accumulator import Accumulator, ChunkPaths, Extent, State, integers
from sde.engine.plan import EXACT_BYTES, EXACT_PATHS, Plan
from sde.engine.quantiles import TABLE_BYTES, Sketch, bits_for
from sde.kernels.statistics import quantile_bins


def table_bytes(cells: int) -> int:
    """Of a table of counts."""
    return cells * (2 * quantile_bins.OCTAVES << bits_for(cells)) * quantile_bins.BYTES + 1


def pilots(plan: Plan) -> frozenset[int]:
    """The chunks whose values fix the bins; none where all values are held: they are few, or less than their counts."""
    most = max(EXACT_BYTES, table_bytes(len(plan.clock.saves) * plan.rows))
    n, small = plan.chunks, plan.paths <= EXACT_PATHS and plan.paths * plan.width <= most
    return frozenset() if small else frozenset({0, n // 4, n // 2, 3 * n // 4})


class Quantiles(Accumulator):
    """Of saved observables: cells of the sketch in order (save, observable)."""

    name = "quantiles"

    def __init__(self, sketch: Sketch) -> None:
        self.sketch = sketch

    @classmethod
    def empty(cls, plan: Plan, workers: int = 1) -> Self:
        """workers: how many threads may count at once."""
        cells = len(plan.clock.saves) * plan.rows
        tables = max(1, min(workers, 4 * TABLE_BYTES // table_bytes(cells)))
        return cls(Sketch(cells, plan.program.dtype, pilots(plan), tables))

    def values(self, chunk: ChunkPaths) -> np.ndarray:
        """(cells, >= count) of a chunk."""
        return chunk.rows.reshape(-1, chunk.rows.shape[2])

    def add(self, chunk: ChunkPaths) -> None:
        self.sketch.add(chunk.index, self.values(chunk), chunk.count)

    def merge(self, other: Self) -> None:
        self.sketch.merge(other.sketch)

    def state(self) -> dict[str, np.ndarray]:
        return self.sketch.state()

    def restore(self, state: State) -> None:
        self.sketch.restore(state)

    def check(self, state: State, extent: Extent) -> set[str]:
        one, done, sizes = self.sketch, extent.chunks.tolist(), extent.sizes
        if not one.pilots or not one.pilots <= set(done):
            held = {f"held{i}": (one.cells, int(n)) for i, n in zip(done, sizes, strict=True)}
            for name, shape in held.items():
                if name in state:
                    extent.form(state, name, one.dtype, shape)
            return set(held)
        names = {"centre", "scale", "table"}
        if names <= state.keys():
            for name in ("centre", "scale"):
                extent.form(state, name, one.dtype, (one.cells,))
            extent.form(state, "table", np.int64, (one.cells, 2 * (quantile_bins.OCTAVES << one.bits) + 1))
            centre, scale, table = (state[name] for name in ("centre", "scale", "table"))
            extent.must(bool(np.isfinite(centre).all()), "centre")
            extent.must(bool((np.isfinite(scale) & (scale > 0)).all()), "scale")
            extent.must(integers(table, 0, extent.paths) and bool((table.sum(axis=1) == extent.paths).all()), "table")
        return names


class EventTimeQuantiles(Quantiles):
    """Of the times of events: one cell each, NaN where a path has had none."""

    name = "event_quantiles"

    @classmethod
    def empty(cls, plan: Plan, workers: int = 1) -> Self:
        half = float(plan.clock.at(np.array([plan.clock.steps]))[0]) / 2
        return cls(Sketch(plan.events, np.float64, pilots(plan), 1, half, half))

    def values(self, chunk: ChunkPaths) -> np.ndarray:
        return chunk.events.time
