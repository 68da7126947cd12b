"""Stochastic differential equations: general ones, and SGD's own (THEORY section 0)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import sympy as sp

from symbolic.autodiff import Statement, gradient, shared
from symbolic.features import Features, features
from symbolic.loss import Loss
from symbolic.stepmap import Accumulation
from symbolic.stepmap import t as time_symbol

weight_decay = sp.Symbol(":weight_decay", real=True)
"""The parameter lambda_wd of a loss's dynamics."""


class SDE:
    """dX = drift(X, t) dt + diffusion(X, t) dW, with states X of shape (D,), drift (D,), diffusion (D, J) for J independent noises.

    interpretation: "ito" or "stratonovich" (the sense in which the noise term is written). time: the symbol of time in the
    coefficients, if any. Raises ValueError.
    """

    def __init__(
        self,
        states: Sequence[sp.Symbol],
        drift: Sequence[Any],
        diffusion: Sequence[Sequence[Any]],
        interpretation: str = "ito",
        time: sp.Symbol | None = None,
        name: str = "sde",
    ) -> None:
        self.states = tuple(states)
        self.interpretation, self.time, self.name = interpretation, time, name
        d = len(self.states)
        if not d or len(set(self.states)) != d or not all(isinstance(s, sp.Symbol) for s in self.states):
            raise ValueError(f"SDE.states: must be distinct symbols; got {list(states)!r}. Name each state once.")
        if interpretation not in ("ito", "stratonovich"):
            raise ValueError(f"SDE.interpretation: must be 'ito' or 'stratonovich'; got {interpretation!r}. Pick one.")
        shapes = [len(row) if isinstance(row, (list, tuple)) else -1 for row in _rows(diffusion)]
        if len(list(drift)) != d:
            raise ValueError(
                f"SDE.drift: must have one entry per state ({d}); got {len(list(drift))}. Match the states."
            )
        if len(shapes) != d or len(set(shapes)) != 1 or shapes[0] < 1:
            raise ValueError(
                f"SDE.diffusion: must be {d} rows of equal length, one column per noise; got {len(shapes)} rows of lengths {shapes}. "
                "Write [[b]] for one state and one noise."
            )
        self.drift_vector = sp.ImmutableMatrix([sp.sympify(f, strict=True) for f in drift])
        self.diffusion_matrix = sp.ImmutableMatrix(
            [[sp.sympify(b, strict=True) for b in row] for row in _rows(diffusion)]
        )
        swap = {} if time is None else {time: time_symbol}
        self.drift_vector, self.diffusion_matrix = (
            self.drift_vector.xreplace(swap),
            self.diffusion_matrix.xreplace(swap),
        )
        loose = (self.drift_vector.free_symbols | self.diffusion_matrix.free_symbols) - {*self.states, time_symbol}
        if loose or (
            time is None and time_symbol in self.drift_vector.free_symbols | self.diffusion_matrix.free_symbols
        ):
            names = sorted(map(str, loose)) or ["t"]
            raise ValueError(
                f"SDE: coefficients may use the states and time only; got {names} besides. Put in numbers, or name time=."
            )

    @property
    def noises(self) -> int:
        """J, the number of independent Brownian motions."""
        return self.diffusion_matrix.cols

    @cached_property
    def noise_class(self) -> str:
        """ "additive", "diagonal", "scalar" or "general": what the diffusion's form allows a scheme."""
        b = self.diffusion_matrix
        if not b.free_symbols & set(self.states):
            return "additive"
        if b.cols == 1:
            return "scalar"
        diagonal = b.rows == b.cols and b.is_diagonal()
        own = (
            all(not b[i, i].free_symbols & (set(self.states) - {self.states[i]}) for i in range(b.rows))
            if diagonal
            else False
        )
        return "diagonal" if own else "general"

    def drift(self, x: sp.Matrix, t: sp.Expr) -> sp.Matrix:
        """Drift at state x and time t, (D, 1)."""
        return self.drift_vector.subs(dict(zip(self.states, x, strict=True)) | {time_symbol: t}, simultaneous=True)

    def diffusion(self, x: sp.Matrix, t: sp.Expr) -> sp.Matrix:
        """Diffusion at state x and time t, (D, J)."""
        return self.diffusion_matrix.subs(dict(zip(self.states, x, strict=True)) | {time_symbol: t}, simultaneous=True)

    def increment(self, x: sp.Matrix, t: sp.Expr, dt: sp.Expr, dW: sp.Matrix) -> sp.Matrix:
        """drift dt + diffusion dW."""
        return self.drift(x, t) * dt + self.diffusion(x, t) * dW


def _rows(diffusion: Any) -> list[Any]:
    return diffusion.tolist() if hasattr(diffusion, "tolist") else list(diffusion)


class LossDynamics:
    """Gradient dynamics of a loss, driven by inputs that carry the noise (THEORY section 6: one gradient, three dynamics).

    inputs: the averaged data features m when the loss is polynomial in the data (`features` is then set), else the averaged
    per-sample gradient itself. GD, SGD and the order-1 SDE are this one object under different inputs.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss, self.name, self.states = loss, loss.name, loss.theta
        self.features: Features | None = features(loss)
        if self.features is not None:
            f = self.features
            self.inputs = tuple(sp.Symbol(f":m_{k}", real=True) for k in range(len(f.reduced)))
            output = sp.Add(*(c * m for c, m in zip(f.reduced, self.inputs, strict=True)), f.offset)
            statements, entries = gradient(f.definitions, output, self.states)
            self.accumulation = Accumulation(f.z, (), f.monomials)
        else:
            self.inputs = tuple(sp.Symbol(f":g_{k}", real=True) for k in range(len(self.states)))
            statements, entries = [], list(self.inputs)
            shares, terms = gradient(*shared(loss.expression), self.states)
            used = tuple(s for s in loss.z if s in loss.expression.free_symbols)
            self.accumulation = Accumulation(used, tuple(shares), tuple(terms))
        self.statements: tuple[Statement, ...] = tuple(statements)
        self.gradient = sp.ImmutableMatrix(entries)

    def increment(self, x: sp.Matrix, t: sp.Expr, dt: sp.Expr, inputs: sp.Matrix) -> sp.Matrix:
        """-(gradient + weight_decay x) dt, the noise being in the inputs; x must be the states themselves."""
        return -dt * (self.gradient + weight_decay * x)
