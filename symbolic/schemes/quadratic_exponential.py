"""Quadratic-exponential step of square-root diffusions, dv = (a - k v) dt + sqrt(v) c dW (Andersen 2008).

The mean m and the variance s^2 of v at the end of the step are exact: v' is a (b + Z)^2 where s^2 <= 3/2 m^2, and
beyond that 0 with a probability and else exponential, a growing function of the same Z = c dW/(|c| sqrt(dt)), so that
it stays at or above 0 and follows the Brownian path. Where the noise of other states is sqrt(v) c dW times something,
they take what that adds up to from v itself, v' - v - a dt + k (v + v')/2 dt, so that correlated noise (leverage) keeps
its correlation at any step; the rest is Euler's, with (v + v')/2 for v in their coefficients. Those at or above 0
themselves take it in their logarithm.
"""

from typing import Any

import sympy as sp

from symbolic.dynamics.domain import NONNEGATIVE, WALLS, SquareRoot, rates, square_root
from symbolic.schemes.scheme import Scheme, order

SWITCH = sp.Rational(3, 2)
TINY = sp.Rational(1, 10**30)
"""Below the smallest numbers that matter, above the least ones that float32 has."""


def refuse(sde: Any) -> str | None:
    """Why this SDE cannot be stepped, if so."""
    roots, left = found(sde), list[str]()
    for i, x in enumerate(sde.states):
        if x in sde.domain and sde.domain[x].kind == NONNEGATIVE and i not in roots and rates(sde, i) is None:
            left.append(str(x))
    if left:
        return f"needs states at or above 0 to be square-root diffusions or geometric; got {', '.join(left)}"
    return None if roots else 'is for square-root diffusions: SDE(..., domain={V: "nonnegative"})'


def found(sde: Any) -> dict[int, SquareRoot]:
    """The states that are square-root diffusions, by index."""
    kept = [i for i, x in enumerate(sde.states) if x in sde.domain and sde.domain[x].kind == NONNEGATIVE]
    return {i: q for i in kept if (q := square_root(sde, i)) is not None}


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any) -> Any:
    roots = found(sde)
    out, gains, halfway = [sp.S.Zero] * len(x), dict[int, Any](), dict[Any, Any]()
    for i, q in roots.items():
        out[i] = let(advanced(x[i], q, dt, dW, let))
        middle = let((x[i] + out[i]) / 2)
        gains[i] = let(out[i] - x[i] - (q.a - q.k * middle) * dt)
        halfway[x[i]] = middle
    for i in set(range(len(x))) - set(roots):
        found_rates = rates(sde, i) if sde.states[i] in sde.domain else None
        log = found_rates is not None and sde.domain[sde.states[i]].kind == NONNEGATIVE
        f, row = found_rates if log and found_rates else (sde.drift(x, t)[i], sde.diffusion(x, t)[i, :])
        moved, rest = followed(row, {sde.states[k]: (q.c, gains[k]) for k, q in roots.items()}, dW)
        noise = moved.xreplace(halfway) + (rest.xreplace(halfway) * dW)[0]
        if log:
            square = sum(e**2 for e in row.xreplace(halfway))
            out[i] = x[i] * sp.exp((f.xreplace(halfway) - square / 2) * dt + noise)
        else:
            out[i] = x[i] + f.xreplace(halfway) * dt + noise
    return sp.ImmutableMatrix(out)


def followed(row: Any, roots: Any, dW: Any) -> tuple[Any, Any]:
    """What a row of noises (1, J) takes from gains of square-root diffusions, and what is left of it for dW.

    roots: {state: (c, what sqrt(state) c dW adds up to)}. Weights are those of the row's projection on the span of the
    c, which makes what is left independent of what moves those states.
    """
    rows = [c for c, _ in roots.values()]
    gram = sp.Matrix([[(a * b.T)[0] for b in rows] for a in rows])
    if len(rows) > 1 and gram.det() == 0:
        return sp.S.Zero, row
    weights = gram.inv() * sp.Matrix([(c * row.T)[0] for c in rows])
    moved, rest = sp.S.Zero, row
    for (v, (c, gain)), weight in zip(roots.items(), weights, strict=True):
        root = sp.Dummy("root", positive=True)
        inside = weight.subs(v, root**2)
        base = inside.subs(root, 0)
        per_root = sp.cancel(sp.expand(inside - base) / root)
        if per_root.subs(root, 0).has(sp.nan, sp.zoo):
            base, per_root = weight, sp.S.Zero
        moved += per_root.subs(root, sp.sqrt(v)) * gain + base * (c * dW)[0]
        rest = rest - weight * c
    return moved, rest.applyfunc(sp.cancel)


def advanced(v: Any, q: SquareRoot, dt: Any, dW: Any, let: Any) -> Any:
    """v at the end of the step."""
    square = let(sum(e**2 for e in q.c))
    decay = sp.exp(-q.k * dt)
    span = dt if q.k == 0 else let(2 * sp.sinh(q.k * dt / 2) * sp.exp(-q.k * dt / 2) / q.k)
    m = let(q.a * span + v * decay)
    variance = let(square * span * (v * decay + q.a * span / 2))
    z = let((q.c * dW)[0] / sp.sqrt(square * dt))
    ratio = let(2 * m**2 / sp.Max(variance, TINY))
    above = let(sp.Max(ratio - 1, 0))
    b2 = let(above + sp.sqrt(ratio * above))
    quadratic = let(m / (1 + b2) * (sp.sqrt(b2) + z) ** 2)
    tail = let(sp.Max((1 - sp.erf(z / sp.sqrt(2))) / 2, TINY))
    positive = let(2 * ratio / (2 + ratio))
    exponential = let(m / sp.Max(positive, TINY) * sp.log(sp.Max(positive, TINY) / tail))
    return sp.Piecewise((quadratic, ratio >= 2 / SWITCH), (sp.Max(exponential, 0), True))


SCHEME = Scheme(
    name="quadratic-exponential",
    calculus="ito",
    noise="general",
    strong=order("1/2"),
    weak=order("1"),
    reference="Andersen, J. Comput. Finance 11 (2008) 1",
    suits="states at or above 0 under square-root noise, at long steps and at 0 itself",
    step=step,
    refuse=refuse,
    keeps=(NONNEGATIVE, *WALLS),
    position=15,
)
