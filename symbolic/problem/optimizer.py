"""The optimiser's settings, and the learning-rate schedules built from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Real

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.functions.numeric import Numeric

t = sp.Symbol("t", real=True)
"""Time t = eta*k, the argument of a schedule."""


@dataclass(frozen=True)
class SGD:
    """Minibatch SGD in PyTorch's convention: theta <- theta - eta*(minibatch gradient + weight_decay*theta).

    Parameters
    ----------
    learning_rate
        eta > 0. Time in runs is t = eta*k after k steps.
    batch_size
        S, samples per step.
    weight_decay
        lambda, added to the gradient as lambda*theta.
    momentum
        beta in [0, 1): heavy ball, v <- beta*v + g, theta <- theta - eta*v.
    replacement
        Whether a minibatch from a data set may hold a row twice.
    schedule
        None, or an expression of `symbolic.problem.optimizer.t` (time at the base rate) that multiplies the learning
        rate, such as `warmup(5.0)`.

    Raises
    ------
    InputError
        For a setting out of its range.

    Examples
    --------
    >>> from symbolic import SGD
    >>> SGD(learning_rate=0.02, batch_size=4).temperature
    0.005
    """

    learning_rate: float
    batch_size: int = 1
    weight_decay: float = 0.0
    momentum: float = 0.0
    replacement: bool = True
    schedule: sp.Expr | None = None

    def __post_init__(self) -> None:
        def refuse(field: str, rule: str, do: str) -> None:
            value = getattr(self, field)
            raise InputError(f"SGD.{field}: {rule}; got {value!r} ({type(value).__name__}). {do}")

        for field in ("learning_rate", "weight_decay", "momentum"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, (Real, sp.Number)) or not isfinite(value):
                refuse(field, "must be a finite number", "Give a number.")
            object.__setattr__(self, field, float(value))
        if self.learning_rate <= 0:
            refuse("learning_rate", "must be positive", "Give a positive step size such as 0.01.")
        size = self.batch_size
        whole = isinstance(size, (Real, sp.Number)) and not isinstance(size, bool) and isfinite(size)
        if not whole or int(size) != size or size < 1:
            refuse("batch_size", "must be a whole number of at least 1", "Give the samples per step.")
        object.__setattr__(self, "batch_size", int(self.batch_size))
        if self.weight_decay < 0:
            refuse("weight_decay", "must not be negative", "Give 0 or more.")
        if not 0 <= self.momentum < 1:
            refuse("momentum", "must lie in [0, 1)", "Give beta such as 0.9.")
        if self.schedule is not None:
            expression = (
                sp.sympify(self.schedule, strict=True) if isinstance(self.schedule, (int, float)) else self.schedule
            )
            if not isinstance(expression, sp.Expr) or expression.free_symbols - {t}:
                refuse(
                    "schedule",
                    "must be an expression of symbolic.problem.optimizer.t alone",
                    "Write it with symbolic.problem.optimizer.t, e.g. warmup(5.0).",
                )
            object.__setattr__(self, "schedule", expression)

    @property
    def temperature(self) -> float:
        """T = eta/S, the strength of the noise in the SDE (docs/theory.md eq. (1.1))."""
        return self.learning_rate / self.batch_size

    def factor(self, times: np.ndarray) -> np.ndarray:
        """The schedule's multiplier of the learning rate.

        Parameters
        ----------
        times
            t = eta*k, (K,).

        Returns
        -------
        ndarray (K,)

        Raises
        ------
        InputError
            Where it is negative or not finite.
        """
        if self.schedule is None:
            return np.ones(len(times))
        values = Numeric([self.schedule], [t])([times])[0]
        bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        if len(bad):
            raise InputError(
                f"SGD.schedule: must be finite and not negative; got {values[bad[0]]} at t = {times[bad[0]]}. Mend the"
                f" expression {self.schedule}."
            )
        return values

    def noise_factor(self, population: int | None) -> float:
        """Covariance of the minibatch gradient over Sigma/S.

        Parameters
        ----------
        population
            N, rows of the data set; None for fresh samples.

        Returns
        -------
        float
            (N - S)/(N - 1) without replacement from N rows, else 1.
        """
        if self.replacement or population is None:
            return 1.0
        if population < self.batch_size:
            raise InputError(
                f"SGD.batch_size: without replacement a minibatch cannot exceed the data set; got {self.batch_size}"
                f" (int) of {population} rows. Take a smaller batch or replacement=True."
            )
        return (population - self.batch_size) / max(population - 1, 1)


def warmup(time: float) -> sp.Expr:
    """Linear warmup from 0 to the full rate.

    Parameters
    ----------
    time
        When the full rate is reached, in t = eta*k at the base rate.

    Returns
    -------
    Expr
        For `SGD(schedule=...)`.
    """
    return sp.Min(t / _exact("warmup.time", time), 1)


def cosine(time: float, floor: float = 0.0) -> sp.Expr:
    """Half a cosine from 1 at t = 0, constant after it.

    Parameters
    ----------
    time
        Where it ends, in t = eta*k at the base rate.
    floor
        The multiplier it ends at.

    Returns
    -------
    Expr
        For `SGD(schedule=...)`.
    """
    floor_, time_ = _exact("cosine.floor", floor), _exact("cosine.time", time)
    return floor_ + (1 - floor_) * (1 + sp.cos(sp.pi * sp.Min(t / time_, 1))) / 2


def _exact(where: str, value: float) -> sp.Expr:
    if isinstance(value, bool) or not isinstance(value, (Real, sp.Number)):
        raise InputError(f"{where}: must be a number; got {value!r} ({type(value).__name__}). Give a time such as 5.0.")
    return sp.nsimplify(value)
