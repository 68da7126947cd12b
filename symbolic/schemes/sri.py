"""SRIW1: strong order 3/2 for one noise or diagonal noise, without derivatives (Roessler 2010).

Its weak order is 3/2, though often given as 2: the second moment of a step is off by -(b^4 b'''/12 + a b^2 b''/2)
dt^(5/2), which vanishes for linear b (tests/symbolic/test_weak_moments.py).
"""

from typing import Any

import sympy as sp

from symbolic.schemes.scheme import Scheme, order


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, dZ: Any, let: Any) -> Any:
    third, root = sp.Rational(1, 3), sp.sqrt(dt)
    a, b = let(sde.drift(x, t)), [let(sde.diffusion(x, t)[:, k]) for k in range(len(dW))]
    later = x + sp.Rational(3, 4) * a * dt + sum((sp.Rational(3, 2) * b[k] * dZ[k] / dt for k in range(len(dW))), 0 * x)
    out = x + (a + 2 * sde.drift(let(later), t + sp.Rational(3, 4) * dt)) * third * dt
    for k in range(len(dW)):

        def noise(state: Any, time: Any, k: int = k) -> Any:
            return let(sde.diffusion(let(state), time)[:, k])

        second = noise(x + a * dt / 4 + b[k] * root / 2, t + dt / 4)
        third_ = noise(x + a * dt - b[k] * root, t + dt)
        fourth = noise(x + a * dt / 4 + (-5 * b[k] + 3 * second + third_ / 2) * root, t + dt / 4)
        one, two = dW[k], (dW[k] ** 2 - dt) / (2 * root)
        late, three = dZ[k] / dt, (dW[k] ** 3 - 3 * dt * dW[k]) / (6 * dt)
        out += b[k] * let(-one - two + 2 * late - 2 * three)
        out += second * let((4 * one + 4 * two - 4 * late + 5 * three) * third)
        out += third_ * let((2 * one - two - 2 * late - 2 * three) * third) + fourth * let(three)
    return out


SCHEME = Scheme(
    name="sriw1",
    calculus="ito",
    noise="diagonal",
    strong=order("3/2"),
    weak=order("3/2", additive="2"),
    reference="Roessler, SIAM J. Numer. Anal. 48 (2010) 922, scheme SRIW1",
    suits="paths, under one noise or one per state; no derivatives",
    step=step,
    arrays="diagonal",
    position=8,
)
