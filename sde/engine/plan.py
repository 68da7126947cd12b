"""What a run is made of: a problem, its clock, its paths, and how they are cut into chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sde.engine.accumulators import PathEvents
from sde.engine.program import Program
from sde.engine.time_grid import FixedClock
from sde.kernels.drivers import Driver
from sde.kernels.loop import Clock

CHUNK_BYTES = 2 * 2**20
"""What the saves of a chunk's paths may take, where a block allows: every thread holds one such buffer."""
CHUNK_STEPS = 2**19
"""Path-steps that make a chunk worth its bookkeeping."""
EXACT_PATHS, EXACT_BYTES = 4096, 32 * 2**20
"""Runs of so few paths, whose saves take so little, keep all values: their quantiles are exact."""

Start = Callable[[int, int], np.ndarray]
"""(first_path, n) -> states (n, S)."""


class Timetable(Protocol):
    """Steps and saves: see `sde.engine.time_grid.Ticks`."""

    steps: int
    saves: np.ndarray

    def at(self, steps: np.ndarray) -> np.ndarray: ...
    def window(self, step: int) -> Clock: ...


class Store(Protocol):
    """Where a run's state survives the process: see `sde.engine.checkpoint`."""

    def load(self, check: Callable[[Mapping[str, np.ndarray]], None] | None = None) -> dict[str, np.ndarray] | None: ...
    def due(self) -> bool: ...
    def save(self, state: dict[str, np.ndarray]) -> None: ...


class Sink(Protocol):
    """Where chunks of paths go that are not kept in memory: rows (saves, O, n) of paths first..first + n - 1. Any
    thread may call."""

    def write(self, first: int, rows: np.ndarray, path_events: PathEvents) -> None: ...


@dataclass(frozen=True)
class Job:
    """Everything a run needs. slots: 0, or the number of paths to have all of their saves kept one by one. events: how
    many of the last observables are conditions, dated and not saved. covariance: observable rows; histograms:
    {observable row: edges}. chunk: blocks per chunk, where not left to `blocks_per_chunk`. first: the number of the
    first path, which decides its noise and start.
    """

    program: Program
    driver: Driver
    clock: Timetable
    parameters: np.ndarray
    start: Start
    paths: int
    seed: int
    slots: int
    bound: float
    events: int = 0
    covariance: tuple[int, ...] = ()
    histograms: Mapping[int, np.ndarray] = field(default_factory=dict)
    chunk: int | None = None
    first: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.clock, Clock):
            object.__setattr__(self, "clock", FixedClock(self.clock))

    @property
    def rows(self) -> int:
        """Observables that are saved."""
        return self.program.native.observables - self.events

    @property
    def width(self) -> int:
        """Bytes of one path's saves."""
        return len(self.clock.saves) * self.rows * self.program.dtype.itemsize

    @property
    def blocks_per_chunk(self) -> int:
        """Follows from the problem alone, so results do not depend on the machine: a 32nd of the run, or more of a
        short one, up to a quarter."""
        lanes = self.program.lanes
        blocks = -(-self.paths // lanes)
        affordable = CHUNK_BYTES // max(1, lanes * self.width)
        worthwhile = min(CHUNK_STEPS // (lanes * self.clock.steps), -(-blocks // 4))
        return self.chunk or max(1, min(16, max(blocks // 32, worthwhile), affordable))

    @property
    def chunk_size(self) -> int:
        """Paths of a chunk, but for the last."""
        return self.blocks_per_chunk * self.program.lanes

    @property
    def chunks(self) -> int:
        return -(-self.paths // self.chunk_size)
