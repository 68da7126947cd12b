"""What complete chunks of paths have given so far: merged in order, countable in any, and whole at any moment for a
checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, NamedTuple

import numpy as np

from sde.engine.quantiles import Sketch
from sde.kernels.statistics import comoments, histogram
from sde.kernels.statistics import moments as statistics

NAMED = 8
"""How many explosions are kept by path, time and value."""


@dataclass(frozen=True)
class Observed:
    """What is gathered over `rows` observables at `saves` state numbers: events, covariance of the rows chosen, and
    counts between edges, {observable row: edges}."""

    saves: np.ndarray
    rows: int
    events: int = 0
    covariance: tuple[int, ...] = ()
    histograms: Mapping[int, np.ndarray] = field(default_factory=dict)


class PathEvents(NamedTuple):
    """How n paths ended. dead, left: (n,) state number and time of the explosion, -1 and NaN for none, by state `row`
    having `value`; hit, time: (E, n) state number and time of each event's first occurrence, -1 and NaN for none."""

    dead: np.ndarray
    left: np.ndarray
    row: np.ndarray
    value: np.ndarray
    hit: np.ndarray
    time: np.ndarray


@dataclass
class ChunkStatistics:
    """Statistics of some paths. moments: (saves, O, 5), and of event times (1, E, 5), see
    `sde.kernels.statistics.moments`; hits: (E, saves) and exploded: (saves,) paths that had by then; lost: paths
    exploded in all; named: (K, 4) path, time, state row, value of the first; own_steps: (2,) steps that paths chose
    themselves, and how many paths gave up."""

    paths: int
    moments: np.ndarray
    event_moments: np.ndarray
    hits: np.ndarray
    exploded: np.ndarray
    exploded_paths: int
    named: np.ndarray
    comoments: tuple[np.ndarray, ...]
    histograms: list[np.ndarray]
    own_steps: np.ndarray

    @staticmethod
    def empty(observed: Observed) -> ChunkStatistics:
        """Of no path."""
        saves, chosen = len(observed.saves), len(observed.covariance)
        return ChunkStatistics(
            0,
            statistics.empty(saves, observed.rows),
            statistics.empty(1, observed.events),
            np.zeros((observed.events, saves), np.int64),
            np.zeros(saves, np.int64),
            0,
            np.empty((0, 4)),
            tuple(np.zeros((saves, chosen, chosen)) for _ in range(3)),
            [np.zeros((saves, len(e) + 1), np.int64) for e in observed.histograms.values()],
            np.zeros(2, np.int64),
        )

    def merge(self, other: ChunkStatistics) -> None:
        """Become the statistics of both."""
        statistics.merge(self.moments, other.moments)
        statistics.merge(self.event_moments, other.event_moments)
        self.paths, self.exploded_paths = self.paths + other.paths, self.exploded_paths + other.exploded_paths
        self.hits, self.exploded = self.hits + other.hits, self.exploded + other.exploded
        self.own_steps = self.own_steps + other.own_steps
        named = np.concatenate([self.named, other.named])
        self.named = named[np.lexsort((named[:, 0], named[:, 1]))][:NAMED]
        self.comoments = comoments.merge(self.comoments, other.comoments)
        self.histograms = [a + b for a, b in zip(self.histograms, other.histograms, strict=True)]

    def finish(self, observed: Observed, first: int, rows: np.ndarray, valid: int, path_events: PathEvents) -> None:
        """Add to the moments, which the loop has made, what follows from a chunk's rows (saves, O, n) and how its paths
        ended."""
        dead, self.paths = path_events.dead, valid
        exploded = np.flatnonzero(dead >= 0)
        self.exploded_paths = len(exploded)
        self.exploded = by_saves(dead, observed.saves)
        kept = exploded[np.lexsort((exploded, path_events.left[exploded]))][:NAMED]
        self.named = np.stack(
            [first + kept, path_events.left[kept], path_events.row[kept], path_events.value[kept]], axis=1
        ).astype(np.float64)
        for e in range(observed.events):
            self.hits[e] = by_saves(path_events.hit[e], observed.saves)
            times = path_events.time[e][path_events.hit[e] >= 0]
            if len(times):
                mean = times.mean()
                cell = (len(times), mean, np.square(times - mean).sum(), times.min(), times.max())
                self.event_moments[0, e] = cell
        if observed.covariance:
            chosen = np.array(observed.covariance, np.int64)
            self.comoments = comoments.comoments(rows, valid, chosen, dead, observed.saves)
        for (row, edges), table in zip(observed.histograms.items(), self.histograms, strict=True):
            histogram.count(rows, valid, row, edges, table)

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays."""
        out = {"size": np.array([self.paths, self.exploded_paths])}
        for name in ("moments", "event_moments", "hits", "exploded", "named", "own_steps"):
            out[name] = getattr(self, name)
        out |= {f"comoment{i}": a for i, a in enumerate(self.comoments)}
        return out | {f"histogram{i}": a for i, a in enumerate(self.histograms)}

    @staticmethod
    def restored(observed: Observed, state: Mapping[str, np.ndarray]) -> ChunkStatistics:
        """What `state` gave."""
        chunk_statistics = ChunkStatistics.empty(observed)
        chunk_statistics.paths, chunk_statistics.exploded_paths = map(int, state["size"])
        for name in ("moments", "event_moments", "hits", "exploded", "named", "own_steps"):
            setattr(chunk_statistics, name, np.array(state[name]))
        chunk_statistics.comoments = tuple(np.array(state[f"comoment{i}"]) for i in range(3))
        chunk_statistics.histograms = [
            np.array(state[f"histogram{i}"]) for i in range(len(chunk_statistics.histograms))
        ]
        return chunk_statistics


def by_saves(when: np.ndarray, saves: np.ndarray) -> np.ndarray:
    """How many of the state numbers `when` (negative: never) are at most each save."""
    return np.searchsorted(np.sort(when[when >= 0]), saves, side="right").astype(np.int64)


class Gathering:
    """The merged part and the sketches of a run, and which chunks are in them."""

    def __init__(self, observed: Observed, chunks: int, sketches: Sequence[Sketch]) -> None:
        self.observed, self.sketches = observed, tuple(sketches)
        self.total, self.done = ChunkStatistics.empty(observed), np.zeros(chunks, dtype=bool)
        self._chunks: dict[int, ChunkStatistics] = {}
        self._next, self._adding, self._closed = 0, 0, False
        self._gate = Condition()

    def add(self, chunk: int, chunk_statistics: ChunkStatistics, valid: int, values: Sequence[np.ndarray]) -> None:
        """Take in a complete chunk: its part, and for every sketch its values (cells, n). For worker threads."""
        with self._gate:
            self._gate.wait_for(lambda: not self._closed)
            self._adding += 1
        try:
            for sketch, rows in zip(self.sketches, values, strict=True):
                sketch.add(chunk, rows, valid)
            self._chunks[chunk] = chunk_statistics
            self.done[chunk] = True
        finally:
            with self._gate:
                self._adding -= 1
                self._gate.notify_all()

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """No chunk half taken in meanwhile."""
        with self._gate:
            self._closed = True
            self._gate.wait_for(lambda: not self._adding)
        try:
            yield
        finally:
            with self._gate:
                self._closed = False
                self._gate.notify_all()

    def merge(self, all_: bool = False) -> None:
        """Merge parts in order of their chunks, up to the first that is not there yet; all_: past it too."""
        while self._next in self._chunks:
            self.total.merge(self._chunks.pop(self._next))
            self._next += 1
        for chunk in sorted(self._chunks) if all_ else ():
            self.total.merge(self._chunks.pop(chunk))

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, at one moment."""
        with self._at_rest():
            groups = {"total": self.total.state()} | {f"part{i}": p.state() for i, p in sorted(self._chunks.items())}
            groups |= {f"sketch{i}": s.state() for i, s in enumerate(self.sketches)}
            out: dict[str, Any] = {f"{g}.{k}": np.array(v) for g, group in groups.items() for k, v in group.items()}
            return out | {"done": np.packbits(self.done), "next": np.array(self._next)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Back to what `state` gave."""
        groups: dict[str, dict[str, np.ndarray]] = {}
        for key, value in state.items():
            group, _, name = key.partition(".")
            groups.setdefault(group, {})[name] = value
        self.done = np.unpackbits(state["done"], count=len(self.done)).astype(bool)
        self._next = int(state["next"])
        self.total = ChunkStatistics.restored(self.observed, groups["total"])
        self._chunks = {
            int(g[4:]): ChunkStatistics.restored(self.observed, s) for g, s in groups.items() if g.startswith("part")
        }
        for i, sketch in enumerate(self.sketches):
            sketch.restore(groups.get(f"sketch{i}", {}))
