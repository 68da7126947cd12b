"""Drift-implicit Euler for stiff drifts: x' = x + a(x', t + dt) dt + b(x, t) dW (Kloeden and Platen 1992, eq. 12.2.2).

Newton's method, written out for few states, in a loop for more; a path on which it has not converged becomes NaN, so
that it is counted and named, never wrong.
"""

from typing import Any

import sympy as sp

from symbolic.dynamics.stochastic_calculus import jacobian
from symbolic.schemes.scheme import Scheme, order

LARGEST, ITERATIONS, TOLERANCE = 4, 12, sp.Rational(1, 10**5)
MOST_ELIMINATED = 4000
"""Entries that an elimination may change: a dense matrix of 22 states, a band of three of 1300."""


def refuse(sde: Any) -> str | None:
    """Why this SDE cannot be stepped, if so."""
    if len(sde.states) > LARGEST and (entries := filled(sde)) > MOST_ELIMINATED and not linear(sde):
        return (
            f"solves for all states at once, by eliminations that may change {MOST_ELIMINATED} entries of the drift's"
            f" Jacobian where it is not linear; got {entries} for {len(sde.states)} states"
        )
    return None


def filled(sde: Any) -> int:
    """How many entries an elimination of the drift's Jacobian changes, fill-in among them; no more is counted than
    MOST_ELIMINATED and a column."""
    place = {x: j for j, x in enumerate(sde.states)}
    rows = [{i, *(place[x] for x in f.free_symbols & place.keys())} for i, f in enumerate(sde.drift_vector)]
    changed = 0
    for k, row in enumerate(rows):
        later = {j for j in row if j > k}
        for i in range(k + 1, len(rows)):
            if k in rows[i]:
                rows[i] |= later
                changed += len(later) + 1
        if changed > MOST_ELIMINATED:
            break
    return changed


def linear(sde: Any) -> bool:
    """Whether the drift is linear in the states."""
    own = set(sde.states)
    return all(not sp.diff(f, x).free_symbols & own for f in sde.drift_vector for x in f.free_symbols & own)


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any) -> Any:
    known = let(x + sde.diffusion(x, t) * dW)
    slope = sp.eye(len(x)) - dt * jacobian(sde.drift(x, t + dt), list(x))
    constant = not slope.free_symbols & set(x)
    if len(x) > LARGEST and not constant:
        return in_turns(sde, x, t, dt, known, slope, let)
    y, shift = known, sp.zeros(len(x), 1)
    for _ in range(1 if constant else ITERATIONS):
        matrix = let(slope.xreplace(dict(zip(x, y, strict=True))))
        shift = let(solve(matrix, let(y - known - sde.drift(y, t + dt) * dt), let))
        y = let(y - shift)
    if constant:
        return y
    last, allowed = let(sum(m**2 for m in shift)), let(TOLERANCE**2 * (1 + sum(e**2 for e in y)))
    return y.applyfunc(lambda e: sp.Piecewise((e, last <= allowed)))


def in_turns(sde: Any, x: Any, t: Any, dt: Any, known: Any, slope: Any, let: Any) -> Any:
    """The same by Newton's turns in a loop."""

    def turn(y: Any, known: Any, let: Any) -> tuple[Any, Any]:
        matrix = let(slope.xreplace(dict(zip(x, y, strict=True))))
        shift = let(solve(matrix, let(y - known - sde.drift(y, t + dt) * dt), let))
        later = let(y - shift)
        last, allowed = let(sum(m**2 for m in shift)), let(TOLERANCE**2 * (1 + sum(e**2 for e in later)))
        return later, sp.Piecewise((0, last > allowed), (1, True))

    y, done = let.solve(known, turn, ITERATIONS)
    return y.applyfunc(lambda e: sp.Piecewise((e, done > 0)))


def solve(matrix: Any, right: Any, let: Any) -> Any:
    """matrix^-1 right: by Cramer's rule, and of more states by elimination along what is not 0, which leaves a band a
    band, in the order of states (I - dt A with A stable asks for no pivots)."""
    if matrix.rows > LARGEST:
        return eliminated(matrix, right, let)
    cofactors = let(matrix.adjugate())
    determinant = let(sum(matrix[0, k] * cofactors[k, 0] for k in range(matrix.rows)))
    return cofactors * right / determinant


def eliminated(matrix: Any, right: Any, let: Any) -> Any:
    """matrix^-1 right by Gauss's elimination without pivots, entries that are 0 left out."""
    n = matrix.rows
    rows = [{j: matrix[i, j] for j in range(n) if matrix[i, j] != 0} for i in range(n)]
    y = list(right)
    for k in range(n):
        for i in range(k + 1, n):
            if k in rows[i]:
                factor = let(rows[i].pop(k) / rows[k][k])
                for j, e in rows[k].items():
                    if j > k:
                        rows[i][j] = let(rows[i].get(j, 0) - factor * e)
                y[i] = let(y[i] - factor * y[k])
    for k in reversed(range(n)):
        y[k] = let((y[k] - sum(e * y[j] for j, e in rows[k].items() if j > k)) / rows[k][k])
    return sp.Matrix(y)


SCHEME = Scheme(
    name="implicit-euler",
    calculus="ito",
    noise="general",
    strong=order("1/2", additive="1"),
    weak=order("1"),
    reference="Kloeden & Platen 1992, eq. 12.2.2",
    suits="stiff drifts: stable at any step; any number of states where the drift is linear or its Jacobian a band, 22"
    " that all meet",
    step=step,
    refuse=refuse,
    position=4,
)
