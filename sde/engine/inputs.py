"""From a prepared problem to what drives its inputs: noise, minibatches, or nothing (docs/theory.md eq. (6.1))."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from sde.engine.refinement import coupling
from sde.kernels import drivers as kernel
from symbolic.errors import InputError


class Problem(Protocol):
    """Numbers of `symbolic.codegen.prepare.Prepared`; its plan holds those of
    `symbolic.problem.sampling.SamplingPlan`."""

    @property
    def mean(self) -> np.ndarray | None: ...
    @property
    def factor(self) -> np.ndarray | None: ...
    @property
    def plan(self) -> Any: ...


class Settings(Protocol):
    """What a minibatch takes of `SGD`."""

    @property
    def batch_size(self) -> int: ...
    @property
    def replacement(self) -> bool: ...
    def noise_factor(self, population: int | None) -> float: ...


def brownian(
    mean: np.ndarray | None,
    factor: np.ndarray | None,
    dtype: str,
    refine: int = 1,
    modes: int = 1,
    channels: int | None = None,
) -> kernel.Driver:
    """Brownian increments: independent normals, scaled by sqrt(dt) in the loop.

    refine: how many steps of a finer run, with the same noise, one step stands for (`sde.engine.refinement`). modes,
    channels: how many Legendre coefficients of how many Brownian motions the inputs begin with; each normal is a
    motion's own when left out.
    """
    if refine == 1 or factor is None or not factor.shape[1]:
        return kernel.gaussian(mean, factor, np.dtype(dtype))
    rank = factor.shape[1]
    gathered = coupling(rank if channels is None else channels, modes, rank, refine)
    return kernel.gaussian(mean, factor @ gathered, np.dtype(dtype), refine)


def adaptive(factor: np.ndarray | None, dtype: str) -> kernel.Driver:
    """Brownian increments of steps that each path chooses."""
    return kernel.adaptive(0 if factor is None else factor.shape[1], np.dtype(dtype))


def halved(factor: np.ndarray | None, dtype: str, tolerance: float, size: float) -> kernel.Driver:
    """Brownian increments of steps that an error estimate halves."""
    return kernel.halved(0 if factor is None else factor.shape[1], np.dtype(dtype), tolerance, size)


def noise(problem: Problem, dtype: str, refine: int = 1) -> kernel.Driver:
    """SGD's noise as the SDE sees it. refine: as for `brownian`.

    Through the features' covariance when the loss is polynomial in the data, else through weights on all rows. Raises
    InputError when neither gives Sigma.
    """
    if problem.mean is not None:
        return brownian(problem.mean, problem.factor, dtype, refine)
    if refine > 1:
        raise InputError(
            f"refine: the noise must come as normals; got {refine!r} (int) and a loss whose noise is in the weights of"
            " its rows. Leave it out."
        )
    plan = _whole_table(problem, "simulate: the SDE needs Sigma")
    n = len(plan.table)
    return kernel.weighted(np.full(n, 1.0 / n), plan.table, plan.table_rows, np.dtype(dtype))


def full_batch(problem: Problem, dtype: str) -> kernel.Driver:
    """The exact mean gradient. Raises ValueError when it has no closed form."""
    if problem.mean is not None:
        return kernel.mean(problem.mean, np.dtype(dtype))
    plan = _whole_table(problem, "train(full_batch=True): gradient descent needs the mean gradient")
    n = len(plan.table)
    return kernel.weighted(np.full(n, 1.0 / n), plan.table, plan.table_rows, np.dtype(dtype))


def minibatch(problem: Problem, sgd: Settings, dtype: str) -> kernel.Driver:
    """Minibatches of fresh samples or of rows. Raises ValueError for a batch larger than the data set without
    replacement."""
    plan = problem.plan
    sgd.noise_factor(None if plan.table is None else len(plan.table))
    return kernel.sampled(
        np.dtype(dtype),
        sgd.batch_size,
        plan.table,
        plan.table_rows,
        sgd.replacement,
        plan.normals,
        plan.chance,
        plan.location,
        plan.mixing,
        plan.drawn_rows,
    )


def _whole_table(problem: Problem, who: str) -> Any:
    plan = problem.plan
    if plan.table is None or len(plan.drawn_rows):
        raise InputError(
            f"{who}; got a loss that is not polynomial in the data, whose data are not rows of a data set. "
            "Give the data as a Dataset (a sample of the law will do), or use train, which needs no Sigma."
        )
    return plan
