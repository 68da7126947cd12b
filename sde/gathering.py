"""What complete chunks of paths have given so far: merged in order, countable in any, and whole at any moment for a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, NamedTuple

import numpy as np

from sde.kernels import between, comoments, statistics
from sde.sketches import Sketch

NAMED = 8
"""How many explosions are kept by path, time and value."""


@dataclass(frozen=True)
class Watch:
    """What is gathered over `rows` observables at `saves` state numbers: events, covariance of the rows chosen, and counts between
    edges, {observable row: edges}."""

    saves: np.ndarray
    rows: int
    events: int = 0
    covariance: tuple[int, ...] = ()
    histograms: Mapping[int, np.ndarray] = field(default_factory=dict)


class Ends(NamedTuple):
    """How n paths ended. dead, left: (n,) state number and time of the explosion, -1 and NaN for none, by state `row` having `value`; hit, time:
    (E, n) state number and time of each event's first occurrence, -1 and NaN for none."""

    dead: np.ndarray
    left: np.ndarray
    row: np.ndarray
    value: np.ndarray
    hit: np.ndarray
    time: np.ndarray


@dataclass
class Part:
    """Statistics of some paths. moments: (saves, O, 5), and of event times (1, E, 5), see `sde.kernels.statistics`; hits: (E, saves) and exploded:
    (saves,) paths that had by then; lost: paths exploded in all; named: (K, 4) path, time, state row, value of the first; tally:
    (2,) steps that paths chose themselves, and how many paths gave up."""

    paths: int
    moments: np.ndarray
    event_moments: np.ndarray
    hits: np.ndarray
    exploded: np.ndarray
    lost: int
    named: np.ndarray
    comoments: tuple[np.ndarray, ...]
    histograms: list[np.ndarray]
    tally: np.ndarray

    @staticmethod
    def empty(watch: Watch) -> Part:
        """Of no path."""
        saves, chosen = len(watch.saves), len(watch.covariance)
        return Part(
            0,
            statistics.empty(saves, watch.rows),
            statistics.empty(1, watch.events),
            np.zeros((watch.events, saves), np.int64),
            np.zeros(saves, np.int64),
            0,
            np.empty((0, 4)),
            tuple(np.zeros((saves, chosen, chosen)) for _ in range(3)),
            [np.zeros((saves, len(e) + 1), np.int64) for e in watch.histograms.values()],
            np.zeros(2, np.int64),
        )

    def merge(self, other: Part) -> None:
        """Become the statistics of both."""
        statistics.merge(self.moments, other.moments)
        statistics.merge(self.event_moments, other.event_moments)
        self.paths, self.lost = self.paths + other.paths, self.lost + other.lost
        self.hits, self.exploded = self.hits + other.hits, self.exploded + other.exploded
        self.tally = self.tally + other.tally
        named = np.concatenate([self.named, other.named])
        self.named = named[np.lexsort((named[:, 0], named[:, 1]))][:NAMED]
        self.comoments = comoments.merge(self.comoments, other.comoments)
        self.histograms = [a + b for a, b in zip(self.histograms, other.histograms, strict=True)]

    def finish(self, watch: Watch, first: int, rows: np.ndarray, valid: int, ends: Ends) -> None:
        """Add to the moments, which the loop has made, what follows from a chunk's rows (saves, O, n) and how its paths ended."""
        dead, self.paths = ends.dead, valid
        gone = np.flatnonzero(dead >= 0)
        self.lost = len(gone)
        self.exploded = by_saves(dead, watch.saves)
        kept = gone[np.lexsort((gone, ends.left[gone]))][:NAMED]
        self.named = np.stack([first + kept, ends.left[kept], ends.row[kept], ends.value[kept]], axis=1).astype(
            np.float64
        )
        for e in range(watch.events):
            self.hits[e] = by_saves(ends.hit[e], watch.saves)
            times = ends.time[e][ends.hit[e] >= 0]
            if len(times):
                mean = times.mean()
                cell = (len(times), mean, np.square(times - mean).sum(), times.min(), times.max())
                self.event_moments[0, e] = cell
        if watch.covariance:
            chosen = np.array(watch.covariance, np.int64)
            self.comoments = comoments.comoments(rows, valid, chosen, dead, watch.saves)
        for (row, edges), table in zip(watch.histograms.items(), self.histograms, strict=True):
            between.count(rows, valid, row, edges, table)

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays."""
        out = {"size": np.array([self.paths, self.lost])}
        for name in ("moments", "event_moments", "hits", "exploded", "named", "tally"):
            out[name] = getattr(self, name)
        out |= {f"comoment{i}": a for i, a in enumerate(self.comoments)}
        return out | {f"histogram{i}": a for i, a in enumerate(self.histograms)}

    @staticmethod
    def restored(watch: Watch, state: Mapping[str, np.ndarray]) -> Part:
        """What `state` gave."""
        part = Part.empty(watch)
        part.paths, part.lost = map(int, state["size"])
        for name in ("moments", "event_moments", "hits", "exploded", "named", "tally"):
            setattr(part, name, np.array(state[name]))
        part.comoments = tuple(np.array(state[f"comoment{i}"]) for i in range(3))
        part.histograms = [np.array(state[f"histogram{i}"]) for i in range(len(part.histograms))]
        return part


def by_saves(when: np.ndarray, saves: np.ndarray) -> np.ndarray:
    """How many of the state numbers `when` (negative: never) are at most each save."""
    return np.searchsorted(np.sort(when[when >= 0]), saves, side="right").astype(np.int64)


class Gathering:
    """The merged part and the sketches of a run, and which chunks are in them."""

    def __init__(self, watch: Watch, chunks: int, sketches: Sequence[Sketch]) -> None:
        self.watch, self.sketches = watch, tuple(sketches)
        self.total, self.done = Part.empty(watch), np.zeros(chunks, dtype=bool)
        self._parts: dict[int, Part] = {}
        self._next, self._adding, self._closed = 0, 0, False
        self._gate = Condition()

    def add(self, chunk: int, part: Part, valid: int, values: Sequence[np.ndarray]) -> None:
        """Take in a complete chunk: its part, and for every sketch its values (cells, n). For worker threads."""
        with self._gate:
            self._gate.wait_for(lambda: not self._closed)
            self._adding += 1
        try:
            for sketch, rows in zip(self.sketches, values, strict=True):
                sketch.add(chunk, rows, valid)
            self._parts[chunk] = part
            self.done[chunk] = True
        finally:
            with self._gate:
                self._adding -= 1
                self._gate.notify_all()

    @contextmanager
    def _whole(self) -> Iterator[None]:
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
        while self._next in self._parts:
            self.total.merge(self._parts.pop(self._next))
            self._next += 1
        for chunk in sorted(self._parts) if all_ else ():
            self.total.merge(self._parts.pop(chunk))

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, at one moment."""
        with self._whole():
            groups = {"total": self.total.state()} | {f"part{i}": p.state() for i, p in sorted(self._parts.items())}
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
        self.total = Part.restored(self.watch, groups["total"])
        self._parts = {int(g[4:]): Part.restored(self.watch, s) for g, s in groups.items() if g.startswith("part")}
        for i, sketch in enumerate(self.sketches):
            sketch.restore(groups.get(f"sketch{i}", {}))
