"""What complete chunks of paths have given so far: merged in order, countable in any, and whole at any moment for a
checkpoint."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition

import numpy as np

from sde.engine.accumulators import Statistics, grouped
from sde.engine.accumulators.accumulator import Extent, Gathered, State, check_form, must
from sde.engine.accumulators.quantiles import Quantiles
from sde.engine.chunk import ChunkResult
from sde.engine.piece import Piece, PieceRequest
from sde.engine.plan import Plan
from sde.storage.archive import Malformed

_PART = re.compile(r"(part|piece)(\d+)")


class Gathering:
    """The merged statistics of a run, and which chunks are in them. together: accumulators that all chunks share.

    Chunks are merged in order within their piece of the plan, then pieces in order: whoever merges those of a piece,
    the bits are the same.
    """

    def __init__(self, plan: Plan, together: Sequence[Gathered] = ()) -> None:
        self.plan, self.together = plan, tuple(together)
        self.total, self.done = Statistics(plan), np.zeros(plan.chunks, dtype=bool)
        self._parts: dict[int, tuple[Statistics, int]] = {}  # by first chunk: of so many
        self._open: tuple[Statistics, int] | None = None  # chunks of a piece that others are to come of, and its first
        self._next, self._adding, self._closed = 0, 0, False
        self._gate = Condition()

    def add(self, result: ChunkResult) -> None:
        """Take in a complete chunk. Any thread may call."""
        self.take(Piece.of(result))

    def take(self, piece: Piece) -> None:
        """Take in complete chunks. Any thread may call."""
        with self._gate:
            self._gate.wait_for(lambda: not self._closed)
            self._adding += 1
        try:
            for member in self.together:
                for paths in piece.paths:
                    member.add(paths)
                if member.name in piece.counts and isinstance(member, Quantiles):
                    member.sketch.take(piece.counts[member.name])
            first, end = piece.chunks.start, piece.chunks.stop
            self._parts[first] = piece.statistics, end - first
            self.done[first:end] = True
        finally:
            with self._gate:
                self._adding -= 1
                self._gate.notify_all()

    def wanted(self, rows: bool) -> PieceRequest:
        """What other processes are to give. rows: somebody takes each path."""
        sketches = {m.name: m.sketch for m in self.together if isinstance(m, Quantiles)}
        layouts = {name: sketch.layout for name, sketch in sketches.items() if sketch.layout is not None}
        pilots = frozenset[int]().union(*(s.pilots for name, s in sketches.items() if name not in layouts))
        return PieceRequest(None if rows or len(layouts) < len(sketches) else layouts, pilots)

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
        while self._next in self._parts:
            self._next += self._absorb(self._next)
        for first in sorted(self._parts) if all_ else ():
            self._absorb(first)
        if all_:
            self._close()

    def _absorb(self, first: int) -> int:
        """Merge what begins with chunk `first`; of how many chunks it is."""
        (statistics, n), piece = self._parts.pop(first), self.plan.piece_of(first)
        if self._open is not None and self._open[1] != piece.start:
            self._close()
        if n == len(piece):
            self.total.merge(statistics)
            return n
        self._open = self._open or (Statistics(self.plan), piece.start)
        self._open[0].merge(statistics)
        if first + n == piece.stop:
            self._close()
        return n

    def _close(self) -> None:
        """What the open piece has is all that it will have."""
        if self._open is not None:
            self.total.merge(self._open[0])
        self._open = None

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, at one moment."""
        with self._at_rest():
            groups = {"total": self.total.state()}
            if self._open is not None:
                groups["open"] = self._open[0].state()
            groups |= {f"{'part' if n == 1 else 'piece'}{i}": s.state() for i, (s, n) in sorted(self._parts.items())}
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
            statistics = Statistics(self.plan)
            if group == "open":
                self._open = statistics, self.plan.piece_of(self._next).start
            elif found := _PART.fullmatch(group):
                first = int(found[2])
                self._parts[first] = statistics, 1 if found[1] == "part" else len(self.plan.piece_of(first))
            else:
                continue
            statistics.restore(groups[group])
        for member in self.together:
            member.restore(groups.get(member.name, {}))

    def check(self, state: State) -> None:
        """Raise Malformed unless a run of this plan may have saved `state`: every array there, of its type and shape,
        and all counts in agreement. A file may be whole by its digest and hold anything, and what is found wrong here
        would otherwise be an error from within, or other numbers."""
        done, following = _done(state, self.plan.chunks)
        groups, names = grouped(state), {"done", "next", "wall"}
        parts = self._parts_of(done, following, groups.keys())
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

    def _parts_of(self, done: np.ndarray, following: int, groups: Collection[str]) -> dict[str, np.ndarray]:
        """The chunks that each part of a state is of, where these are `done` and the first `following` merged."""
        begun = self.plan.piece_of(following).start if following < self.plan.chunks else following
        parts, left = {"total": np.arange(begun)}, done[done >= following]
        if following > begun:
            parts["open"] = np.arange(begun, following)
        for first in left[left % self.plan.piece == 0].tolist():
            piece = np.arange(first, self.plan.piece_of(first).stop)
            if f"piece{first}" in groups and np.isin(piece, left).all():
                parts[f"piece{first}"], left = piece, np.setdiff1d(left, piece)
        return parts | {f"part{i}": np.array([i]) for i in left}


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
