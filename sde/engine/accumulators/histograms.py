"""Counts of chosen observables between edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from sde.engine.accumulators.accumulator import Accumulator, ChunkPaths, Extent, State, Variables, integers
from sde.engine.plan import Plan
from sde.engine.result_layout import ResultLayout
from sde.kernels.statistics import histogram


class Histograms(Accumulator):
    """edges: {observable row: (M,)}; tables: (saves, M + 1) counts of each."""

    name = "histograms"

    def __init__(self, edges: Mapping[int, np.ndarray], saves: int) -> None:
        self.edges = edges
        self.tables = [np.zeros((saves, len(e) + 1), np.int64) for e in edges.values()]

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        return cls(plan.histograms, len(plan.clock.saves))

    def add(self, chunk: ChunkPaths) -> None:
        for (row, edges), table in zip(self.edges.items(), self.tables, strict=True):
            histogram.count(chunk.rows, chunk.count, row, edges, table)

    def merge(self, other: Self) -> None:
        self.tables = [a + b for a, b in zip(self.tables, other.tables, strict=True)]

    def state(self) -> dict[str, np.ndarray]:
        return {f"histogram{i}": table for i, table in enumerate(self.tables)}

    def restore(self, state: State) -> None:
        self.tables = [np.array(state[f"histogram{i}"]) for i in range(len(self.tables))]

    def check(self, state: State, extent: Extent) -> set[str]:
        for name, table in self.state().items():
            if name in state:
                extent.form(state, name, np.int64, table.shape)
                counts = state[name]
                fits = (counts.sum(axis=1) <= extent.paths).all()
                extent.must(integers(counts, 0, extent.paths) and bool(fits), name)
        return set(self.state())

    def variables(self, layout: ResultLayout) -> Variables:
        data, coords, at = {}, {}, 0
        for v in layout.variables:
            if v.name in layout.histograms:
                edges = np.concatenate([[-np.inf], layout.histograms[v.name], [np.inf]])
                tables = np.stack(self.tables[at : at + v.rows], axis=1).reshape(len(layout.saves), *v.shape, -1)
                at += v.rows
                data[f"{v.name}_histogram"] = (("time", *v.dims, f"{v.name}_bin"), tables)
                coords[f"{v.name}_left"] = (f"{v.name}_bin", edges[:-1])
                coords[f"{v.name}_right"] = (f"{v.name}_bin", edges[1:])
        return data, coords
