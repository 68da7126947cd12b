"""Steps that paths chose themselves."""

from __future__ import annotations

from typing import Self

import numpy as np

from sde.engine.accumulators.accumulator import Accumulator, ChunkPaths, Extent, State
from sde.engine.plan import Plan


class OwnSteps(Accumulator):
    """counts: (3,) steps, paths that gave up, and steps that were rejected."""

    name = "own_steps"

    def __init__(self) -> None:
        self.counts = np.zeros(3, np.int64)

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        return cls()

    def add(self, chunk: ChunkPaths) -> None:
        self.counts = self.counts + chunk.own_steps

    def merge(self, other: Self) -> None:
        self.counts = self.counts + other.counts

    def state(self) -> dict[str, np.ndarray]:
        return {"own_steps": self.counts}

    def restore(self, state: State) -> None:
        self.counts = np.array(state["own_steps"])

    def check(self, state: State, extent: Extent) -> set[str]:
        if "own_steps" in state:
            extent.form(state, "own_steps", np.int64, (3,))
            extent.must(bool((state["own_steps"] >= 0).all()), "own_steps")
        return {"own_steps"}
