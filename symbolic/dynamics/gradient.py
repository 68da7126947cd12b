"""SGD's own dynamics: one gradient, driven by minibatches, by its mean, or by the noise of the order-1 SDE
(docs/theory.md eq. (6.1))."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import sympy as sp

from symbolic.dynamics.autodiff import Statement, gradient
from symbolic.dynamics.step_map import Accumulation, RowSlopes
from symbolic.errors import InputError
from symbolic.problem.features import Features, features
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.sampling import factorise

weight_decay = sp.Symbol(":weight_decay", real=True)
"""The parameter lambda_wd of a loss's dynamics."""


class LossDynamics:
    """Gradient dynamics of a loss, driven by inputs that carry the noise (docs/theory.md eq. (6.1): one gradient, three
    dynamics).

    inputs: the averaged data features m when the loss is polynomial in the data (`features` is then set), else the
    averaged per-sample gradient itself. GD, SGD and the order-1 SDE are this one object under different inputs.
    parameters: constants of a run. carried: states after the loss's own, which a run saves too.
    """

    parameters: tuple[sp.Symbol, ...] = (weight_decay,)
    carried: tuple[sp.Symbol, ...] = ()

    def __init__(self, loss: Loss) -> None:
        self.loss, self.name, self.states = loss, loss.name, loss.theta
        self.features: Features | None = features(loss)
        if self.features is not None:
            f = self.features
            self.inputs = tuple(sp.Symbol(f":m_{k}", real=True) for k in range(len(f.reduced)))
            output = sp.Add(*(c * m for c, m in zip(f.reduced, self.inputs, strict=True)), f.offset)
            statements, entries = gradient(f.definitions, output, self.states)
            self.accumulation: Accumulation | RowSlopes = Accumulation(f.z, (), f.monomials)
        else:
            self.inputs = tuple(sp.Symbol(f":g_{k}", real=True) for k in range(len(self.states)))
            statements, entries = [], list(self.inputs)
            free = loss.expression.free_symbols
            used = tuple(s for s in loss.z if s in free)
            self.accumulation = RowSlopes(used, loss.expression, self.states)
        self.statements: tuple[Statement, ...] = tuple(statements)
        self.gradient = sp.ImmutableMatrix(entries)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(E m, R) of the features, (K,) and (K, rank), with R R^T = Cov m; None for a loss that is not polynomial in
        the data. Raises InputError for laws with symbols."""
        if self.features is None:
            return None
        mean, covariance = self.features.numeric_moments()
        return mean, factorise(covariance)

    def formulas(self, sgd: SGD) -> tuple[list[sp.Expr], list[list[sp.Expr]]]:
        """Drift (D,) and diffusion (D, J) of d theta = -s (grad L + wd theta) dt - s sqrt(T) H R dW, with H m the
        gradient in the features m and the coefficients of `SGD.rates`. Raises InputError as for `moments`, or without
        a covariance of features."""
        if self.moments is None:
            raise InputError(
                "SDE.from_loss: needs the diffusion as a formula; got a loss that is not polynomial in the data. Use"
                " euler-maruyama."
            )
        (mean, root), r, theta = self.moments, sgd.rates(self.loss), sp.ImmutableMatrix(self.states)
        entries = self.gradient
        for name, value in reversed(self.statements):
            entries = entries.xreplace({name: value})
        H = entries.jacobian(self.inputs) if self.inputs else sp.zeros(len(theta), 0)
        speed = sp.sympify(r.speed, strict=True)
        slope = entries.xreplace(dict(zip(self.inputs, map(sp.Float, mean), strict=True)))
        R = sp.Matrix(*root.shape, [sp.Float(e) if e else sp.S.Zero for e in root.ravel()])
        noise = -speed * r.temperature**0.5 * H * R
        decay = r.weight_decay * theta if r.weight_decay else sp.zeros(len(theta), 1)
        return list(-speed * (slope + decay)), (noise if noise.cols else sp.zeros(len(theta), 1)).tolist()

    def increment(self, x: sp.Matrix, t: sp.Expr, dt: sp.Expr, inputs: sp.Matrix) -> sp.Matrix:
        """-(gradient + weight_decay x) dt, the noise being in the inputs; x must be the states themselves."""
        return -dt * (self.gradient + weight_decay * x)
