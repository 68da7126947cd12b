"""Means and summed products of deviations of pairs of chosen observables: their covariance."""

from __future__ import annotations

from typing import Self

import numpy as np

from sde.engine.accumulators.accumulator import Accumulator, ChunkPaths, Extent, State, Variables, integers
from sde.engine.plan import Plan
from sde.engine.result_layout import ResultLayout
from sde.kernels.statistics import comoments


class Comoments(Accumulator):
    """pairs: count, mean, product, each (saves, M, M), of the rows `chosen` (M,), see
    `sde.kernels.statistics.comoments`."""

    name = "comoments"

    def __init__(self, chosen: np.ndarray, saves: np.ndarray) -> None:
        self.chosen, self.saves = chosen, saves
        shape = (len(saves), len(chosen), len(chosen))
        self.pairs: tuple[np.ndarray, ...] = tuple(np.zeros(shape) for _ in range(3))

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        return cls(np.array(plan.covariance, np.int64), plan.clock.saves)

    def add(self, chunk: ChunkPaths) -> None:
        if len(self.chosen):
            dead = chunk.events.dead
            made = comoments.comoments(chunk.rows, chunk.count, self.chosen, dead, self.saves)
            self.pairs = comoments.merge(self.pairs, made) if self.pairs[0].any() else made

    def merge(self, other: Self) -> None:
        if len(self.chosen):
            self.pairs = comoments.merge(self.pairs, other.pairs)

    def state(self) -> dict[str, np.ndarray]:
        return {f"comoment{i}": a for i, a in enumerate(self.pairs)}

    def restore(self, state: State) -> None:
        self.pairs = tuple(np.array(state[f"comoment{i}"]) for i in range(3))

    def check(self, state: State, extent: Extent) -> set[str]:
        names = {f"comoment{i}" for i in range(3)}
        if not names <= state.keys():
            return names
        for name in names:
            extent.form(state, name, np.float64, self.pairs[0].shape)
        extent.must(integers(state["comoment0"], 0, extent.paths), "comoment0")
        product = state["comoment2"]
        extent.must(np.array_equal(product, product.swapaxes(1, 2), equal_nan=True), "comoment2")
        extent.must(not (np.diagonal(product, axis1=1, axis2=2) < 0).any(), "comoment2")
        return names

    def variables(self, layout: ResultLayout) -> Variables:
        if not layout.covariance:
            return {}, {}
        count, _, product = self.pairs
        with np.errstate(invalid="ignore", divide="ignore"):
            values = product / np.where(count > 1, count - 1, np.nan)
        names = list(layout.covariance)
        return {"covariance": (("time", "one", "other"), values)}, {"one": names, "other": names}
