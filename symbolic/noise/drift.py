"""How a charge C = theta^T A theta + 2 b^T theta moves on average: under the SDE of order 1 and 2, and per step of
discrete SGD.

Formulas of docs/theory.md eq. (3.2) to (3.7), for every affine generator. With v = A theta + b (so <g, v> = 0 for every
sample), w = gbar + lambda theta:
    order 1    dC/dt = -2 lambda v.theta + T Tr[Sigma A]
    order 2    adds eta (gbar^T A gbar - lambda b.gbar - lambda^2 v.theta)
    one step   -2 eta lambda v.theta + eta^2 (Tr[Sigma A] f/S + w^T A w),
               w^T A w = gbar^T A gbar - 2 lambda b.gbar + lambda^2 theta^T A theta
    SVAG       -2 lambda v.theta + T Tr[Sigma A] + (eta/l) w^T A w per unit time: steps eta/l along a g_1 + c g_2 with a
    + c = 1,
               a^2 + c^2 = l, so that one step is the line above with eta/l for eta and l f for f (Li, Malladi, Arora,
               2102.12470)
f is the factor of sampling without replacement, lambda the weight decay, T = f eta/S. A schedule multiplies eta;
momentum, to first order, divides it by 1 - beta. Time is t = eta k with the base rate.

Momentum SGD u_{k+1} = beta u_k + g_k + lambda theta_k, theta_{k+1} = theta_k - eta u_{k+1} from rest (u_0 = 0), on
every path:
    C_{k+1} - C_k = eta^2 (a_{k+1} + 2 sum_{1<=j<=k} beta^(k+1-j) a_j) - 2 eta lambda sum_{j<=k} beta^(k-j) v_j.theta_j
with a_j = u_j^T A u_j. Proof: q_k = u_{k+1}.v_k obeys q_k = beta (q_{k-1} - eta a_k) + lambda theta_k.v_k, since
g_k.v_k = 0 and v_k = v_{k-1} - eta A u_k; and C_{k+1} - C_k = -2 eta q_k + eta^2 a_{k+1}. Frozen gbar and Sigma give
its mean up to O(eta^3) in `momentum_step`; for constant gbar and many steps eta^2 (gbar^T A gbar (1 + beta)/(1 -
beta)^3 + Tr[Sigma A] f/S/(1 - beta)^2).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.problem import optimizer as settings
from symbolic.problem.optimizer import SGD, Rates, require_sgd

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


def symbols(taken: Collection[str] = (), order: int = 1) -> Rates:
    """T, lambda_wd and eta in place of numbers; T_sgd and so on, where a problem has taken such a name. Raises
    InputError for an order that the formulas do not cover."""
    _refuse_order(order)

    def own(s: sp.Symbol) -> sp.Symbol:
        name = s.name
        while name in taken:
            name += "_sgd"
        return sp.Symbol(name, **s._assumptions_orig)  # pyright: ignore[reportAttributeAccessIssue]

    return Rates(own(TEMPERATURE), own(WEIGHT_DECAY), own(LEARNING_RATE))


def refuse(sgd: SGD, order: int = 1, numeric: bool = False) -> None:
    """Raise InputError for a setting that the formulas do not cover, or that has no number where one is needed."""
    require_sgd("drift", sgd)
    _refuse_order(order)
    if sgd.momentum and order == 2:
        raise InputError(
            f"drift: order 2 is for plain SGD; got momentum {sgd.momentum}. Use order=1, the small-step limit of"
            " momentum SGD."
        )
    if sgd.schedule is not None and not sgd.schedule.is_number and numeric:
        raise InputError(
            "drift: a schedule makes the drift depend on time; got one where a number is needed. Use .drift(sgd),"
            " an expression of t."
        )


def _refuse_order(order: int) -> None:
    if order not in (1, 2):
        raise InputError(
            f"drift: order must be 1 or 2; got {order!r} ({type(order).__name__}). Use 2 for the order-2 SDE."
        )


def refuse_svag(svag: int | None, sgd: SGD | None, order: int) -> None:
    """SVAG's factor is a whole number of at least 1, for SGD without momentum, in place of an SDE of order 2."""
    if svag is None:
        return
    whole = isinstance(svag, (int, np.integer, sp.Integer)) and not isinstance(svag, bool)
    if not whole or svag < 1:
        raise InputError(
            f"drift: svag must be a whole number of at least 1; got {svag!r} ({type(svag).__name__}). Give SVAG's"
            " factor l; 1 is SGD."
        )
    if order != 1:
        raise InputError(
            f"drift: svag is a discrete dynamics of its own; got order {order} (int) beside it. Leave order out."
        )
    if sgd is not None and require_sgd("drift", sgd).momentum:
        raise InputError(
            f"drift: svag is for SGD without momentum; got momentum {sgd.momentum} (float). Use momentum=0."
        )


def _square(x: Terms, weight_decay: Any) -> Any:
    """w^T A w with w = gbar + lambda theta, the gradient that one step of descent follows."""
    return x.mean_form - 2 * weight_decay * x.mean_dot + weight_decay**2 * x.quadratic


def sde(x: Terms, r: Rates, order: int = 1, svag: int | None = None) -> Any:
    """dC/dt under the SDE of the given order, or the mean change per unit time under SVAG with factor l = svag."""
    total = r.speed * (-2 * r.weight_decay * x.decay + r.speed * r.temperature * x.trace)
    if order == 2:
        second = x.mean_form - r.weight_decay * x.mean_dot - r.weight_decay**2 * x.decay
        total = total + r.speed**2 * r.learning_rate * second
    if svag is not None:
        total = total + r.speed**2 * r.learning_rate / svag * _square(x, r.weight_decay)
    return total


def step(x: Terms, r: Rates) -> Any:
    """E[C_{k+1} - C_k | theta] of one step of discrete SGD without momentum."""
    eta = r.speed * r.learning_rate
    noise = r.speed * eta * r.temperature * x.trace
    return -2 * eta * r.weight_decay * x.decay + noise + eta**2 * _square(x, r.weight_decay)


def momentum_step(x: Terms, r: Rates, beta: Any, n: int | None) -> Any:
    """E[C_n - C_{n-1}] of step n = 1, 2, ... of momentum SGD from rest, at theta_{n-1}, up to O(eta^3); n = None: after
    the transient.

    With p = beta^n, m = sum_{1<=i<n} beta^(n-i) (1 - beta^i)^2 = beta (1 - beta^(n-1)) (1 + p)/(1 - beta) - 2 (n - 1)
    p:
    -2 eta lambda v.theta (1 - p)/(1 - beta) + eta^2/(1 - beta)^2 * {(1 - p)^2 Tr[Sigma A] f/S + ((1 - p)^2 + 2 m) w^T A
    w
    - 2 lambda m w.(2 A theta + b)}. At beta = 0 it is `step`, exact. r: rates of the same setting without momentum.
    """
    power: Any = 0 if n is None else beta**n
    memory = beta / (1 - beta)
    if n is not None:
        memory = memory * (1 - beta ** (n - 1)) * (1 + power) - 2 * (n - 1) * power
    lag = -x.mean_dot + r.weight_decay * (x.quadratic + x.decay)
    rise, eta, decay = (1 - power) / (1 - beta), r.learning_rate, r.weight_decay
    second = ((1 - power) ** 2 + 2 * memory) * _square(x, decay) - 2 * decay * memory * lag
    return (
        -2 * eta * decay * rise * x.decay + eta * rise**2 * r.temperature * x.trace + (eta / (1 - beta)) ** 2 * second
    )


def without_momentum(sgd: SGD, n: int | None) -> SGD:
    """The setting that `momentum_step` takes its rates from. Raises ValueError for a schedule or a bad step number."""
    if require_sgd("momentum_increment", sgd).schedule is not None:
        raise InputError(
            f"momentum_increment: the learning rate must be constant; got the schedule {sgd.schedule}. Use drift(sgd),"
            " the small-step limit."
        )
    if n is not None and (isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1):
        raise InputError(
            f"momentum_increment: step must be a whole number of at least 1, counted from rest; got {n!r}"
            f" ({type(n).__name__}). Leave it out for the rate after the transient."
        )
    return replace(sgd, momentum=0.0)


def refuse_momentum(sgd: SGD | None) -> None:
    """Discrete momentum SGD has no increment that is a function of theta alone."""
    if sgd is not None and require_sgd("increment", sgd).momentum:
        raise InputError(
            f"increment: exact only for SGD without momentum; got momentum {sgd.momentum}. Use momentum_increment(sgd),"
            " or drift(sgd), its small-step limit."
        )


TIME = settings.t
