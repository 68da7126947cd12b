"""The optimiser's settings, and the learning-rate schedules built from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError, as_real, as_whole, instance
from symbolic.functions.numeric import Numeric
from symbolic.language.calls import called
from symbolic.problem.loss import Loss
from symbolic.problem.schedule import cosine as cosine
from symbolic.problem.schedule import read_schedule, settled, t
from symbolic.problem.schedule import warmup as warmup


@dataclass(frozen=True)
class Rates:
    """The coefficients that a setting of SGD means for one loss, as numbers or exact.

    d theta = -speed (gbar + weight_decay theta) dt + speed sqrt(temperature) Sigma^(1/2) dW in t = learning_rate k.
    temperature: T = f eta/S; variance: f/S, of a minibatch gradient per Sigma; f: (N - S)/(N - 1) without replacement
    from a population of N rows, else 1. inertia: 1 - momentum. schedule: what multiplies the rate, 1 or an expression.
    """

    temperature: Any
    weight_decay: Any
    learning_rate: Any
    variance: Any = None
    inertia: Any = 1
    schedule: Any = 1
    population: int | None = None

    @property
    def speed(self) -> Any:
        """Schedule over inertia: to first order, momentum multiplies the rate by 1/(1 - momentum)."""
        return self.schedule if self.inertia == 1 else self.schedule * (1 / self.inertia)


@called({"lr": "Give learning_rate=.", "eta": "Give learning_rate=.", "beta": "Give momentum=."})
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
        What multiplies the learning rate, in t = eta*k at the base rate: None, a number, text such as "warmup(5)" or
        "min(t/5, 1)", a function of t, or an expression of `symbolic.problem.optimizer.t`.
    nesterov
        theta <- theta - eta*(g + beta*v) in place of the heavy ball's step, as PyTorch has it. In `train` alone: what
        is derived is of the heavy ball.

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
    schedule: Any = None
    nesterov: bool = False

    def __post_init__(self) -> None:
        def refuse(field: str, rule: str, do: str) -> None:
            value = getattr(self, field)
            raise InputError.of(f"SGD.{field}", rule, value, do)

        for field in ("learning_rate", "weight_decay", "momentum"):
            value = getattr(self, field)
            if as_real(value) is None:
                refuse(field, "must be a finite number", "Give a number.")
            object.__setattr__(self, field, float(value))
        if self.learning_rate <= 0:
            refuse("learning_rate", "must be positive", "Give a positive step size such as 0.01.")
        size = self.batch_size
        if not 1 <= (as_whole(size) or 0) <= 2**53:
            refuse("batch_size", "must be a whole number of at least 1", "Give the samples per step.")
        object.__setattr__(self, "batch_size", int(self.batch_size))
        if self.weight_decay < 0:
            refuse("weight_decay", "must not be negative", "Give 0 or more.")
        if not 0 <= self.momentum < 1:
            refuse("momentum", "must lie in [0, 1)", "Give beta such as 0.9.")
        instance(
            "SGD.replacement", self.replacement, (bool, np.bool_), "must be True or False", "Leave it out for True."
        )
        object.__setattr__(self, "replacement", bool(self.replacement))
        instance("SGD.nesterov", self.nesterov, (bool, np.bool_), "must be True or False", "Leave it out for False.")
        object.__setattr__(self, "nesterov", bool(self.nesterov))
        if self.nesterov and not self.momentum:
            refuse("nesterov", "needs a momentum above 0", "Give momentum=0.9 too, or leave it out.")
        object.__setattr__(self, "schedule", read_schedule("SGD.schedule", self.schedule))

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

    def settled(self, at_time: float | None = None) -> SGD:
        """The setting with its schedule held at the value that it ends at, or has at a time; time stays that of the
        base rate.

        Parameters
        ----------
        at_time
            t = eta*k at the base rate; the end of the schedule when left out.

        Returns
        -------
        SGD

        Raises
        ------
        InputError
            For a schedule that does not settle, or whose value is not positive there.

        Examples
        --------
        >>> from symbolic import SGD
        >>> SGD(learning_rate=0.02, schedule="cosine(10, 0.1)").settled().schedule
        1/10
        """
        if self.schedule is None or self.schedule.is_number:
            return self
        value = settled(self.schedule, at_time)
        if not float(value) > 0:
            when = "in the end" if at_time is None else f"at t = {at_time}"
            raise InputError(
                f"SGD.schedule: must be positive where it is held; got {value} {when} of {self.schedule}. Give at_time,"
                " a time at which it is."
            )
        return replace(self, schedule=value)

    def rates(self, loss: Loss, exact: bool = False) -> Rates:
        """The coefficients of the dynamics of a loss.

        Parameters
        ----------
        loss
            The loss, whose data say how many rows there are.
        exact
            Exact numbers, where floats else.

        Returns
        -------
        Rates

        Raises
        ------
        InputError
            Without replacement, from rows with fresh samples beside them; for a schedule where the loss calls one of
            its own symbols t.
        """
        if not self.replacement and loss.population is None and any(b.size for b in loss.used):
            raise InputError(
                "SGD.replacement: without replacement the noise needs all data from the data set; got a data set with"
                " laws beside it. Use replacement=True, or put samples of the laws into the data set."
            )
        if self.schedule is not None and {t} & self.schedule.free_symbols & {*loss.theta, *loss.z}:
            raise InputError(
                f"SGD.schedule: its t is time; got a loss that calls one of its own symbols t: {self.schedule}. Rename"
                " that of the loss."
            )
        return self.rates_of(loss.population, exact)

    def rates_of(self, population: int | None, exact: bool = False) -> Rates:
        """The coefficients for gradient noise from rows, or from fresh samples.

        Parameters
        ----------
        population
            N rows; None for fresh samples.
        exact
            Exact numbers, where floats else.

        Returns
        -------
        Rates

        Raises
        ------
        InputError
            For Nesterov's steps.
        """
        if self.nesterov:
            raise InputError.of(
                "SGD.nesterov",
                "is for train alone; theory, SDEs and verdicts know the heavy ball's momentum",
                True,
                "Leave it out: to first order in the learning rate both are the same.",
            )
        factor: Any = self.noise_factor(population)
        number = sp.nsimplify if exact else float
        schedule: Any = 1 if self.schedule is None else self.schedule
        schedule = number(schedule) if self.schedule is not None and schedule.is_number else schedule
        eta, factor, inertia = (number(v) for v in (self.learning_rate, factor, 1 - number(self.momentum)))
        return Rates(
            eta / self.batch_size * factor,
            number(self.weight_decay),
            eta,
            factor / self.batch_size,
            inertia,
            schedule,
            population,
        )

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


def require_sgd(where: str, sgd: Any) -> SGD:
    """The optimiser's settings, which nothing else stands for. Raises InputError."""
    rate = sgd if isinstance(sgd, (int, float)) and not isinstance(sgd, bool) and sgd > 0 else "..."
    rule = "needs the optimiser's settings"
    return instance(where, sgd, SGD, rule, f"Pass SGD(learning_rate={rate}).")
