"""A loss's dynamics that carry sums of known mean 0 beside the state: control variates for means of observables
(docs/theory.md eq. (6.4))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import sympy as sp

from symbolic.dynamics.autodiff import Statement, gradient, shared
from symbolic.dynamics.gradient import LossDynamics

spread = sp.Symbol(":spread", real=True)
"""Covariance of the inputs of a step over that of one sample's features."""
MOST_FEATURES, MOST_TERMS = 64, 5_000
"""Most features whose sums are carried; most operations of the curvature terms of all observables together."""


class MartingaleDynamics(LossDynamics):
    """Dynamics whose gradient is linear in the features m, with sums over steps from 0: of h (m - E m), feature by
    feature; and of each observable's own noise, (-h grad f + h^2 A G).n + (h^2/2) (n.A n - E n.A n), n the noise of
    the gradient, G its mean, A the Hessian of f where that is constant, else left out. Each has conditional mean 0 at
    every step."""

    def __init__(self, inner: LossDynamics, observed: Sequence[sp.Expr]) -> None:
        assert inner.features is not None, "features are needed"
        self.inner = inner
        self.loss, self.name, self.features = inner.loss, inner.name, inner.features
        self.inputs, self.accumulation, self.gradient = inner.inputs, inner.accumulation, inner.gradient
        self.parameters = (*inner.parameters, spread)
        mean, factor = self.moments
        theta = sp.ImmutableMatrix(inner.states)
        self._given = list(-inner.increment(theta, sp.S.Zero, sp.S.One, sp.ImmutableMatrix(self.inputs)))
        statements, centre = self._at(mean, "e")
        names = [sp.Symbol(f":mean_{i}", real=True) for i in range(len(theta))]
        noise = [sp.Symbol(f":noise_{i}", real=True) for i in range(len(theta))]
        self.statements = (
            *inner.statements,
            *statements,
            *zip(names, centre, strict=True),
            *((n, e - c) for n, e, c in zip(noise, self._given, names, strict=True)),
        )
        few = len(self.inputs) <= MOST_FEATURES
        self.centred = [m - sp.Float(e) for m, e in zip(self.inputs, mean, strict=True)] if few else []
        self._names, self._noise = names, noise
        columns = self._columns(factor) if any(_degree(f, theta) == 2 for f in observed) else []
        self.own = [self._own(j, f, columns) for j, f in enumerate(dict.fromkeys(observed))]
        count = len(self.centred) + len(self.own)
        self.carried = tuple(sp.Symbol(f":sum_{k}", real=True) for k in range(count))
        self.states = (*inner.states, *self.carried)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        found = self.inner.moments
        assert found is not None
        return found

    def increment(self, x: sp.Matrix, t: sp.Expr, dt: sp.Expr, inputs: sp.Matrix) -> sp.Matrix:
        moved = self.inner.increment(x[: len(self.inner.states), :], t, dt, inputs)
        sums = [dt * e for e in self.centred] + [dt * first + dt**2 * second for first, second in self.own]
        return sp.ImmutableMatrix([*moved, *sums])

    def _at(self, inputs: np.ndarray, tag: str) -> tuple[list[Statement], list[sp.Expr]]:
        """The gradient at numbers for its inputs: the statements that depend on these, renamed, and its entries."""
        values: dict[sp.Basic, sp.Basic] = {
            m: sp.Float(v) if v else sp.S.Zero for m, v in zip(self.inputs, inputs, strict=True)
        }
        statements: list[Statement] = []
        for name, value in self.inner.statements:
            if not value.free_symbols & values.keys():
                continue
            fixed = value.xreplace(values)
            if fixed.is_number:
                values[name] = fixed
            else:
                values[name] = sp.Symbol(f":{tag}{name.name}", real=True)
                statements.append((values[name], fixed))
        return statements, [e.xreplace(values) for e in self._given]

    def _columns(self, factor: np.ndarray) -> list[list[sp.Expr]]:
        """H R, column by column: the gradient's noise is H R times noise of unit covariance. None where too long."""
        statements, offset = self._at(np.zeros(len(self.inputs)), "z")
        columns = []
        for r, column in enumerate(factor.T):
            more, entries = self._at(column, f"r{r}")
            statements += more
            columns.append([a - b for a, b in zip(entries, offset, strict=True)])
        if sum(int(sp.count_ops(e)) for _, e in statements) + sum(int(sp.count_ops(c)) for c in columns) > MOST_TERMS:
            return []
        found = []
        for r, column in enumerate(columns):
            named: Mapping[int, sp.Symbol] = {
                i: sp.Symbol(f":column{r}_{i}", real=True) for i, e in enumerate(column) if e != 0
            }
            statements += [(s, column[i]) for i, s in named.items()]
            found.append([named.get(i, sp.S.Zero) for i in range(len(column))])
        self.statements = (*self.statements, *statements)
        return found

    def _own(self, j: int, f: sp.Expr, columns: list[list[sp.Expr]]) -> tuple[sp.Expr, sp.Expr]:
        """What dt and dt^2 multiply in the step of an observable's sum."""
        states = self.inner.states
        statements, slope = gradient(*shared(f, f":f{j}"), states)
        self.statements = (*self.statements, *statements)
        first = sp.Add(*(-g * n for g, n in zip(slope, self._noise, strict=True)))
        if not columns or _degree(f, states) != 2:
            return first, sp.S.Zero
        hessian = sp.hessian(f, states)
        pairs = [(i, k, hessian[i, k]) for i in range(len(states)) for k in range(len(states)) if hessian[i, k] != 0]

        def form(a: Sequence[sp.Expr], b: Sequence[sp.Expr]) -> sp.Expr:
            return sp.Add(*(c * a[i] * b[k] for i, k, c in pairs))

        n = self._noise
        square = form(n, n) - spread * sp.Add(*(form(c, c) for c in columns))
        return first, form(self._names, n) + square / 2


def _degree(f: sp.Expr, states: Sequence[sp.Symbol]) -> float:
    """A bound on the degree as a polynomial in the states, read off the expression; inf where it is none."""
    if not f.free_symbols & set(states):
        return 0
    if f.is_Symbol:
        return 1
    if f.is_Add:
        return max(_degree(a, states) for a in f.args)
    if f.is_Mul:
        return sum(_degree(a, states) for a in f.args)
    if f.is_Pow and f.exp.is_Integer and f.exp.is_positive:
        return int(f.exp) * _degree(f.base, states)
    return float("inf")
