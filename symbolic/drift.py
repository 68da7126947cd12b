"""How a charge C = theta^T A theta + 2 b^T theta moves on average: under the SDE of order 1 and 2, and per step of discrete SGD.

Formulas of THEORY section 2, for every affine generator. With v = A theta + b (so <g, v> = 0 for every sample):
    order 1    dC/dt = -2 lambda v.theta + T Tr[Sigma A]
    order 2    adds eta (gbar^T A gbar - lambda b.gbar - lambda^2 v.theta)
    one step   -2 eta lambda v.theta + eta^2 (Tr[Sigma A] f/S + gbar^T A gbar - 2 lambda b.gbar + lambda^2 theta^T A theta)
f is the factor of sampling without replacement, lambda the weight decay, T = f eta/S. A schedule multiplies eta; momentum, to
first order, divides it by 1 - beta. Time is t = eta k with the base rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from symbolic import sgd as settings
from symbolic.sgd import SGD

TEMPERATURE = sp.Symbol("T", nonnegative=True)
WEIGHT_DECAY = sp.Symbol("lambda_wd", nonnegative=True)
LEARNING_RATE = sp.Symbol("eta", positive=True)


@dataclass(frozen=True)
class Terms:
    """What the formulas need at one theta, as numbers or expressions.

    trace = Tr[Sigma A], mean_form = gbar^T A gbar, mean_dot = b.gbar, quadratic = theta^T A theta, decay = v.theta.
    """

    trace: Any
    mean_form: Any
    mean_dot: Any
    quadratic: Any
    decay: Any


@dataclass(frozen=True)
class Rates:
    """Temperature, weight decay, learning rate and the speed (schedule and momentum) that an SGD setting means."""

    temperature: Any
    weight_decay: Any
    learning_rate: Any
    speed: Any


def rates(sgd: SGD | None, population: int | None, order: int = 1, numeric: bool = False) -> Rates:
    """The numbers of a setting (symbols T, lambda_wd, eta without one). Raises ValueError for what the formulas do not cover."""
    if order not in (1, 2):
        raise ValueError(
            f"drift: order must be 1 or 2; got {order!r} ({type(order).__name__}). Use 2 for the order-2 SDE."
        )
    if sgd is None:
        return Rates(TEMPERATURE, WEIGHT_DECAY, LEARNING_RATE, 1)
    if sgd.momentum and order == 2:
        raise ValueError(
            f"drift: order 2 is for plain SGD; got momentum {sgd.momentum}. Use order=1, the small-step limit of momentum SGD."
        )
    speed: Any = 1
    if sgd.momentum:
        speed = 1 / (1 - sgd.momentum) if numeric else 1 / (1 - sp.nsimplify(sgd.momentum))
    if sgd.schedule is not None:
        if numeric:
            raise ValueError(
                "drift: a schedule makes the drift depend on time; got one where a number is needed. Use .drift(sgd), an expression of t."
            )
        speed = speed * sgd.schedule
    factor = sgd.noise_factor(population)
    if numeric:
        return Rates(sgd.temperature * factor, sgd.weight_decay, sgd.learning_rate, speed)
    eta = sp.nsimplify(sgd.learning_rate)
    return Rates(eta / sgd.batch_size * sp.nsimplify(factor), sp.nsimplify(sgd.weight_decay), eta, speed)


def sde(x: Terms, r: Rates, order: int = 1) -> Any:
    """dC/dt under the SDE of the given order."""
    total = r.speed * (-2 * r.weight_decay * x.decay + r.speed * r.temperature * x.trace)
    if order == 2:
        second = x.mean_form - r.weight_decay * x.mean_dot - r.weight_decay**2 * x.decay
        total = total + r.speed**2 * r.learning_rate * second
    return total


def step(x: Terms, r: Rates) -> Any:
    """E[C_{k+1} - C_k | theta] of one step of discrete SGD without momentum."""
    eta = r.speed * r.learning_rate
    noise = r.speed * eta * r.temperature * x.trace
    mean = eta**2 * (x.mean_form - 2 * r.weight_decay * x.mean_dot + r.weight_decay**2 * x.quadratic)
    return -2 * eta * r.weight_decay * x.decay + noise + mean


def refuse_momentum(sgd: SGD | None) -> None:
    """Discrete momentum SGD has no increment that is a function of theta alone."""
    if sgd is not None and sgd.momentum:
        raise ValueError(
            f"increment: exact only for SGD without momentum; got momentum {sgd.momentum}. Use drift(sgd), its small-step limit."
        )


TIME = settings.t
