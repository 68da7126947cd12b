"""Runs that several theories of one loss are held against: each made once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sde.verification.one_step_drift import Memory
from sde.verification.runs import Run, Sample, Simulators
from sde.verification.theory_numbers import Theory


class SharedRuns:
    """What simulators gave so far. The theories must agree in their starts and in the states that drifts are measured
    at: a run is known by its kind, start, length and batch. Single steps are as many as the true theory, which comes
    first, took: no wrong one has more."""

    def __init__(self, simulators: Simulators) -> None:
        self._simulators = simulators
        self._samples: dict[tuple[Run, bytes], Sample] = {}
        self._steps: dict[tuple[Run, int, int], np.ndarray] = {}
        self._sums: dict[tuple[bytes, ...], _Sums] = {}

    def simulators(self, theory: Theory, true: bool) -> Simulators:
        """The same runs, for one of the theories."""

        def memory(name: str, decides: tuple[np.ndarray, ...]) -> Memory:
            charges = [a.tobytes() for c in theory.charges for a in (c.A, c.b)]
            return self._sums.setdefault((name.encode(), *charges), _Sums())

        def one_step(run: Run, states: np.ndarray, batch: int) -> np.ndarray | None:
            key = (run, len(states), batch)
            if true and key not in self._steps:
                found = self._simulators.one_step(run, states, batch)
                if found is not None:
                    self._steps[key] = found
            return self._steps.get(key)

        return Simulators(self._sample, one_step, lambda theta: None, memory)

    def _sample(self, run: Run, theta: np.ndarray, saves: np.ndarray) -> Sample:
        key = (run, saves.tobytes())
        if key not in self._samples:
            self._samples[key] = self._simulators.sample(run, theta, saves)
        return self._samples[key]


@dataclass
class _Sums:
    """Of single steps, for charges of the same A and b: theories that differ in their noise alone share them."""

    state: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])

    def load(self) -> dict[str, np.ndarray]:
        return self.state

    def save(self, state: dict[str, np.ndarray]) -> None:
        self.state = state
