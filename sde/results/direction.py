"""A loss that is linear in the direction of its weights: its noise is the same in every direction along the sphere."""

from __future__ import annotations

import sympy as sp

from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.parameter import parameters


def linear_in_direction(weights: int, strength: float, name: str) -> Loss:
    """(x - strength e_1) w/|w|, x ~ N(0, 1): L = -strength cos(w, e_1), Sigma = P/|w|^2, P the projection off w."""
    w, x = parameters(w=(weights,), x=(weights,))
    return Loss((w.dot(x) - sp.nsimplify(strength) * w[0]) / sp.sqrt(w.dot(w)), {"w": w}, {x: Normal(0, 1)}, name=name)
