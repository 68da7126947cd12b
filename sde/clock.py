"""Time grids: every save lands on a step and the last time is the requested one; nothing is interpolated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

Factor = Callable[[np.ndarray], np.ndarray]
"""The schedule's multiplier of the learning rate at times (K,)."""


@dataclass(frozen=True)
class Grid:
    """time: (K + 1,) time after each number of steps; length: (K,) base step lengths in time; saves: (M,) step numbers to save."""

    time: np.ndarray
    length: np.ndarray
    saves: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.length)


def _count(save_at: Any) -> int | None:
    return int(save_at) if isinstance(save_at, (int, np.integer)) and not isinstance(save_at, bool) else None


def _refuse(where: str, rule: str, got: Any, do: str) -> ValueError:
    return ValueError(f"{where}: {rule}; got {got!r} ({type(got).__name__}). {do}")


MOST_STEPS = 200_000_000
"""Longest grid: its times, steps and scales are held in memory."""


def _affordable(where: str, got: float, count: float, unit: str) -> None:
    if count > MOST_STEPS:
        raise _refuse(where, f"a run has at most {MOST_STEPS} {unit}", got, "Take a larger step or a shorter run.")


def continuous(time: float, dt: float, save_at: int | Sequence[float]) -> Grid:
    """Steps of at most dt on [0, time], shortened evenly between saves so that each save is hit exactly.

    save_at: a count of equally spaced times (both ends included, at least 2) or increasing times within [0, time]; the end is always saved.
    """
    if not (np.isfinite(time) and time > 0):
        raise _refuse("time", "must be positive and finite", time, "Give a length in learning-rate time t = eta*k.")
    if not (np.isfinite(dt) and dt > 0):
        raise _refuse("dt", "must be positive and finite", dt, "Give a step such as the learning rate.")
    if dt > time * (1 + 1e-12):
        raise _refuse("dt", f"must not exceed the time {time}", dt, "Take a smaller step.")
    _affordable("time", time, time / dt, f"steps of dt = {dt}")
    times = _save_times(float(time), save_at)
    ends = np.unique(np.concatenate([[0.0], times]))
    grid, saves, at = [0.0], [0] if times[0] == 0.0 else [], 0
    for left, right in zip(ends[:-1], ends[1:], strict=True):
        n = max(1, ceil((right - left) / dt * (1 - 1e-12)))
        grid += list(left + (right - left) * np.arange(1, n) / n) + [right]
        at += n
        saves.append(at)
    full = np.array(grid)
    return Grid(full, np.diff(full), np.array(saves, dtype=np.int64))


def _save_times(time: float, save_at: int | Sequence[float]) -> np.ndarray:
    count = _count(save_at)
    if count is not None:
        if count < 2:
            raise _refuse("save_at", "a count needs at least 2 times, both ends", save_at, "Give 2 or more.")
        times = np.linspace(0.0, time, count)
        times[-1] = time
        return times
    times = np.asarray(save_at, dtype=np.float64)
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
            f"times must increase within [0, {time}]",
            np.asarray(save_at).tolist(),
            "Sort them and stay inside the run.",
        )
    return times if times[-1] == time else np.append(times, time)


def discrete(steps: int, learning_rate: float, save_at: int | Sequence[float]) -> Grid:
    """k = 0..steps at time eta*k. A count of saves takes the nearest steps to equally spaced ones; given times must be multiples of eta."""
    if isinstance(steps, bool) or not np.isfinite(steps) or int(steps) != steps or steps < 1:
        raise _refuse("steps", "must be a whole number of at least 1", steps, "Give the number of SGD steps.")
    _affordable("steps", steps, steps, "steps")
    count = _count(save_at)
    if count is not None:
        if count < 2:
            raise _refuse("save_at", "a count needs at least 2 times, both ends", save_at, "Give 2 or more.")
        saves = np.unique(np.round(np.linspace(0, steps, count)).astype(np.int64))
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
    return Grid(learning_rate * np.arange(steps + 1), np.full(int(steps), learning_rate), saves)
