"""The runs of a verification: which there are, in which order they are made, and what those made so far gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Protocol

import numpy as np

from sde.verification import one_step_drift, step_noise
from sde.verification.experiment import Experiment
from sde.verification.one_step_drift import Drift, Memory
from sde.verification.step_noise import StepNoise

EVERY = 10_000
"""Most steps whose identities are looked at one by one."""


class Kind(Enum):
    """What is run; the text is what progress calls it."""

    SGD = "SGD from {}"
    NOISE_SGD = "noise of SGD's single steps"
    EVERY_SGD = "every single step of SGD"
    EVERY_GD = "every single step of gradient descent"
    DRIFT_SGD = "mean drift of SGD"
    DRIFT_SDE = "mean drift of the SDE"
    SDE = "SDE from {}"
    GD = "gradient descent from {}"
    QUARTER_GD = "gradient descent with smaller steps, eta/4"
    EIGHTH_GD = "gradient descent with smaller steps, eta/8"


SLOWER = {Kind.QUARTER_GD: 4, Kind.EIGHTH_GD: 8}
"""Gradient descent whose steps are so much smaller than the learning rate, over the same time."""
ORDER = (
    (Kind.SGD,),
    (Kind.NOISE_SGD,),
    (Kind.EVERY_SGD, Kind.EVERY_GD),
    (Kind.DRIFT_SGD, Kind.DRIFT_SDE),
    (Kind.SDE, Kind.GD),
    (Kind.QUARTER_GD, Kind.EIGHTH_GD),
)
"""Stages of a verification; in each, runs go start by start."""


@dataclass(frozen=True)
class Run:
    """One run. start: its number, of those that an experiment has; look: 0, or which one adds these paths to it."""

    kind: Kind
    start: int = 0
    look: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        """By which runs are ordered."""
        stage = next(i for i, kinds in enumerate(ORDER) if self.kind in kinds)
        return stage, self.start, ORDER[stage].index(self.kind)

    def phase(self, names: Sequence[str]) -> str:
        """What progress calls it. names: of the starts."""
        return self.kind.value.format(names[self.start]) + f", look {self.look + 1}" * (self.look > 0)


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Each once, in the order in which they are made."""
    return sorted(set(runs), key=lambda run: run.rank)


def from_every_start(experiment: Experiment, kind: Kind) -> tuple[Run, ...]:
    """A run of one kind from each start."""
    return tuple(Run(kind, k) for k in range(len(experiment.starts)))


@dataclass(frozen=True)
class Sample:
    """States of one run: (paths, times, D) at times (times,), exploded paths dropped and counted; first: time of the
    first of them."""

    states: np.ndarray
    time: np.ndarray
    exploded: int
    total: int
    first: float | None

    def joined(self, other: Sample) -> Sample:
        """With the paths of another, at the same times."""
        firsts = [first for first in (self.first, other.first) if first is not None]
        exploded, total = self.exploded + other.exploded, self.total + other.total
        states = np.concatenate([self.states, other.states])
        return Sample(states, self.time, exploded, total, min(firsts, default=None))


class Sampler(Protocol):
    """Runs from theta (D,), saved at those steps of the run's own length."""

    def __call__(self, run: Run, theta: np.ndarray, saves: np.ndarray, /) -> Sample: ...


@dataclass(frozen=True)
class Simulators:
    """How to run things.

    one_step(run, states (n, D), number of the batch): a single step from each state, without schedule; None where
    there are no more.
    equilibrium(theta): the charges at the joint equilibrium of its orbit. memory(name, arrays that decide what is kept
    there): None where nothing is kept.
    """

    sample: Sampler
    one_step: Callable[[Run, np.ndarray, int], np.ndarray | None]
    equilibrium: Callable[[np.ndarray], np.ndarray | None]
    memory: Callable[[str, tuple[np.ndarray, ...]], Memory | None] = lambda name, arrays: None


class Evidence:
    """What the runs made so far gave, as plain arrays."""

    def __init__(self, experiment: Experiment, simulators: Simulators) -> None:
        self.experiment, self.simulators = experiment, simulators
        self._samples: dict[Run, Sample] = {}
        self._drifts: dict[Run, Drift] = {}
        self._noise: dict[Run, StepNoise] = {}

    def holds(self, runs: Iterable[Run]) -> bool:
        """Whether all of them are made."""
        return all(run in self._samples or run in self._drifts or run in self._noise for run in runs)

    def make(self, run: Run) -> None:
        """Make a run; those that come before it in the order, and that it needs, are made."""
        given = self.experiment
        if run.kind in (Kind.DRIFT_SGD, Kind.DRIFT_SDE):
            self._drifts[run] = self._drift(run)
            return
        if run.kind is Kind.NOISE_SGD:
            states = step_noise.visited(self._before, np.array(given.starts))
            self._noise[run] = step_noise.measure(states, lambda many: self.simulators.one_step(run, many, 0))
            return
        if run.kind in SLOWER:
            saves = np.array([0, SLOWER[run.kind] * given.steps])
        elif run.kind in (Kind.EVERY_SGD, Kind.EVERY_GD):
            saves = np.arange(min(given.steps, EVERY) + 1)
        else:
            saves = given.recorded
        self._samples[run] = self.simulators.sample(run, given.starts[run.start], saves)

    def extend(self, run: Run, look: int) -> None:
        """Add the paths of a further look to a run that is made."""
        given = self.experiment
        more = self.simulators.sample(replace(run, look=look), given.starts[run.start], given.recorded)
        self._samples[run] = self._samples[run].joined(more)
        self.__dict__.pop("pool", None)

    def recorded(self, kind: Kind, start: int = 0) -> Sample:
        """A run from a start at all that was recorded of it."""
        return self._samples[Run(kind, start)]

    def sample(self, kind: Kind, start: int = 0) -> Sample:
        """The same at the saves of the theory's own claims; other runs whole."""
        found, given = self.recorded(kind, start), self.experiment
        if not given.asked or kind not in (Kind.SGD, Kind.SDE, Kind.GD):
            return found
        at = np.searchsorted(given.recorded, given.saves)
        return replace(found, states=found.states[:, at], time=found.time[at])

    def drift(self, kind: Kind) -> Drift:
        return self._drifts[Run(kind)]

    @cached_property
    def pool(self) -> np.ndarray:
        """States of SGD from every start, (paths, saves, D)."""
        return np.concatenate([self.sample(Kind.SGD, k).states for k in range(len(self.experiment.starts))])

    @property
    def step_noise(self) -> StepNoise:
        """Single steps of SGD, many from each state."""
        return self._noise[Run(Kind.NOISE_SGD)]

    @property
    def _before(self) -> np.ndarray:
        """The states of the pool from which steps are looked at, (n, D)."""
        return self.pool[:, self.experiment.before].reshape(-1, self.pool.shape[2])

    @cached_property
    def visited(self) -> np.ndarray:
        """States from which drifts are measured, (n, D)."""
        given = self.experiment
        pool = np.concatenate([self._before, given.starts])
        return one_step_drift.visited(given.chooser or given.theory, given.setting, pool)

    def _drift(self, run: Run) -> Drift:
        given, setting = self.experiment, self.experiment.setting
        who, h, variance, least = "SGD", setting.learning_rate, setting.variance, setting.seen
        if run.kind is Kind.DRIFT_SDE:
            dt = setting.learning_rate / one_step_drift.FINE
            who, h, variance, least = "SDE", dt * setting.speed, setting.temperature / dt, 0
        theory, margin = given.theory, given.margins.drift
        predicted = one_step_drift.predict(theory, self.visited, h, variance)
        decides = (predicted.states, predicted.change, predicted.size, np.array([margin, *theory.moving]))
        memory = self.simulators.memory(f"changes-{who}", decides)

        def step(states: np.ndarray, batch: int) -> np.ndarray | None:
            return self.simulators.one_step(run, states, batch)

        return one_step_drift.measure(theory, predicted, step, margin, memory, least)
