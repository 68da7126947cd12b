"""What is gathered over paths, one kind a file. A new kind is a file here and its place in KINDS: it is then made of
every chunk, merged, kept in checkpoints, checked on the way back and shown in results by what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

import numpy as np

from sde.engine.accumulators.accumulator import Accumulator, ChunkPaths, Extent, State, Variables
from sde.engine.accumulators.comoments import Comoments
from sde.engine.accumulators.event_times import EventTimes
from sde.engine.accumulators.explosions import Explosions
from sde.engine.accumulators.histograms import Histograms
from sde.engine.accumulators.moments import Moments
from sde.engine.accumulators.own_steps import OwnSteps
from sde.engine.plan import Plan
from sde.engine.result_layout import ResultLayout

KINDS: tuple[type[Accumulator], ...] = (Moments, Explosions, EventTimes, Comoments, Histograms, OwnSteps)

Kind = TypeVar("Kind", bound=Accumulator)


class Statistics:
    """One accumulator of each kind, of the same paths: statistics[Moments].cells."""

    def __init__(self, plan: Plan) -> None:
        self._members = {kind: kind.empty(plan) for kind in KINDS}

    def __getitem__(self, kind: type[Kind]) -> Kind:
        return cast(Kind, self._members[kind])

    def add(self, chunk: ChunkPaths) -> None:
        """Take in a chunk's paths."""
        for member in self._members.values():
            member.add(chunk)

    def merge(self, other: Statistics) -> None:
        """Become the statistics of both."""
        for kind, member in self._members.items():
            member.merge(other[kind])

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, "member.array"."""
        return {f"{m.name}.{key}": value for m in self._members.values() for key, value in m.state().items()}

    def restore(self, state: State) -> None:
        """Back to what `state` gave."""
        groups = grouped(state)
        for member in self._members.values():
            member.restore(groups.get(member.name, {}))

    def check(self, state: State, extent: Extent) -> set[str]:
        """As `Accumulator.check`."""
        groups = grouped(state)
        return {f"{m.name}.{key}" for m in self._members.values() for key in m.check(groups.get(m.name, {}), extent)}

    def variables(self, layout: ResultLayout) -> Variables:
        """What all of them add to a result."""
        data, coords = {}, {}
        for member in self._members.values():
            own, places = member.variables(layout)
            data, coords = data | own, coords | places
        return data, coords


def grouped(state: State) -> Mapping[str, dict[str, np.ndarray]]:
    """Arrays "group.name" by group, then by name."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for key, value in state.items():
        group, _, name = key.partition(".")
        groups.setdefault(group, {})[name] = value
    return groups
