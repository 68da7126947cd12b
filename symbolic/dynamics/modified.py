"""SGD's modified equations and SVAG as one-step maps beside SGD's own: the two SDEs differ in one number of a run, and
so do SVAG's factors."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import sympy as sp

from symbolic.dynamics.autodiff import gradient, shared
from symbolic.dynamics.gradient import LossDynamics, weight_decay
from symbolic.dynamics.step_map import Accumulation
from symbolic.errors import InputError
from symbolic.problem.loss import Loss
from symbolic.problem.sampling import factorise

correction = sp.Symbol(":correction", real=True)
"""What multiplies grad |grad L|^2/4 in the drift: 0 in the SDE of order 1, the learning rate in that of order 2."""
first_share, second_share = sp.Symbol(":first_share", real=True), sp.Symbol(":second_share", real=True)
"""a and c of SVAG's gradient a g_1 + c g_2."""
MOST_TERMS = 20_000
"""Operations of the losses of all rows together, beyond which they are not written out."""


class ModifiedDynamics(LossDynamics):
    """Gradient noise with the drift -grad(L + wd |theta|^2/2 + (correction/4) |grad L + wd theta|^2), docs/theory.md
    eq. (3.5).

    inputs: the features as in `LossDynamics`, or the weights of a data set's rows where the loss is not polynomial in
    the data. Raises InputError where the mean gradient has no closed form, or too long a one.
    """

    parameters = (weight_decay, correction)

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        self._rows: int | None = None
        if self.features is None:
            self._weigh_rows()
        mean = [sp.Float(m) for m in self.moments[0]]
        at_mean = dict(zip(self.inputs, mean, strict=True))
        fixed = [(sp.Symbol(f":e{s.name}", real=True), value) for s, value in self.statements]
        renamed = {s: name for (s, _), (name, _) in zip(self.statements, fixed, strict=True)}
        descent = [(name, value.xreplace(renamed).xreplace(at_mean)) for name, value in fixed]
        total = self.gradient.xreplace(renamed).xreplace(at_mean) + weight_decay * sp.ImmutableMatrix(self.states)
        entries = [(sp.Symbol(f":e_{i}", real=True), e) for i, e in enumerate(total)]
        energy = sp.Add(*(name**2 for name, _ in entries)) / 4
        statements, self._bend = gradient([*descent, *entries], energy, self.states)
        self.statements = (*self.statements, *statements)

    def _weigh_rows(self) -> None:
        loss = self.loss
        table = loss.blocks[0].table if len(loss.blocks) == 1 else None
        operations = 0 if table is None else len(table) * int(sp.count_ops(loss.expression))
        if table is None or operations > MOST_TERMS:
            got = f"{operations} operations over all rows" if operations else "data that are not rows of a data set"
            raise InputError(
                "compare: the SDE's drift and noise must have a closed form; got a loss that is not polynomial in the"
                f" data, with {got}. Take fewer rows (at most {MOST_TERMS} operations), or a polynomial loss."
            )
        self._rows = len(table)
        self.inputs = tuple(sp.Symbol(f":m_{k}", real=True) for k in range(self._rows))
        symbols = loss.blocks[0].symbols
        losses = [loss.expression.xreplace(dict(zip(symbols, map(sp.Float, row), strict=True))) for row in table]
        total = sp.Add(*(m * e for m, e in zip(self.inputs, losses, strict=True)))
        statements, entries = gradient(*shared(total), self.states)
        self.statements, self.gradient = tuple(statements), sp.ImmutableMatrix(entries)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, R) of the inputs: of the features, or of the weights of rows."""
        if self._rows is None:
            found = super().moments
            assert found is not None
            return found
        n = self._rows
        return np.full(n, 1 / n), factorise((np.eye(n) - 1 / n) / n)

    def increment(self, x: sp.Matrix, t: sp.Expr, dt: sp.Expr, inputs: sp.Matrix) -> sp.Matrix:
        return super().increment(x, t, dt, inputs) - dt * correction * sp.ImmutableMatrix(self._bend)


class PairedDynamics(LossDynamics):
    """SVAG (Li, Malladi, Arora, 2102.12470): SGD along a g_1 + c g_2 of two independent minibatches, a + c = 1; each
    sample comes as a pair."""

    parameters = (weight_decay, first_share, second_share)

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        one = self.accumulation
        named = [*one.z, *(s for s, _ in one.statements)]
        twin: dict[sp.Basic, sp.Basic] = {s: sp.Symbol(f":twin_{i}", real=True) for i, s in enumerate(named)}
        again = [(twin[s], e.xreplace(twin)) for s, e in one.statements]
        self.accumulation = Accumulation(
            (*one.z, *(twin[s] for s in one.z)),
            (*one.statements, *again),
            tuple(first_share * e + second_share * e.xreplace(twin) for e in one.terms),
        )
