"""What stops, dates and changes the paths of a run, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sde.engine.program import Program
from sde.kernels import hybrid as kernel


class Times(Protocol):
    """Of states: see `sde.engine.plan.Timetable`."""

    steps: int

    def at(self, steps: np.ndarray) -> np.ndarray: ...


def step_at(clock: Times, time: float) -> int:
    """The number of the first state at `time` or later, to rounding; one past the last where there is none. A number
    below 0 where the run begins later."""
    if time < (begin := float(clock.at(np.array([0]))[0])):
        return -1
    low, high, rounding = 0, clock.steps + 1, 1e-12 * max(abs(time), abs(begin))
    while low < high:
        middle = (low + high) // 2
        if float(clock.at(np.array([middle]))[0]) >= time - rounding:
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True)
class Hybrid:
    """events: (level, whether it stops the path) each, in the order of their names; bridged: by level, whether it is
    seen between steps; ends: by level, whether a path stops there; resets: by level, the number of the change made
    there, from 1 on, 0 for none; stays: by level, whether that change leaves the excess as it is; clocks: the change
    that each Poisson clock makes; sizes: by change, the kinds of its base variables (`kernels.hybrid.record`);
    impulses: (time, change), in order."""

    events: tuple[tuple[int, bool], ...] = ()
    bridged: tuple[bool, ...] = ()
    ends: tuple[bool, ...] = ()
    resets: tuple[int, ...] = ()
    stays: tuple[bool, ...] = ()
    clocks: tuple[int, ...] = ()
    sizes: tuple[tuple[float, ...], ...] = ()
    impulses: tuple[tuple[float, int], ...] = ()

    @property
    def stops(self) -> bool:
        """Whether paths may stop."""
        return any(self.ends)

    @property
    def groups(self) -> int:
        """Rows of marks: the explosion, the events, and the stop."""
        return 1 + len(self.events) + self.stops

    def drawn(self, program: Program) -> tuple[str, ...]:
        """Which of `kernels.random.variates` paths draw."""
        wanted = {"passage": program.address("arrive"), "wait": self.clocks, "size": any(self.sizes)}
        return tuple(name for name, there in wanted.items() if there)

    def native(self, program: Program, clock: Times) -> kernel.record.Hybrid:
        """Tables and addresses for the loop, on a clock's steps."""
        impulses = [(at, change) for time, change in self.impulses if (at := step_at(clock, time)) >= 0]
        bent = list(program.manifest.get("bent", [])) or [-1] * len(self.ends)
        first = np.cumsum([0, *map(len, self.sizes)])

        def whole(values: Sequence[Any]) -> np.ndarray:
            return np.array(values, dtype=np.int64)

        return kernel.record.Hybrid(
            watch=program.address("watch"),
            arrive=program.address("arrive"),
            change=program.address("change"),
            reach=program.address("reach"),
            levels=len(self.ends),
            bents=sum(row >= 0 for row in bent),
            bent=whole(bent),
            rows=int(first[-1]),
            last=self.groups - 1 if self.stops else 0,
            event_level=whole([level for level, _ in self.events]),
            event_stops=whole([stops for _, stops in self.events]),
            bridged=whole(self.bridged),
            ends=whole(self.ends),
            resets=whole(self.resets),
            stays=whole(self.stays),
            clocks=whole(self.clocks),
            size_first=first.astype(np.int64),
            size_kind=np.array([kind for kinds in self.sizes for kind in kinds], dtype=np.float64),
            impulse_at=whole([at for at, _ in impulses]),
            impulse=whole([change for _, change in impulses]),
        )
