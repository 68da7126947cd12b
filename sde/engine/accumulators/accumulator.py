"""What every accumulator has in common: a state of no path, taking in a chunk's paths, merging, and arrays that survive
the process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from sde.engine.plan import Plan
from sde.engine.result_layout import ResultLayout
from sde.storage.archive import Malformed

State = Mapping[str, np.ndarray]
Variables = tuple[dict[str, Any], dict[str, Any]]
"""Data variables and coordinates of a Dataset, each {name: (dims, values)}."""


class PathEvents(NamedTuple):
    """How n paths ended. dead, left: (n,) state number and time of the explosion, -1 and NaN for none, by state `row`
    having `value`; hit, time: (E, n) state number and time of each event's first occurrence, -1 and NaN for none."""

    dead: np.ndarray
    left: np.ndarray
    row: np.ndarray
    value: np.ndarray
    hit: np.ndarray
    time: np.ndarray

    @staticmethod
    def none(paths: int, events: int) -> PathEvents:
        """Of paths that have not ended."""
        (dead, row), (left, value) = np.full((2, paths), -1, np.int64), np.full((2, paths), np.nan)
        hit = np.full((events, paths), -1, np.int64)
        return PathEvents(dead, left, row, value, hit, np.full(hit.shape, np.nan))


class ChunkPaths(NamedTuple):
    """What the `count` paths of a chunk did, from path `first` of the run on. rows: (saves, O, >= count) saved
    observables, NaN where dead; moments: (saves, O, 5), which the loop has made of them; own_steps: (3,) steps that
    paths chose themselves, how many paths gave up, and steps rejected."""

    index: int
    first: int
    count: int
    rows: np.ndarray
    events: PathEvents
    moments: np.ndarray
    own_steps: np.ndarray

    @property
    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What is written path by path: rows (saves, O, count), times and values of explosions (count,), times of
        events (E, count)."""
        return self.rows[:, :, : self.count], self.events.left, self.events.value, self.events.time


@dataclass(frozen=True)
class Extent:
    """What saved arrays are to be of: these chunks of a plan. group: where errors say they stand."""

    plan: Plan
    chunks: np.ndarray
    group: str

    @cached_property
    def sizes(self) -> np.ndarray:
        """Paths of each chunk."""
        return np.minimum(self.plan.chunk_size, self.plan.paths - self.plan.chunk_size * self.chunks)

    @cached_property
    def paths(self) -> int:
        """Paths in all."""
        return int(self.sizes.sum())

    def must(self, right: bool, name: str) -> None:
        """Raise Malformed unless what is said of an array holds."""
        must(right, f"{self.group}.{name}")

    def form(self, state: State, name: str, dtype: object, shape: Iterable[int]) -> None:
        """Raise Malformed unless an array is there, of this type and shape."""
        check_form(f"{self.group}.{name}", state.get(name), dtype, shape)


def must(right: bool, name: str) -> None:
    """Raise Malformed unless what is said of an array holds."""
    if not right:
        raise Malformed(f"{name} holds what no run can give")


def check_form(name: str, array: np.ndarray | None, dtype: object, shape: Iterable[int]) -> None:
    """Raise Malformed unless an array is there, of this type and shape."""
    if array is None:
        raise Malformed(f"{name} is missing, or too much")
    if array.dtype != dtype or array.shape != tuple(shape):
        raise Malformed(f"{name} is {array.dtype} {array.shape} where {np.dtype(dtype)} {tuple(shape)} is due")  # type: ignore[arg-type]


def integers(values: np.ndarray, low: int, high: int) -> bool:
    """Whether all are whole numbers within [low, high]."""
    return bool(((values >= low) & (values <= high)).all() and (values == np.floor(values)).all())


def by_saves(when: np.ndarray, saves: np.ndarray) -> np.ndarray:
    """How many of the state numbers `when` (negative: never) are at most each save."""
    return np.searchsorted(np.sort(when[when >= 0]), saves, side="right").astype(np.int64)


class Gathered(ABC):
    """Something gathered over the paths of a run. name: of its arrays in a checkpoint."""

    name: ClassVar[str]

    @abstractmethod
    def add(self, chunk: ChunkPaths) -> None:
        """Take in a chunk's paths."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Become that of both sets of paths."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Back to what `state` gave and `check` has passed."""

    @abstractmethod
    def check(self, state: State, extent: Extent) -> set[str]:
        """The names that a state of this extent holds. Raises Malformed unless those that are there hold what a run can
        have given: of their type and shape, and in agreement."""

    def agree(self, state: State, statistics: Sequence[State]) -> None:  # noqa: B027
        """Raise Malformed unless a state that has passed agrees with those of `Statistics` that together are of the
        same paths."""


class Accumulator(Gathered):
    """What is made of a plan alone.

    One of each kind in `sde.engine.accumulators.KINDS` is made of every chunk, and they are merged in order of chunks,
    as sums of floats depend on it. Those that no order changes (counts, places of their own) are there once a run:
    `add` is then called from any thread as chunks come.
    """

    @classmethod
    @abstractmethod
    def empty(cls, plan: Plan) -> Self:
        """Of no path."""

    def variables(self, layout: ResultLayout) -> Variables:
        """What it adds to a result."""
        return {}, {}
