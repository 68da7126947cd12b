"""Ends of paths under SGD, its two SDEs and SVAG, for a comparison: one compiled program for both SDEs, one for all of
SVAG's factors, at any learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import sympy as sp

from sde.api import starts
from sde.engine import ensemble, inputs, interruption, time_grid
from sde.engine.accumulators.explosions import Explosions
from sde.engine.plan import Plan
from sde.engine.program import load
from sde.engine.progress import Tick
from sde.engine.time_grid import RunClock
from sde.estimators.control_variates import Controlled
from sde.kernels.drivers import Driver
from symbolic.codegen.prepare import Prepared, prepare
from symbolic.codegen.sharing import MOST_TEXT, TooLong
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.martingales import MartingaleDynamics
from symbolic.dynamics.modified import ModifiedDynamics, PairedDynamics
from symbolic.errors import InputError
from symbolic.problem.features import features
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.sampling import SamplingPlan, sampling_plan

SHIFT = 40
"""Streams of paths lie 2**SHIFT path numbers apart."""
BATCH_BYTES = 1 << 25
LARGEST = 1e100
WINDOWS = 4
"""Of time, in each of which what has mean 0 is summed by itself: how much of it an observable keeps varies."""
MOST_PAIRS = 2**22
"""Most pairs of rows that SVAG draws from."""
RICHARDSON = ((1, 1 / 3), (2, -2.0), (4, 8 / 3))
"""(steps per step of the longest, weight): the sum has no bias of order dt or dt^2 (Talay and Tubaro 1990)."""
EFFORT = sum(n for n, _ in RICHARDSON)


class Lost(Exception):
    """A path left the bound, or an observable was no number."""


@dataclass(frozen=True)
class Dynamics:
    """What is run: kind "sgd"; "euler", the order-1 SDE's coarsest scheme, a step of which is one of SGD with a normal
    minibatch; "sde", an SDE's ends less those of that scheme on the same Brownian path; or "svag". number: an SDE's
    order, or SVAG's factor."""

    kind: str
    number: int = 1

    def cost(self, steps: int, substeps: int) -> int:
        """Path-steps of one path over `steps` steps of SGD."""
        each = {"sgd": 1, "euler": substeps, "sde": (EFFORT + self.number - 1) * substeps, "svag": 2 * self.number}
        return steps * each[self.kind]


SGD_ITSELF, EULER = Dynamics("sgd"), Dynamics("euler")

LEAST_TEXT = 100
"""Characters, at the least, that the SDEs take for a row and a parameter: what is certain before they are written."""


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
        try:
            self._prepared: dict[str, Prepared] = {
                kind: prepare(loss, "sgd", observables, "float64", partial(_carrying, dynamics, observables))
                for kind, dynamics in (("sgd", LossDynamics), ("sde", ModifiedDynamics), ("svag", PairedDynamics))
            }
        except TooLong as error:
            if (rows := rows_in_text(loss)) is None:
                raise
            raise too_many_rows(rows, rows * MOST_TEXT // error.length) from None
        manifest = self._prepared["sgd"].module.manifest
        self._start = starts.reader(loss.parameters, start, 0, seed, len(manifest["states"]))
        outputs = self._prepared["sgd"].outputs
        self._last_row = sum(int(np.prod(o.shape, dtype=int)) for o in outputs)
        self._first_row = loss.dimension
        self.rows = len(manifest["observables"])
        self.windows = WINDOWS if self.rows > self._last_row else 0
        self._batch = max(1024, BATCH_BYTES // (8 * self.rows * max(self.windows, 1)))

    @property
    def labels(self) -> list[str]:
        """Names of the observables' rows, (F,)."""
        return list(self._prepared["sgd"].module.manifest["observables"])[self._first_row : self._last_row]

    @property
    def no_svag(self) -> str | None:
        """Why SVAG cannot be run, if so."""
        table = next((b.table for b in self.loss.used if b.table is not None), None)
        if not self.sgd.replacement and table is not None:
            return "its two minibatches are independent, and this SGD draws without replacement"
        if table is not None and len(table) ** 2 > MOST_PAIRS:
            return f"it draws pairs of rows, at most {MOST_PAIRS} of them; the data set has {len(table)} rows"
        return None

    def sample(self, what: Dynamics, steps: int, stream: int, first: int, count: int, tick: Tick | None) -> Controlled:
        """Moments of the observables, and of what has mean 0 beside them, over paths first..first + count - 1 of a
        stream, `steps` steps of SGD long. Raises Lost, KeyboardInterrupt."""
        values = self._last_row - self._first_row
        found = Controlled.none(values)
        for begin in range(first, first + count, self._batch):
            some = min(self._batch, first + count - begin)
            rows = self._rows(what, steps, (stream << SHIFT) + begin, some, tick)
            if not (np.abs(rows) < LARGEST).all():
                raise Lost("an observable that is no number, or too large to square, on a path")
            sums = np.diff(rows[:, values:], axis=0, prepend=0.0) if self.windows else rows[:0, values:]
            common = max(self.rows - self._last_row - values, 0)
            found = found.merge(Controlled.of(rows[-1, :values], sums, common, begin))
        return found

    def _rows(self, what: Dynamics, steps: int, first: int, count: int, tick: Tick | None) -> np.ndarray:
        """Observables and carried sums at the ends of windows, (windows, F + Q, count); of an SDE's difference from its
        scheme the sums of both, but for those of the noise, which they share."""
        rate = self.time / steps
        sgd = replace(self.sgd, learning_rate=rate)
        decay, prepared = sgd.weight_decay, self._prepared["sde" if what.kind == "euler" else what.kind]
        temperature = sgd.rates(self.loss).temperature
        saves = np.round(np.arange(1, max(self.windows, 1) + 1) * steps / max(self.windows, 1)) / steps * self.time

        def run(driver: Driver, count_steps: int, scale: time_grid.Rule, own: Sequence[float]) -> np.ndarray:
            spread = [temperature * count_steps / self.time] if self.windows else []
            numbers = np.array([decay, *own, *spread])
            grid = time_grid.continuous(self.time, self.time / count_steps, saves.tolist())
            return self._run(prepared, driver, RunClock(grid, time_grid.length, scale), numbers, first, count, tick)

        if what.kind == "sgd":
            return run(inputs.minibatch(prepared, sgd, "float64"), steps, time_grid.none, [])
        if what.kind == "svag":
            root = np.sqrt(2 * what.number - 1)
            driver = inputs.minibatch(_Paired(None, None, self._pairs), sgd, "float64")
            return run(driver, steps * what.number, time_grid.none, [(1 + root) / 2, (1 - root) / 2])

        def sde(level: int, finest: int, correction: float) -> np.ndarray:
            driver = inputs.brownian(prepared.mean, prepared.factor, "float64", finest // level)
            count_steps = steps * self.substeps * level
            return run(driver, count_steps, time_grid.Thermal(temperature), [correction])

        coarse = sde(1, 1 if what.kind == "euler" else RICHARDSON[-1][0], 0.0)
        if what.kind == "euler":
            return coarse
        total: Any = 0.0
        for level, weight in RICHARDSON:
            same = level == 1 and what.number == 1
            found = coarse if same else sde(level, RICHARDSON[-1][0], rate if what.number == 2 else 0.0)
            total = total + weight * found
        values = self._last_row - self._first_row
        own = max(coarse.shape[1] - values, values)  # the observables' own sums stand last
        return np.concatenate([total[:, :values] - coarse[:, :values], total[:, own:], coarse[:, values:]], axis=1)

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
        clock: RunClock,
        parameters: np.ndarray,
        first: int,
        count: int,
        tick: Tick | None,
    ) -> np.ndarray:
        plan = Plan(
            program=load(prepared.module.text, prepared.module.manifest),
            driver=driver,
            clock=clock,
            parameters=np.concatenate([parameters, prepared.table]),
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
        return run.kept[:, self._first_row :].astype(np.float64)


def _carrying(inner: type[LossDynamics], observables: Mapping[str, Any], loss: Loss) -> LossDynamics:
    """Dynamics that carry control variates of the observables, for a loss that is polynomial in its data."""
    moved = inner(loss)
    if moved.features is None:
        return moved
    entries = [e for value in observables.values() for e in np.ravel(np.array(_listed(value), dtype=object))]
    return MartingaleDynamics(moved, [sp.sympify(e, strict=True) for e in entries])


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, (sp.MatrixBase, sp.NDimArray)) else value


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


def rows_in_text(loss: Loss) -> int | None:
    """Rows of a data set that the SDEs' text spells out one by one; None where moments stand for them."""
    return None if features(loss) is not None else loss.population


def too_many_rows(rows: int, most: int) -> InputError:
    """That the text of the SDEs is too long, and for how many rows it is not."""
    rule = f"spells out every row of data, as the loss is no polynomial in them: at most about {most} rows here"
    advice = "Give a sample of so many rows, or a loss that is polynomial in its data."
    return InputError.of("compare.loss", rule, f"{rows} rows", advice)


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
    rows = rows_in_text(loss)
    if rows is not None and rows * loss.dimension * LEAST_TEXT > MOST_TEXT:
        raise too_many_rows(rows, max(1, MOST_TEXT // (loss.dimension * LEAST_TEXT)))
