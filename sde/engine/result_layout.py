"""What a result is written in: its variables, times and names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Variable:
    """One output: its name, own shape, and how many observable rows it takes (row-major)."""

    name: str
    shape: tuple[int, ...]

    @property
    def rows(self) -> int:
        return int(np.prod(self.shape, dtype=int))

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{axis}" for axis in range(len(self.shape)))


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
