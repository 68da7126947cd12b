"""What a run is made of: a problem, its clock, its paths, and how they are cut into chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sde.engine.hybrid import Hybrid
from sde.engine.program import Program
from sde.engine.time_grid import FixedClock
from sde.kernels.drivers import Driver, Gaussian, Mean
from sde.kernels.loop import Clock

CHUNK_BYTES = 4 * 2**20
"""What the saves of a chunk's paths may take, where a block allows: every thread holds one such buffer."""
CHUNK_STEPS = 2**19
"""Path-steps that make a chunk worth its bookkeeping."""
EXACT_PATHS, EXACT_BYTES = 4096, 32 * 2**20
"""Runs of so few paths, whose saves take so little, keep all values: their quantiles are exact."""

FULL = 16
"""Blocks of a chunk of a long run; of one of few steps up to four times as many."""
MOST_BLOCKS = 128
"""Of a chunk of paths that stop."""
MOST_PIECES = 1024
"""Pieces that a run is merged from at most, so that what other processes send does not grow with its paths."""

Start = Callable[[int, int], np.ndarray]
"""(first_path, n) -> states (n, S)."""


class Timetable(Protocol):
    """Steps and saves: see `sde.engine.time_grid.RunClock`."""

    steps: int
    saves: np.ndarray

    def at(self, steps: np.ndarray) -> np.ndarray: ...
    def window(self, step: int) -> Clock: ...


def blocks_per_chunk(paths: int, lanes: int, width: int, steps: int) -> int:
    """Follows from the problem alone, so results do not depend on the machine: a 32nd of the run, or what is worth a
    chunk of short steps, up to a quarter. width: bytes of one path's saves."""
    blocks = -(-paths // lanes)
    affordable = CHUNK_BYTES // max(1, lanes * width)
    worthwhile = min(CHUNK_STEPS // (lanes * steps), -(-blocks // 4), 4 * FULL)
    return max(1, min(max(min(blocks // 32, FULL), worthwhile), affordable))


def stopping_blocks(paths: int, lanes: int, width: int) -> int:
    """The same of paths that stop, which are gathered in fewer blocks as they do: an eighth of the run, or what the
    saves allow."""
    affordable, whole = CHUNK_BYTES // max(1, lanes * width), -(-paths // lanes)
    return max(1, min(MOST_BLOCKS, affordable, -(-whole // 8)))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a run needs, as data that can be pickled: another process gives the same chunks from it, bit for bit.

    keep: whether all saves of each path are kept one by one. events: how many of the last observables are conditions,
    dated and not saved; of a hybrid run, how many dates a path has. hybrid: what stops or changes paths. covariance:
    observable rows; histograms: {observable row: edges}. blocks: per chunk, 0 to
    leave it to `blocks_per_chunk`. first: the number of the first path, which decides its noise and start. piece:
    chunks that are merged with each other before they are with others, 0 to let it follow from their number.
    """

    program: Program
    driver: Driver
    clock: Timetable
    parameters: np.ndarray
    start: Start
    paths: int
    seed: int
    bound: float
    keep: bool = False
    events: int = 0
    hybrid: Hybrid | None = None
    covariance: tuple[int, ...] = ()
    histograms: Mapping[int, np.ndarray] = field(default_factory=dict)
    blocks: int = 0
    first: int = 0
    piece: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.clock, Clock):
            object.__setattr__(self, "clock", FixedClock(self.clock))
        if not self.blocks:
            blocks = blocks_per_chunk(self.paths, self.program.lanes, self.width, self.clock.steps)
            if self.hybrid is not None and self.hybrid.stops:
                blocks = stopping_blocks(self.paths, self.program.lanes, self.width)
            object.__setattr__(self, "blocks", blocks)
        if not self.piece:
            object.__setattr__(self, "piece", -(-self.chunks // MOST_PIECES))

    @property
    def rows(self) -> int:
        """Observables that are saved."""
        return self.program.observables - (self.events if self.hybrid is None else 0)

    @property
    def width(self) -> int:
        """Bytes of one path's saves."""
        return len(self.clock.saves) * self.rows * self.program.dtype.itemsize

    @property
    def chunk_size(self) -> int:
        """Paths of a chunk, but for the last."""
        return self.blocks * self.program.lanes

    @property
    def chunks(self) -> int:
        return -(-self.paths // self.chunk_size)

    @property
    def brief(self) -> bool:
        """Whether a step is over before anybody could interrupt it: it goes through no rows of data, and no steps of a
        path's own."""
        return self.hybrid is None and isinstance(self.driver, Gaussian | Mean)

    def piece_of(self, chunk: int) -> range:
        """The chunks of the piece that a chunk is in."""
        first = chunk - chunk % self.piece
        return range(first, min(first + self.piece, self.chunks))

    def count(self, chunk: int) -> int:
        """Paths of a chunk."""
        return min(self.chunk_size, self.paths - chunk * self.chunk_size)

    def mask(self, done: np.ndarray) -> np.ndarray:
        """(paths,) whether each path's chunk is among those `done`, (chunks,)."""
        return np.repeat(done, self.chunk_size)[: self.paths]
