"""The runs of a verification: SGD, its SDE and gradient descent on a loss, each with a seed of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.api.simulation import simulate
from sde.api.training import train
from sde.engine import interruption
from sde.engine.checkpoint_folder import Folder, Memory
from sde.engine.interruption import InterruptedWarning
from sde.engine.progress import Phases
from sde.verification import one_step_drift, step_noise
from sde.verification.runs import EVERY, SLOWER, Kind, Run, Sample, Simulators
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory

if TYPE_CHECKING:
    import xarray as xr

APART, LOOK = 0x9E37_79B9_7F4A_7C15, 10**9
"""By which the seeds of one run lie apart from those of the next, so that no verification of another small seed has
them, and those of one look from those of the next."""
MINIBATCH = (Kind.SGD, Kind.EVERY_SGD, Kind.NOISE_SGD, Kind.DRIFT_SGD)


@dataclass(frozen=True)
class Ensembles:
    """What runs are made of. paths: of SGD from each start; sizes: how many there are at each look, where more than
    one is planned."""

    loss: Loss
    sgd: SGD
    theory: Theory
    paths: int
    seed: int
    threads: int | None
    sizes: tuple[int, ...] = ()

    @property
    def _cheap(self) -> bool:
        """Whether a step of the SDE takes a single gradient."""
        return self.theory.noise.source == "features"

    @property
    def _dt(self) -> float:
        """The SDE's step."""
        return self.sgd.learning_rate / 2 if self._cheap else self.sgd.learning_rate

    def _added(self, look: int) -> int:
        """SGD's paths that a look adds."""
        return self.sizes[look] - self.sizes[look - 1] if look else self.paths

    def _few(self, look: int) -> int:
        """The SDE's."""
        return min(self._added(look), 1000 if self._cheap else 128)

    def seeded(self, number: int, look: int = 0) -> int:
        """The seed of a run of that number; every look has its own."""
        return (self.seed + APART * number + LOOK * look) % 2**64

    def _gradients(self, run: Run) -> int:
        """That a step takes."""
        if run.kind in MINIBATCH:
            return self.sgd.batch_size
        return 1 if self._cheap else self.theory.noise.population or 1

    def work(self, run: Run, steps: int) -> float:
        """Gradients that a run is thought to take. steps: of SGD from a start."""
        path_steps: Mapping[Kind, float] = {
            Kind.SGD: self._added(run.look) * steps,
            Kind.EVERY_SGD: 4 * min(steps, EVERY),
            Kind.EVERY_GD: min(steps, EVERY),
            Kind.NOISE_SGD: step_noise.STATES * step_noise.EACH,
            Kind.DRIFT_SGD: one_step_drift.MOST // 4,
            Kind.DRIFT_SDE: one_step_drift.MOST // 4,
            Kind.SDE: self._few(run.look) * steps * self.sgd.learning_rate / self._dt,
            Kind.GD: steps,
        }
        done = path_steps[run.kind] if run.kind in path_steps else SLOWER[run.kind] * steps
        return done * self._gradients(run)

    def simulators(self, names: Sequence[str], shown: Phases, folder: Folder | None) -> Simulators:
        """The runs as functions of a point. names: of the starts."""
        runner = _Runner(self, names, shown, folder)

        def memory(name: str, arrays: tuple[np.ndarray, ...]) -> Memory | None:
            return None if folder is None else folder.memory(name, *arrays)

        return Simulators(runner.sample, runner.one_step, self._resting, memory)

    def _resting(self, theta: np.ndarray) -> np.ndarray | None:
        """The charges at the joint equilibrium, None where there is none."""
        try:
            joint = self.theory.equilibrium(self.loss.unpack(theta), replace(self.sgd, schedule=None)).joint
        except ValueError:
            return None
        if joint is None or not joint.converged:
            return None
        return np.array([c.value(joint.theta) for c in self.theory.charges])


class _Runner:
    """Makes runs: each with its phase in the progress, its checkpoint in the folder, and without warnings of its
    own."""

    def __init__(self, given: Ensembles, names: Sequence[str], shown: Phases, folder: Folder | None) -> None:
        self._given, self._names, self._shown, self._folder = given, names, shown, folder
        self._number, self._asked = count(), interruption.count()

    def sample(self, run: Run, theta: np.ndarray, saves: np.ndarray) -> Sample:
        """States at `saves`, steps of the run's own length, of all paths that did not explode."""
        given, sgd = self._given, self._given.sgd
        target = self._folder.target(f"run-{next(self._number):05}") if self._folder else None
        if run.kind is Kind.SDE:
            times = saves * sgd.learning_rate
            options = {"time": float(times[-1]), "save_at": times, "seed": given.seeded(1000 + run.start, run.look)}
            options |= {"paths": given._few(run.look), "dt": given._dt, "check": False}
            return _sample(given.loss, self._data(run, simulate, sgd, theta, checkpoint=target, **options))
        if run.kind in MINIBATCH:
            first = run.kind is Kind.SGD
            number = 1 + run.start if first else 0
            options = {"paths": given._added(run.look) if first else 4, "seed": given.seeded(number, run.look)}
        else:
            sgd = replace(sgd, learning_rate=sgd.learning_rate * (1.0 / SLOWER.get(run.kind, 1)))
            options = {"paths": 1, "full_batch": True}
        options |= {"steps": int(saves[-1]), "save_at": saves * sgd.learning_rate}
        return _sample(given.loss, self._data(run, train, sgd, theta, checkpoint=target, **options))

    def one_step(self, run: Run, states: np.ndarray, batch: int) -> np.ndarray:
        """A single step from each state (n, D), without schedule."""
        given, single = self._given, replace(self._given.sgd, schedule=None)
        options: dict[str, Any] = {"paths": len(states), "save_at": 2}
        if run.kind is not Kind.DRIFT_SDE:
            number = (5000 if run.kind is Kind.DRIFT_SGD else 7000) + batch
            data = self._data(run, train, single, states, seed=given.seeded(number), steps=1, **options)
        else:
            dt = single.learning_rate / one_step_drift.FINE
            options |= {"time": dt, "dt": dt, "seed": given.seeded(6000 + batch), "check": False}
            data = self._data(run, simulate, single, states, **options)
        return _states(given.loss, data)[:, -1]

    def _data(
        self, run: Run, make: Callable[..., xr.Dataset], sgd: SGD, theta: np.ndarray, **options: Any
    ) -> xr.Dataset:
        given, tick = self._given, self._shown.enter(run.phase(self._names), self._given._gradients(run))
        start = dict(given.loss.unpack(theta))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*paths exploded", category=RuntimeWarning)
            warnings.simplefilter("ignore", InterruptedWarning)
            data = make(given.loss, sgd, start=start, keep="paths", threads=given.threads, progress=tick, **options)
        if data.attrs["interrupted"] or interruption.count() > self._asked:
            raise KeyboardInterrupt
        return data


def _states(loss: Loss, data: xr.Dataset) -> np.ndarray:
    """(paths, times, D)."""
    shape = data.sizes["path"], data.sizes["time"], -1
    return np.concatenate([data[p.name].values.reshape(shape) for p in loss.parameters], axis=2)


def _sample(loss: Loss, data: xr.Dataset) -> Sample:
    states, exploded = _states(loss, data), data.exploded.values
    alive = np.asarray(np.isfinite(states).all(axis=(1, 2)))
    first = float(data.time.values[np.argmax(exploded > 0)]) if exploded[-1] else None
    return Sample(states[alive], data.time.values, int(exploded[-1]), len(alive), first)
