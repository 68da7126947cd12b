"""What complete chunks of paths have given so far: merged in order, countable in any, and whole at any moment for a
checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Condition

import numpy as np

from sde.engine.accumulators import Statistics, grouped
from sde.engine.accumulators.accumulator import Extent, Gathered, State, check_form, must
from sde.engine.chunk import ChunkResult
from sde.engine.plan import Plan
from sde.storage.archive import Malformed


class Gathering:
    """The merged statistics of a run, and which chunks are in them. together: accumulators that all chunks share."""

    def __init__(self, plan: Plan, together: Sequence[Gathered] = ()) -> None:
        self.plan, self.together = plan, tuple(together)
        self.total, self.done = Statistics(plan), np.zeros(plan.chunks, dtype=bool)
        self._chunks: dict[int, Statistics] = {}
        self._next, self._adding, self._closed = 0, 0, False
        self._gate = Condition()

    def add(self, result: ChunkResult) -> None:
        """Take in a complete chunk. Any thread may call."""
        with self._gate:
            self._gate.wait_for(lambda: not self._closed)
            self._adding += 1
        try:
            for member in self.together:
                member.add(result.paths)
            self._chunks[result.paths.index] = result.statistics
            self.done[result.paths.index] = True
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
        """Merge chunks in order, up to the first that is not there yet; all_: past it too."""
        while self._next in self._chunks:
            self.total.merge(self._chunks.pop(self._next))
            self._next += 1
        for chunk in sorted(self._chunks) if all_ else ():
            self.total.merge(self._chunks.pop(chunk))

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, at one moment."""
        with self._at_rest():
            groups = {"total": self.total.state()} | {f"part{i}": s.state() for i, s in sorted(self._chunks.items())}
            groups |= {member.name: member.state() for member in self.together}
            out = {f"{group}.{name}": np.array(v) for group, state in groups.items() for name, v in state.items()}
            return out | {"done": np.packbits(self.done), "next": np.array(self._next)}

    def restore(self, state: State) -> None:
        """Back to what `state` gave."""
        groups = grouped(state)
        self.done = np.unpackbits(state["done"], count=len(self.done)).astype(bool)
        self._next = int(state["next"])
        self.total.restore(groups["total"])
        for group in groups:
            if group.startswith("part") and group[4:].isdigit():
                statistics = self._chunks[int(group[4:])] = Statistics(self.plan)
                statistics.restore(groups[group])
        for member in self.together:
            member.restore(groups.get(member.name, {}))

    def check(self, state: State) -> None:
        """Raise Malformed unless a run of this plan may have saved `state`: every array there, of its type and shape,
        and all counts in agreement. A file may be whole by its digest and hold anything, and what is found wrong here
        would otherwise be an error from within, or other numbers."""
        done, following = _done(state, self.plan.chunks)
        parts = {"total": np.arange(following)} | {f"part{i}": np.array([i]) for i in done[done >= following]}
        groups, names = grouped(state), {"done", "next", "wall"}
        for group, chunks in parts.items():
            extent = Extent(self.plan, chunks, group)
            names |= {f"{group}.{name}" for name in self.total.check(groups.get(group, {}), extent)}
        for member in self.together:
            extent = Extent(self.plan, done, member.name)
            names |= {f"{member.name}.{name}" for name in member.check(groups.get(member.name, {}), extent)}
        if names != state.keys():
            raise Malformed(f"{min(names ^ state.keys())} is missing, or too much")
        for member in self.together:
            member.agree(groups.get(member.name, {}), [groups[part] for part in parts])


def _done(state: State, chunks: int) -> tuple[np.ndarray, int]:
    """Which chunks are complete, and how many of the first are merged."""
    check_form("done", state.get("done"), np.uint8, (-(-chunks // 8),))
    check_form("next", state.get("next"), np.int64, ())
    check_form("wall", state.get("wall"), np.float64, ())
    bits = np.unpackbits(state["done"]).astype(bool)
    following, wall = int(state["next"]), float(state["wall"])
    must(not bits[chunks:].any() and 0 <= following <= chunks and bool(bits[:following].all()), "done")
    must(bool(0 <= wall < np.inf), "wall")
    return np.flatnonzero(bits), following
