"""Exponential Euler: what each state relaxes by, its own linear rate l in f = l x + g, is solved exactly: x' = e^(l h)
x + p(l h) h g(x, t) + sqrt(p(2 l h)) b(x, t) dW, with p(z) = (e^z - 1)/z (Lord, Powell, Shardlow 2014, section 10.6).

The noise has the variance that relaxation leaves of it over the step, which is exact where b is constant: an
Ornstein-Uhlenbeck process has its own mean and variance at any step, however fast it relaxes.
"""

from typing import Any

import sympy as sp

from symbolic.schemes.scheme import Scheme, order


def rates(sde: Any) -> list[sp.Expr]:
    """What multiplies each state in its own drift, free of states and time; 0 where nothing does."""
    found = []
    for f, x in zip(sde.drift_vector, sde.states, strict=True):
        _, rest = sp.expand(f).as_independent(x, as_Add=True)
        linear = [e / x for e in sp.Add.make_args(rest) if (e / x).free_symbols <= set(sde.parameters)]
        found.append(sp.Add(*linear))
    return found


def refuse(sde: Any) -> str | None:
    """Why this SDE cannot be stepped, if so."""
    return None if any(rates(sde)) else "needs a drift that is linear in its own state in part; got none"


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any) -> Any:
    f, b, out = sde.drift(x, t), sde.diffusion(x, t), []
    for i, rate in enumerate(rates(sde)):
        if rate == 0:
            out.append(x[i] + f[i] * dt + (b[i, :] * dW)[0])
            continue
        rest = sp.expand(f[i]) - sp.expand(rate * x[i])
        kept, span, spread = let(sp.exp(rate * dt)), let(dt * mean(rate * dt)), let(sp.sqrt(mean(2 * rate * dt)))
        out.append(kept * x[i] + span * rest + spread * (b[i, :] * dW)[0])
    return sp.ImmutableMatrix(out)


def mean(z: Any) -> Any:
    """p(z) = (e^z - 1)/z without the loss of digits near 0, and without an overflow far below."""
    near = 2 * sp.exp(z / 2) * sp.sinh(z / 2) / z
    return sp.Piecewise(((sp.exp(z) - 1) / z, sp.Abs(z) > 1), (near, sp.Abs(z) > 1e-12), (1, True))


SCHEME = Scheme(
    name="exponential-euler",
    calculus="ito",
    noise="general",
    strong=order("1/2", additive="1"),
    weak=order("1"),
    reference="Lord, Powell & Shardlow 2014, section 10.6",
    suits="stiff drifts where it is each state's own relaxation, which it solves exactly",
    step=step,
    refuse=refuse,
    position=16,
)
