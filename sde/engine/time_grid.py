"""Time grids: every save lands on a step and the last time is the requested one; nothing is interpolated."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from sde.kernels.loop import Clock
from symbolic.errors import InputError, as_real, as_reals, as_whole

Factor = Callable[[np.ndarray], np.ndarray]
"""The schedule's multiplier of the learning rate at times (K,)."""


WINDOW = 1 << 14
"""Steps whose times, lengths and scales are in memory at once, in a run too long to hold them all."""
ONE_WINDOW = 1 << 17
"""Longest run whose steps are all held, in one window."""

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(times (K,), lengths (K,)) of steps -> a number per step. A function of a module or a record, so that it can be sent
to another process."""


def length(time: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The step itself."""
    return length


def root(time: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The standard deviation of a Brownian increment."""
    return np.sqrt(length)


def none(time: np.ndarray, length: np.ndarray) -> np.ndarray:
    """No noise."""
    return np.zeros(len(length))


@dataclass(frozen=True)
class Scheduled:
    """The step times a schedule's factor, over `inertia`."""

    factor: Factor
    inertia: float = 1.0

    def __call__(self, time: np.ndarray, length: np.ndarray) -> np.ndarray:
        return length * (self.factor(time) / self.inertia)


@dataclass(frozen=True)
class Thermal:
    """The noise of minibatch gradients in a step: sqrt(temperature / length)."""

    temperature: float

    def __call__(self, time: np.ndarray, length: np.ndarray) -> np.ndarray:
        return np.sqrt(self.temperature / length)


@dataclass(frozen=True)
class Grid:
    """Times of steps, kept as stretches of equal steps, so that memory does not grow with their number.

    ends: (M + 1,) times at which stretches begin, and the end; firsts: (M + 1,) their step numbers; saves: step numbers
    to save. rate: where given, the time after k steps is rate * k. begin: the time at which the run begins, from which
    the ends count: steps do not depend on it.
    """

    ends: np.ndarray
    firsts: np.ndarray
    saves: np.ndarray
    rate: float | None = None
    begin: float = 0.0

    @property
    def steps(self) -> int:
        return int(self.firsts[-1])

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Times after `steps` steps."""
        return self._passed(steps) + self.begin if self.begin else self._passed(steps)

    def _passed(self, steps: np.ndarray) -> np.ndarray:
        """Times since the beginning."""
        if self.rate is not None:
            return self.rate * np.asarray(steps)
        if len(self.firsts) == 2:
            return np.where(steps == self.firsts[1], self.ends[1], self.ends[0] + self.ends[1] * steps / self.firsts[1])
        stretch = np.minimum(np.searchsorted(self.firsts, steps, side="right") - 1, len(self.firsts) - 2)
        left, right, first = self.ends[stretch], self.ends[stretch + 1], self.firsts[stretch]
        inside = left + (right - left) * (steps - first) / (self.firsts[stretch + 1] - first)
        return np.where(steps == self.firsts[-1], self.ends[-1], inside)

    def lengths(self, begin: int, end: int) -> np.ndarray:
        """Lengths in time of steps begin..end-1."""
        return self.between(begin, end)[1]

    def between(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Times after `begin` to `end` steps, and lengths of the steps between them."""
        passed = self._passed(np.arange(begin, end + 1))
        lengths = np.diff(passed) if self.rate is None else np.full(end - begin, self.rate)
        return (passed + self.begin if self.begin else passed), lengths

    def head(self, steps: int, saves: int) -> Grid:
        """The first `steps` steps, saved at so many times, spread evenly, at the start and after the first."""
        at = np.array(sorted({1, *(round(k * steps / saves) for k in range(saves + 1))}), np.int64)
        inside = self.firsts < steps
        return Grid(
            np.append(self.ends[inside], self._passed(np.array([steps]))),
            np.append(self.firsts[inside], steps),
            at,
            self.rate,
            self.begin,
        )

    def halved(self) -> Grid:
        """Every step in two."""
        return replace(self, firsts=2 * self.firsts, saves=2 * self.saves, rate=self.rate and self.rate / 2)

    @property
    def longest(self) -> float:
        """The longest step in time."""
        return self.rate if self.rate is not None else float((np.diff(self.ends) / np.diff(self.firsts)).max())

    @property
    def time(self) -> np.ndarray:
        """All of the times, (steps + 1,)."""
        return self.at(np.arange(self.steps + 1))

    @property
    def length(self) -> np.ndarray:
        """All of the steps' lengths, (steps,)."""
        return self.lengths(0, self.steps)


class RunClock:
    """A grid with what the loop needs of every step: h and scale by rules of time and length, made a window at a
    time."""

    def __init__(self, grid: Grid, h: Rule, scale: Rule) -> None:
        self.grid, self.h, self.scale = grid, h, scale
        self.steps, self.saves = grid.steps, grid.saves
        self._span = self.steps if self.steps <= ONE_WINDOW else WINDOW
        self._lock, self._made = Lock(), OrderedDict[int, Clock]()

    def __reduce__(self) -> tuple[Any, ...]:
        return RunClock, (self.grid, self.h, self.scale)

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Times after `steps` steps."""
        return self.grid.at(steps)

    def window(self, step: int) -> Clock:
        """The loop's clock over the steps around `step`. Any thread may ask."""
        first = step - step % self._span
        with self._lock:
            clock = self._made.get(first)
            if clock is None:
                clock = self._made[first] = self._make(first, min(first + self._span, self.steps))
                if len(self._made) > MOST_WINDOWS:
                    self._made.popitem(last=False)
        return clock

    def windows(self) -> Iterator[Clock]:
        """All windows in order, to check or to hash them: each made anew, but for the only one."""
        if self.steps <= self._span:
            yield self.window(0)
            return
        for first in range(0, self.steps, self._span):
            yield self._make(first, min(first + self._span, self.steps))

    def _make(self, begin: int, end: int) -> Clock:
        time, length = self.grid.between(begin, end)
        h, scale = self.h(time[:-1], length), self.scale(time[:-1], length)
        return Clock(time, np.asarray(h), np.asarray(scale), self.saves, begin)


class FixedClock:
    """The same of a loop's clock that is there already, from step 0 on."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.steps, self.saves = clock, len(clock.h), clock.saves

    def at(self, steps: np.ndarray) -> np.ndarray:
        return np.asarray(self.clock.time)[steps]

    def window(self, step: int) -> Clock:
        return self.clock

    def windows(self) -> Iterator[Clock]:
        yield self.clock


def _count(save_at: Any) -> int | None:
    return int(save_at) if isinstance(save_at, (int, np.integer)) and not isinstance(save_at, bool) else None


_refuse = InputError.of


MOST_STEPS = 4_000_000_000
"""Longest grid: random numbers are counted by step in 32 bits."""
MOST_WINDOWS, MOST_ROUNDED = 16, 1e-4
ROUNDING = 4 * float(np.finfo(np.float64).eps)
"""How far, as a share of it, a time may lie from the end and be the end."""


def check_affordable(where: str, got: float, count: float, unit: str) -> None:
    """Raise ValueError for more of a unit, steps or so, than a run can have."""
    if count > MOST_STEPS:
        raise _refuse(where, f"a run has at most {MOST_STEPS} {unit}", got, "Take a larger step or a shorter run.")


def check_length(where: str, value: Any, unit: str = "time") -> None:
    """Raise ValueError for what is no length of time; unit: what messages call the time."""
    if (as_real(value) or 0) <= 0:
        advice = f"Give one number, the end in {unit}; runs begin at 0." if where.endswith("time") else "Give a step."
        raise _refuse(where, "must be positive and finite", value, advice)


def check_begin(where: str, begin: float, time: float, dt: float) -> None:
    """Raise ValueError where times so far from 0 are rounded by more than a millionth of a step."""
    if np.spacing(abs(begin) + time) > MOST_ROUNDED * dt:
        rule = f"must be near enough to 0 for steps of {dt:.3g} to be told apart there to {MOST_ROUNDED:g} of one"
        raise _refuse(where, rule, begin, "Count time from a later origin.")


def continuous(
    time: float,
    dt: float,
    save_at: int | Sequence[float],
    jumps: Sequence[float] = (),
    nodes: Sequence[float] = (),
    begin: float = 0.0,
) -> Grid:
    """Steps of at most dt over a length `time` from `begin`, shortened evenly between saves so that each save is hit
    exactly.

    save_at: a count of equally spaced times (both ends included, at least 2), or increasing times within the run; the
    end is always saved. Where a count asks for more saves than there are steps, every step is saved: a count never
    makes steps shorter than dt asks, but for dividing evenly what lies between two saves. jumps: times at which
    coefficients change at once. A step ends just before each and one begins just after, so that none but a very short
    one sees both sides, or the value at the jump itself. nodes: times at which a step ends.
    """
    check_length("time", time)
    check_length("dt", dt)
    if dt > time * (1 + 1e-12):
        raise _refuse("dt", f"must not exceed the time {time}", dt, "Take a smaller step.")
    check_affordable("time", time, time / dt, f"steps of dt = {dt}")
    count = _count(save_at)
    steps = int(np.ceil(time / dt * (1 - 1e-12)))
    if count is not None and count - 1 > steps:
        save_at = steps + 1
    times = _save_times(float(time), save_at, begin)
    ends = times if times[0] == 0 else np.append(0.0, times)
    if len(jumps) or len(nodes):
        ends = np.unique(np.concatenate([ends, _around(float(time), np.subtract(jumps, begin), begin), nodes]))
    counts = np.maximum(1, np.ceil(np.diff(ends) / dt * (1 - 1e-12))).astype(np.int64)
    firsts = np.concatenate([[0], np.cumsum(counts)])
    return Grid(ends, firsts, firsts[np.searchsorted(ends, times)], begin=begin)


NARROW, SAME = 2.0**-20, 1e-12
"""Half the width, as a share of the run, of the step across a jump: more than float32 rounds times by, and too short to
matter; and how far two jumps lie from each other that are one, found twice."""


def _around(time: float, jumps: np.ndarray, begin: float) -> np.ndarray:
    """Times just before and just after every jump of the run."""
    at = np.unique(np.asarray(jumps, dtype=np.float64))
    at = at[(at >= 0) & (at <= time)]
    at = at[np.diff(at, prepend=-np.inf) > SAME * (time + abs(begin))]
    half = min([time * NARROW, *np.diff(np.unique([0.0, *at, time])) / 64])
    return np.concatenate([(at - half)[at > 0], (at + half)[at < time]])


def _save_times(time: float, save_at: int | Sequence[float], begin: float = 0.0) -> np.ndarray:
    """Since the beginning."""
    count = _count(save_at)
    if count is not None:
        if count < 2:
            raise _refuse("save_at", "a count needs at least 2 times, both ends", save_at, "Give 2 or more.")
        times = np.linspace(0.0, time, count)
        times[-1] = time
        return times
    try:
        times = as_reals(save_at)
        times = times - begin if begin else times
    except ValueError:
        times = np.empty(0)
    if times.ndim == 1 and len(times) and 0 < times[-1] - time <= ROUNDING * (time + abs(begin)):
        times[-1] = time  # 3 * 0.1 is 0.30000000000000004
    if (
        times.ndim != 1
        or not len(times)
        or not np.isfinite(times).all()
        or (np.diff(times) <= 0).any()
        or times[0] < 0
        or times[-1] > time
    ):
        raise _refuse(
            "save_at",
            f"times must increase within [{begin:g}, {begin + time}]",
            np.asarray(save_at, dtype=object).tolist(),
            "Give a count, or sorted times inside the run.",
        )
    if times[-1] != time and time - times[-1] <= ROUNDING * (time + abs(begin)):
        times[-1] = time
    return times if times[-1] == time else np.append(times, time)


def discrete(steps: int, learning_rate: float, save_at: int | Sequence[float]) -> Grid:
    """k = 0..steps at time eta*k. A count of saves takes the nearest steps to equally spaced ones; given times must be
    multiples of eta."""
    if (as_whole(steps) or 0) < 1:
        raise _refuse("steps", "must be a whole number of at least 1", steps, "Give the number of SGD steps.")
    check_affordable("steps", steps, steps, "steps")
    count = _count(save_at)
    if count is not None:
        if count < 2:
            raise _refuse("save_at", "a count needs at least 2 times, both ends", save_at, "Give 2 or more.")
        saves = np.unique(np.round(np.linspace(0, steps, min(count, steps + 1))).astype(np.int64))
    else:
        exact = _save_times(steps * learning_rate * (1 + 1e-9), save_at)[: np.size(save_at)] / learning_rate
        saves = np.round(exact).astype(np.int64)
        if np.abs(exact - saves).max() > 1e-6 or (np.diff(saves) <= 0).any() or saves[-1] > steps:
            raise _refuse(
                "save_at",
                f"times of discrete SGD must be multiples of the learning rate {learning_rate}",
                np.asarray(save_at).tolist(),
                "Give eta*k for whole k.",
            )
        saves = saves if saves[-1] == steps else np.append(saves, steps)
    return Grid(np.array([0.0, learning_rate * steps]), np.array([0, int(steps)]), saves, learning_rate)
