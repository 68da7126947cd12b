"""Orbit splitting: every state, or the sum and the difference of a pair, times the exponential of what drives it over
the step.

In those coordinates the equation is dy_i = y_i (a_i dt + sum_j b_ij dW_j). With a and b held over a step it is solved
exactly, y_i' = y_i exp((a_i - sum_j b_ij^2/2) dt + sum_j b_ij dW_j): the flows of the drift, of the noises and of Ito's
correction, which commute. No y_i passes 0, and for the loss of a product, b_p = -b_m = q on p = u + w and m = u - w,
the charge u^2 - w^2 = p m decays by exp(-(2 weight decay + sum q^2) dt) whatever the noise, as it does in continuous
time.

Rates that change by more than themselves within a step must not be held: a path far out would be thrown so near 0 that
it never comes back. They are divided by (1 + c^2)^(1/4), c the change of first order over the step, so that a step far
out is a factor of order 1 where rates are powers of the states. That alters the step by dt^3 in the drift and dt^(5/2)
in the noise, and nothing where rates depend on time alone: there the solution is exact up to their change in time.
"""

from typing import Any

import sympy as sp

from symbolic.dynamics.stochastic_calculus import jacobian
from symbolic.schemes.rescaling_blocks import blocks
from symbolic.schemes.scheme import Scheme, order


def refuse(sde: Any) -> str | None:
    """Why this SDE cannot be stepped, if so."""
    left = blocks(sde.states, sde.drift_vector, sde.diffusion_matrix)
    if isinstance(left, sp.Symbol):
        return (
            "needs a drift and noises that rescale every state, or the sum and the difference of a pair: (f, g) = q"
            f" (w, u) + r (u, w) with q and r free of divisions, as SGD has it on a loss of u*w; got {left}, moved in"
            " no such way"
        )
    return None


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any) -> Any:
    out, steps = sp.zeros(len(x), 1), sp.Matrix.hstack(sde.drift(x, t) * sp.sqrt(dt), sde.diffusion(x, t))
    for block in blocks(sde.states, sde.drift(x, t), sde.diffusion(x, t)):
        q, r = sp.Matrix([block.q]), sp.Matrix([block.r])
        limit = let(1 / sp.sqrt(let(sp.sqrt(1 + change(sp.Matrix.hstack(q, r), x, steps, dt)))))
        q, r = let(q * limit), let(r * limit)

        def grown(y: Any, a: Any, b: Any) -> Any:
            return let(y * sp.exp((a - sum(e**2 for e in b) / 2) * dt + (b * dW)[0]))

        if len(block.members) == 1:
            (i,) = block.members
            out[i] = grown(x[i], r[0], r[:, 1:])
        else:
            i, k = block.members
            p = grown(x[i] + x[k], r[0] + q[0], let(r + q)[:, 1:])
            m = grown(x[i] - x[k], r[0] - q[0], let(r - q)[:, 1:])
            out[i], out[k] = (p + m) / 2, (p - m) / 2
    return out


def change(rates: Any, x: Any, steps: Any, dt: Any) -> Any:
    """c^2: the sum of squares of what every move changes every rate by, x being the states themselves.

    rates: drifts and noises in turn, (1, 2 (J + 1)). moves: the drift times sqrt(dt), then the noises, (D, J + 1).
    """
    slopes, width = jacobian(rates.T, list(x)) * steps * dt, steps.cols
    terms = [slopes[i, j] * (sp.sqrt(dt) if i % width == 0 else 1) for i in range(slopes.rows) for j in range(width)]
    return sp.Add(*(e**2 for e in terms))


SCHEME = Scheme(
    name="orbit-splitting",
    calculus="ito",
    noise="general",
    strong=order("1/2", additive="1"),
    weak=order("1"),
    reference="Lie-Trotter; Kloeden & Platen 1992, eq. 4.4.6; arXiv 2308.06671",
    suits="losses of products (`u*w`, pairs of them, `u**2`) whose paths explode: no sign changes",
    step=step,
    refuse=refuse,
    position=12,
)
