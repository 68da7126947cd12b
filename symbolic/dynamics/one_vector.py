"""A loss whose noise lies along one vector, with one normal a step in the place of as many as its features have.

With H the gradient in the features m, H = v c^T: the increments of eq. (6.1) under the SDE are v (c . m), and given the
state c . m is a normal of mean c . E m and variance c^T Cov(m) c. Drawn as one, every step, and so the whole run of
Euler-Maruyama, has the same law; the path of a seed is another.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.step_map import Accumulation
from symbolic.errors import InputError
from symbolic.problem.loss import Loss

MOST_ENTRIES = 256
"""Of H: what is larger is no product of a few scalars, and dear to factor."""


class OneVector(LossDynamics):
    """The same dynamics with one input, a standard normal times the scale of the noise. Raises InputError where the
    noise lies along more than one vector."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        if self.moments is None:
            raise _refused("a loss that is not polynomial in the data")
        mean, root = self.moments
        if root.shape[1] <= 1:
            return
        if len(self.inputs) * len(self.states) > MOST_ENTRIES:
            raise _refused(f"{len(self.states)} parameters and {len(self.inputs)} features of the data")
        entries = self.gradient
        for name, value in reversed(self.statements):
            entries = entries.xreplace({name: value})
        found = vector(sp.ImmutableMatrix(entries.jacobian(self.inputs)))
        if found is None:
            raise _refused("one whose noise lies along several")
        along, row = found
        normal, moved = sp.Symbol(":n_0", real=True), sp.Symbol(":moved", real=True)
        named = [(sp.Symbol(f":c_{k}", real=True), c) for k, c in enumerate(row) if not c.is_Atom]
        row = [next((name for name, value in named if value == c), c) for c in row]
        combined = [sp.Add(*(sp.Float(f) * c for f, c in zip(column, row, strict=True) if f)) for column in root.T]
        drift = sp.Add(*(sp.Float(m) * c for m, c in zip(mean, row, strict=True) if m))
        still = entries.xreplace(dict.fromkeys(self.inputs, sp.S.Zero))
        self.statements = (*named, (moved, drift + sp.sqrt(sp.Add(*(e**2 for e in combined))) * normal))
        self.gradient = sp.ImmutableMatrix([rest + v * moved for rest, v in zip(still, along, strict=True)])
        self.inputs, self.accumulation = (normal,), Accumulation((), (), ())
        self.__dict__["moments"] = (np.zeros(1), np.ones((1, 1)))


def vector(H: sp.ImmutableMatrix) -> tuple[list[sp.Expr], list[sp.Expr]] | None:
    """v (D,) and c (K,) with H = v c^T, free of divisions by states; None where there are none."""
    rows = [H.row(d) for d in range(H.rows)]
    reference = next((r for r in rows if any(r)), None)
    if reference is None:
        return None
    common = sp.gcd_list([sp.expand(e) for e in reference])
    c = [sp.factor(sp.cancel(e / common)) for e in reference]
    place = next(k for k, e in enumerate(c) if e != 0)
    v = [sp.factor(sp.cancel(sp.expand(r[place]) / c[place])) for r in rows]
    exact = all(_same(e, a * b) for r, a in zip(rows, v, strict=True) for e, b in zip(r, c, strict=True))
    return (v, c) if exact and not any(_divides(e) for e in (*v, *c)) else None


def _same(a: sp.Expr, b: sp.Expr) -> bool:
    return sp.expand(a - b) == 0


def _divides(e: sp.Expr) -> bool:
    return bool(sp.denom(sp.together(e)).free_symbols)


def _refused(what: str) -> InputError:
    advice = "Leave noise out: it takes a normal for each feature."
    return InputError(f"noise: 'exact-law' needs a loss whose noise lies along one vector; got {what}. {advice}")
