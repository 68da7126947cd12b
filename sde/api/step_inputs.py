"""What moves the paths of a run: the driver of its steps, what scales them, and the constants of its formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import sympy as sp

from sde.api import sweep
from sde.engine import inputs, time_grid
from sde.engine.initial_states import InitialStates
from sde.engine.pilot import PATHS, Field, Pilot, pilot
from sde.engine.time_grid import Grid, Rule, RunClock
from sde.kernels.drivers import Driver
from symbolic.arrays.evaluation import evaluate
from symbolic.arrays.expression import Array
from symbolic.codegen.prepare import Prepared
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.functions.numeric import Numeric
from symbolic.problem.optimizer import SGD
from symbolic.schemes import SIZE, Scheme


@dataclass(frozen=True)
class Motion:
    """driver(refine): the driver of a step whose noise is that of `refine` finer ones, None where noise cannot be
    refined; h, scale: per step by time and length; values: numbers of the formula's parameters, (P,)."""

    driver: Callable[[int], Driver]
    h: Rule
    scale: Rule
    values: np.ndarray
    couples: bool

    def clock(self, grid: Grid) -> RunClock:
        """The clock of a run on this grid."""
        return RunClock(grid, self.h, self.scale)


def _kept(prepared: Prepared, of: Any, make: Callable[[int], Driver]) -> Callable[[int], Driver]:
    """make(refine), or what an earlier run of the same problem has made, so that it takes that one's loops too."""

    def driver(refine: int) -> Driver:
        found = prepared.drivers.get((of, refine))
        return prepared.drivers.setdefault((of, refine), make(refine)) if found is None else found

    return driver


def of_sde(
    problem: SDE, prepared: Prepared, scheme: Scheme, dtype: str, values: np.ndarray, tolerance: float | None = None
) -> Motion:
    """Brownian increments; tolerance: of a scheme that estimates its error."""
    if tolerance is not None:
        halved = inputs.halved(prepared.factor, dtype, tolerance, values[-1])
        return Motion(lambda refine: halved, time_grid.length, time_grid.length, values, False)
    if scheme.own_clock:
        driver = inputs.adaptive(prepared.factor, dtype)
        return Motion(lambda refine: driver, time_grid.length, time_grid.length, values, False)

    of, modes, noises = (prepared.mean, prepared.factor, dtype), prepared.modes, problem.noises
    brownian = _kept(prepared, (dtype, noises), partial(inputs.brownian, *of, modes=modes, channels=noises))
    return Motion(brownian, time_grid.length, time_grid.root, values, True)


def of_loss(prepared: Prepared, sgd: SGD, dtype: str) -> Motion:
    """The noise of minibatch gradients as the SDE sees it: in the features, or in the weights of a data set's rows."""
    assert isinstance(prepared.dynamics, LossDynamics)
    noise = _kept(prepared, dtype, partial(inputs.noise, prepared, dtype))
    noise(1)
    r = sgd.rates(prepared.dynamics.loss)
    return Motion(
        noise,
        time_grid.Scheduled(sgd.factor, r.inertia),
        time_grid.Thermal(r.temperature),
        np.array([r.weight_decay]),
        prepared.mean is not None,
    )


def of_sgd(prepared: Prepared, sgd: SGD, dtype: str, full_batch: bool) -> Motion:
    """Minibatches, or the mean gradient."""
    driver = inputs.full_batch(prepared, dtype) if full_batch else inputs.minibatch(prepared, sgd, dtype)
    values = np.array([sgd.weight_decay, sgd.momentum] if sgd.momentum else [sgd.weight_decay])
    return Motion(
        lambda refine: driver,
        time_grid.Scheduled(sgd.factor),
        time_grid.none,
        values,
        False,
    )


class Coefficients:
    """An SDE's drift (D, n) and diffusion (D, J, n) as NumPy functions of states (D, n) and times (n,); parameters: a
    number each, or (n,). Raises ValueError for what has no form."""

    def __init__(self, sde: SDE, parameters: Sequence[Any] | np.ndarray) -> None:
        symbols = (*sde.states, time_symbol, *sde.parameters)
        self._sde, self._parameters, self._shape = sde, parameters, sde.diffusion_matrix.shape
        self._drift = Numeric(list(sde.drift_vector), symbols)
        self._diffusion = Numeric(list(sde.diffusion_matrix), symbols)

    def drift(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self._drift([*x, t, *self._parameters])

    def diffusion(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self._diffusion([*x, t, *self._parameters]).reshape(*self._shape, -1)

    def formulas(self, named: Mapping[str, sp.Expr]) -> tuple[Field, list[str]]:
        """Other formulas of states and time, as a function, and the name of each row; Brownian motions are 0. Raises
        ValueError."""
        sde = self._sde
        of = Numeric(list(named.values()), (*sde.states, time_symbol, *sde.parameters, *sde.W))
        return lambda x, t: of([*x, t, *self._parameters, *[0.0] * len(sde.W)]), list(named)


class ArrayCoefficients:
    """The same of an equation of arrays; the diffusion of a diagonal noise is its diagonal, (D, n)."""

    def __init__(self, sde: ArraySDE, parameters: np.ndarray) -> None:
        self._sde, self._parameters = sde, dict(zip(sde.parameters, parameters, strict=True))

    def drift(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self._values(self._sde.forces, x, t)

    def diffusion(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self._values(self._sde.strengths, x, t, *((self._sde.shared,) if self._sde.shared else ()))

    def formulas(self, named: Mapping[str, Array]) -> tuple[Field, list[str]]:
        """As `Coefficients.formulas`; a row for each entry."""
        nodes = list(named.values())
        return lambda x, t: self._values(nodes, x, t), [name for name, n in named.items() for _ in range(n.size)]

    def _values(self, nodes: Sequence[Array], x: np.ndarray, t: np.ndarray, *tail: int) -> np.ndarray:
        n, at, values = x.shape[1], 0, dict[Any, Any](self._parameters) | {time_symbol: t}
        for s in self._sde.states:
            values[s] = x[at : at + s.size].T.reshape(n, *s.shape)
            at += s.size
        return np.concatenate([np.moveaxis(v, 0, -1).reshape(-1, *tail, n) for v in evaluate(nodes, values, n)])


def along_paths(
    of: Coefficients | ArrayCoefficients, start: InitialStates, time: float, dimension: int, begin: float = 0.0
) -> Pilot:
    """A few paths from where, and when, the run's first ones begin: as many however few it has, so that what follows
    for a path does not depend on those beside it."""
    return pilot(of.drift, of.diffusion, start.several(PATHS)[:, :dimension].T, time, begin=begin)


def constants(
    sde: SDE, prepared: Prepared, parameters: Mapping[Any, Any] | None, size: Callable[[], float]
) -> np.ndarray:
    """Numbers of the formula's parameters: those of the SDE's that all paths share, then the states' size where the
    scheme asks for it."""
    numbers = sweep.numbers(sde, parameters)
    numbers = numbers[~np.isnan(numbers)]
    return np.append(numbers, size()) if SIZE in prepared.module.manifest["parameters"] else numbers
