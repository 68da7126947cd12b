"""From a loss and a setting to its stationary law: whether there is one, where it lives, whether it is a point."""

from __future__ import annotations

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.noise.covariance import Noise
from symbolic.predictions.stationary.density import Numbers
from symbolic.predictions.stationary.distribution import StationaryLaw
from symbolic.predictions.stationary.scalar_chains import chain, on_branch
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd


def stationary_law(loss: Loss, sgd: SGD, branch: str = "positive") -> StationaryLaw:
    """The stationary law of v, the product of a scalar chain's parameters, on v > 0 or (branch="negative") on v < 0.

    loss: a per-sample quadratic in v, as (u*w*x - y)**2, recognised from its expression. sgd: a constant learning rate;
    momentum enters through its small-step limit. Raises NotAChain (a ValueError) for
    other losses, and ValueError where there is no stationary law, more than one, or no noise.
    """
    found = on_branch(chain(loss), branch)
    require_sgd("stationary_law", sgd)
    if sgd.schedule is not None:
        raise InputError(
            f"stationary_law: the learning rate must be constant; got the schedule {sgd.schedule}. Leave it out."
        )
    loose = sorted(map(str, sp.Tuple(*found.alpha, *found.beta).free_symbols))
    if loose:
        raise InputError(
            f"stationary_law: the laws need numbers; got symbols {loose}. Give them numbers, or use"
            " critical_temperature and Chain.density."
        )
    rates = Noise(loss).rates(sgd)
    exact = (sp.sympify(rates.speed * rates.temperature, strict=True), sp.sympify(rates.weight_decay, strict=True))
    temperature, decay, n = float(exact[0]), sgd.weight_decay, found.factors
    if temperature <= 0:
        raise InputError(
            "stationary_law: the temperature must be positive; got 0, a full batch without replacement. Its law is the"
            " point that gradient descent reaches."
        )
    a1, a2, a3, floor, b1, b2 = (float(e) for e in (*found.alpha, found.floor, *found.beta))
    c = Numbers(a1, a2, a3, floor, b1, b2 - decay / 2 if n == 2 else b2)
    T_c = _critical(c, n, decay)
    atom, limits = _support(c, n, temperature, decay, T_c)
    return StationaryLaw(
        chain=found,
        branch=branch,
        temperature=temperature,
        weight_decay=decay,
        exact=exact,
        T_c=T_c,
        atom=atom,
        limits=limits,
        numbers=c,
    )


def _critical(c: Numbers, n: int, decay: float) -> float:
    if c.b <= 0 or (n > 2 and decay):
        return 0.0
    return c.b / c.a3 if n == 2 and c.a3 else np.inf


def _support(
    c: Numbers, n: int, temperature: float, decay: float, T_c: float
) -> tuple[float | None, tuple[float, float]]:
    """(atom, limits of the support) in |v|. Raises ValueError where there is no one law."""
    if not c.a1 and not c.a3:
        raise InputError(
            "stationary_law: the gradient must be noisy; got Var(dl/dv) = 0 for every v. Gradient flow describes this"
            " loss."
        )
    if not c.a1 and c.b1 <= 0:
        raise InputError(
            f"stationary_law: the mean loss must grow with v where the noise does not; got E d^2l/dv^2/2 = {c.b1:.6g}:"
            " v runs away. Check the loss's sign."
        )
    low, high = 0.0, np.inf
    centre = c.a2 / c.a1 if c.a1 else 0.0
    if not c.floor and centre > 0:  # no noise at the centre: v stops there, or passes it in one direction only
        pull = decay * centre / 2 if n > 2 else 0.0
        terms = np.array([c.b1 * centre, -c.b, pull * centre ** (2 / n - 2)])
        drift = float(terms.sum())
        still = abs(drift) <= 1e-12 * float(np.abs(terms).sum())
        if temperature >= T_c and (still or drift < 0):
            raise InputError(
                f"stationary_law: the law must not depend on the start; got noise that vanishes at v = {centre:.6g}, so"
                f" that v ends there, beyond it or at 0, T = {temperature:.6g} >= T_c = {T_c:.6g}. Use a temperature"
                " below T_c."
            )
        if still:
            return centre, (low, high)
        low, high = (centre, np.inf) if drift < 0 else (0.0, centre)
    return (0.0 if temperature >= T_c else None), (low, high)
