"""Ends of paths under SGD, its two SDEs and SVAG, for a comparison: one compiled program for both SDEs, one for all of
SVAG's factors, at any learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sde.api import starts
from sde.engine import ensemble, inputs, interruption, time_grid
from sde.engine.accumulators.explosions import Explosions
from sde.engine.plan import Plan
from sde.engine.program import load
from sde.engine.progress import Tick
from sde.engine.time_grid import RunClock
from sde.estimators.weak_error import Sample
from sde.kernels.drivers import Driver
from symbolic.codegen.prepare import Prepared, prepare
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.modified import ModifiedDynamics, PairedDynamics
from symbolic.errors import InputError
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.sampling import SamplingPlan, sampling_plan

SHIFT = 40
"""Streams of paths lie 2**SHIFT path numbers apart."""
BATCH_BYTES = 1 << 25
LARGEST = 1e100
MOST_PAIRS = 2**22
"""Most pairs of rows that SVAG draws from."""
RICHARDSON = ((1, 1 / 3), (2, -2.0), (4, 8 / 3))
"""(steps per step of the longest, weight): the sum has no bias of order dt or dt^2 (Talay and Tubaro 1990)."""
EFFORT = sum(n for n, _ in RICHARDSON)


class Lost(Exception):
    """A path left the bound, or an observable was no number."""


@dataclass(frozen=True)
class Dynamics:
    """What moves: kind "sgd", "sde" or "svag". number: an SDE's order, or SVAG's factor."""

    kind: str
    number: int = 1

    def cost(self, steps: int, substeps: int) -> int:
        """Path-steps of one path over `steps` steps of SGD."""
        return steps * {"sgd": 1, "sde": EFFORT * substeps, "svag": 2 * self.number}[self.kind]


SGD_ITSELF = Dynamics("sgd")


@dataclass(frozen=True)
class _Paired:
    """What a minibatch of pairs takes of a problem."""

    mean: None
    factor: None
    plan: SamplingPlan


class PathEnds:
    """Observables at the end of paths. substeps: steps of the SDE's longest step within one of SGD."""

    def __init__(
        self,
        loss: Loss,
        sgd: SGD,
        observables: Mapping[str, Any],
        *,
        start: Mapping[Any, Any],
        time: float,
        seed: int,
        substeps: int,
        threads: int | None,
    ) -> None:
        self.loss, self.sgd, self.time, self.seed = loss, sgd, time, seed
        self.substeps, self.threads = substeps, threads
        self._asked = interruption.count()
        self._prepared: dict[str, Prepared] = {
            kind: prepare(loss, "sgd", observables, "float64", dynamics)
            for kind, dynamics in (("sgd", LossDynamics), ("sde", ModifiedDynamics), ("svag", PairedDynamics))
        }
        self._start = starts.reader(loss.parameters, start, 0, seed, loss.dimension)
        outputs = self._prepared["sgd"].outputs
        self.rows = sum(int(np.prod(o.shape, dtype=int)) for o in outputs)
        self._first_row = self.rows - sum(int(np.prod(o.shape, dtype=int)) for o in outputs if o.name in observables)
        self._batch = max(1024, BATCH_BYTES // (8 * self.rows))

    @property
    def labels(self) -> list[str]:
        """Names of the observables' rows, (F,)."""
        return list(self._prepared["sgd"].module.manifest["observables"])[self._first_row :]

    @property
    def no_svag(self) -> str | None:
        """Why SVAG cannot be run, if so."""
        table = next((b.table for b in self.loss.used if b.table is not None), None)
        if not self.sgd.replacement and table is not None:
            return "its two minibatches are independent, and this SGD draws without replacement"
        if table is not None and len(table) ** 2 > MOST_PAIRS:
            return f"it draws pairs of rows, at most {MOST_PAIRS} of them; the data set has {len(table)} rows"
        return None

    def sample(self, what: Dynamics, steps: int, stream: int, first: int, count: int, tick: Tick | None) -> Sample:
        """Moments of the observables over paths first..first + count - 1 of a stream, `steps` steps of SGD long.
        Raises Lost, KeyboardInterrupt."""
        found = Sample.none(self.rows - self._first_row)
        for begin in range(first, first + count, self._batch):
            some = min(self._batch, first + count - begin)
            values = self._values(what, steps, (stream << SHIFT) + begin, some, tick)
            if not (np.abs(values) < LARGEST).all():
                raise Lost("an observable that is no number, or too large to square, on a path")
            found = found.merge(Sample.of(values))
        return found

    def _values(self, what: Dynamics, steps: int, first: int, count: int, tick: Tick | None) -> np.ndarray:
        """(F, count)."""
        rate = self.time / steps
        sgd = replace(self.sgd, learning_rate=rate)
        decay, prepared = sgd.weight_decay, self._prepared[what.kind]
        if what.kind == "sgd":
            driver = inputs.minibatch(prepared, sgd, "float64")
            return self._run(prepared, driver, steps, time_grid.none, np.array([decay]), first, count, tick)
        if what.kind == "svag":
            root = np.sqrt(2 * what.number - 1)
            shares = np.array([decay, (1 + root) / 2, (1 - root) / 2])
            driver = inputs.minibatch(_Paired(None, None, self._pairs), sgd, "float64")
            return self._run(prepared, driver, steps * what.number, time_grid.none, shares, first, count, tick)
        thermal = time_grid.Thermal(sgd.rates(self.loss).temperature)
        values = np.array([decay, rate if what.number == 2 else 0.0])
        total: Any = 0.0
        for level, weight in RICHARDSON:
            driver = inputs.brownian(prepared.mean, prepared.factor, "float64", RICHARDSON[-1][0] // level)
            fine = steps * self.substeps * level
            total = total + weight * self._run(prepared, driver, fine, thermal, values, first, count, tick)
        return total

    @property
    def _pairs(self) -> SamplingPlan:
        """How two independent samples are drawn at once."""
        dynamics = self._prepared["sgd"].dynamics
        assert isinstance(dynamics, LossDynamics)
        return paired(sampling_plan(self.loss.blocks, dynamics.accumulation.z))

    def _run(
        self,
        prepared: Prepared,
        driver: Driver,
        steps: int,
        scale: time_grid.Rule,
        parameters: np.ndarray,
        first: int,
        count: int,
        tick: Tick | None,
    ) -> np.ndarray:
        grid = time_grid.continuous(self.time, self.time / steps, [self.time])
        plan = Plan(
            program=load(prepared.module.text, prepared.module.manifest),
            driver=driver,
            clock=RunClock(grid, time_grid.length, scale),
            parameters=parameters,
            start=self._start,
            paths=count,
            seed=self.seed,
            bound=ensemble.BOUND["float64"],
            keep=True,
            first=first,
        )
        run = ensemble.run(plan, self.threads, tick)
        if run.interrupted or interruption.count() > self._asked:
            raise KeyboardInterrupt
        if (explosions := run.total[Explosions]).count:
            raise Lost(f"{explosions.count} of {count} paths lost")
        return run.kept[-1, self._first_row :].astype(np.float64)


def paired(plan: SamplingPlan) -> SamplingPlan:
    """Two independent draws, the entries of the second after those of the first; of rows, all pairs."""
    entries = len(plan.table_rows) + len(plan.drawn_rows)
    table = plan.table
    if table is not None:
        one, two = np.divmod(np.arange(len(table) ** 2), len(table))
        table = np.concatenate([table[one], table[two]], axis=1)
    m, n = plan.mixing, plan.normals
    none = np.zeros_like(m)
    mixing = np.block([[m[:, :n], none[:, :n], m[:, n:], none[:, n:]], [none[:, :n], m[:, :n], none[:, n:], m[:, n:]]])
    return SamplingPlan(
        table,
        np.concatenate([plan.table_rows, plan.table_rows + entries]),
        2 * n,
        np.tile(plan.chance, 2),
        np.tile(plan.location, 2),
        mixing,
        np.concatenate([plan.drawn_rows, plan.drawn_rows + entries]),
    )


def refuse_unknown(loss: Loss, sgd: SGD) -> None:
    """Raise InputError for an SGD whose SDEs are not those of the comparison."""
    if sgd.momentum:
        raise InputError.of(
            "compare.sgd", "is for SGD without momentum, whose SDEs are known", sgd.momentum, "Use momentum=0."
        )
    if sgd.schedule is not None:
        rule = "needs one learning rate, as the ladder multiplies it"
        raise InputError.of("compare.sgd", rule, str(sgd.schedule), "Leave the schedule out.")
    sgd.rates(loss)
