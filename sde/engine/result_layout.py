"""What a result is written in: its variables, times and names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np


@dataclass(frozen=True)
class Variable:
    """One output: its name, own shape, and how many observable rows it takes (row-major)."""

    name: str
    shape: tuple[int, ...]

    @property
    def rows(self) -> int:
        return prod(self.shape)

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{axis}" for axis in range(len(self.shape)))


@dataclass(frozen=True)
class Columns:
    """What is written path by path. saves: how many; events: names."""

    variables: tuple[Variable, ...]
    saves: int
    events: tuple[str, ...]

    def described(self, dtype: np.dtype) -> dict[str, tuple[tuple[str, ...], tuple[int, ...], np.dtype]]:
        """{name: (dims, shape, number type)} of one path. dtype: of the saves."""
        saved = {v.name: (("time", *v.dims), (self.saves, *v.shape), dtype) for v in self.variables}
        numbers = ("explosion_time", "explosion_value", *(f"{e}_time" for e in self.events))
        alone = {name: ((), (), np.dtype(np.float64)) for name in numbers}
        return {**saved, "path": ((), (), np.dtype(np.int64)), **alone}

    def values(
        self, first: int, rows: np.ndarray, left: np.ndarray, value: np.ndarray, time: np.ndarray
    ) -> dict[str, np.ndarray]:
        """{name: (n, ...)} of paths first..first + n - 1: rows (saves, O, n), times and values of explosions (n,),
        times of events (E, n)."""
        n, at = rows.shape[2], 0
        values: dict[str, np.ndarray] = {"path": np.arange(first, first + n), "explosion_value": value}
        values["explosion_time"] = left
        values |= {f"{e}_time": time[k] for k, e in enumerate(self.events)}
        for v in self.variables:
            share = np.moveaxis(rows[:, at : at + v.rows], 2, 0)
            values[v.name] = share.reshape(n, self.saves, *v.shape)
            at += v.rows
        return values


@dataclass(frozen=True)
class ResultLayout:
    """What a result is written in. variables: in row order; states: the names of state rows; time: step numbers ->
    times; saves: step numbers; events: names; covariance: names of the rows chosen; histograms: {variable: edges}."""

    variables: Sequence[Variable]
    states: Sequence[str]
    time: Callable[[np.ndarray], np.ndarray]
    saves: np.ndarray
    events: Sequence[str] = ()
    covariance: Sequence[str] = ()
    histograms: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def columns(self) -> Columns:
        """Of it, what a path has."""
        return Columns(tuple(self.variables), len(self.saves), tuple(self.events))
