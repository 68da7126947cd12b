"""Laws of the heavy ball m theta'' + c theta' = -grad L(theta), one or two for every affine symmetry, whatever the
data.

For a generator (A, b), v = A theta + b and <grad L, v> = 0, so P = theta'.v obeys m P' + c P = m theta'^T A theta'.
Hence
    A = A^T, C = theta^T A theta + 2 b.theta     m C'' + c C' = 2 m theta'^T A theta'      (C' = 2 P: the charge is
    damped, not kept) A = -A^T, any b                              P e^{ct/m} is conserved                   (rotations
    and translations) any (A, b)                                   (P e^{ct/m})' = e^{ct/m} theta'^T A theta'
A translation (A = 0) is of the first two kinds at once: both m C' + c C and P e^{ct/m} are conserved. Weight decay
lambda (L gains lambda |theta|^2/2) adds -2 lambda v.theta, 0 and -(lambda/m) e^{ct/m} v.theta to the right sides;
rotations with b = 0 do not feel it. Source: Marcotte, Gribonval, Peyre, "Keep the Momentum" (2405.12888), for linear A;
affine generators by the same computation.

Momentum SGD u' = beta u + g, theta' = theta - eta u is the heavy ball with m = eta (1 + beta)/2, c = 1 - beta in time t
= eta k, to second order in eta (`heavy_ball`). Its own exact law, on every path: u_{k+1}.v_k = beta (u_k.v_{k-1} - eta
u_k^T A u_k), so that for A = -A^T it decays by exactly beta a step and from rest stays zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic.algebra.affine import AffineField
from symbolic.algebra.field_span import FieldSpan
from symbolic.errors import InputError
from symbolic.language.names import latex
from symbolic.problem.base_distribution import floats
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, t
from symbolic.symmetry.generators import Algebra
from symbolic.symmetry.solve import antisymmetric_part, translation_part

Array = np.ndarray
MASS = sp.Symbol("m", positive=True)
FRICTION = sp.Symbol("c", nonnegative=True)


def velocities(loss: Loss) -> tuple[sp.Symbol, ...]:
    """The symbols of theta': u -> u', U[0,1] -> U'[0,1]."""
    return tuple(
        sp.Symbol("'[".join(s.name.split("[", 1)) + ("" if "[" in s.name else "'"), real=True) for s in loss.theta
    )


def heavy_ball(sgd: SGD) -> tuple[float, float]:
    """(mass, friction) of the heavy ball that momentum SGD follows in time t = eta*k, to second order in eta."""
    return sgd.learning_rate * (1 + sgd.momentum) / 2, 1 - sgd.momentum


@dataclass(frozen=True, eq=False)
class MomentumLaw:
    """d/dt expression = source along every solution of the heavy ball m theta'' + c theta' = -grad L.

    Conserved where source is 0. Expressions are in the loss's theta, the velocities, the time
    `symbolic.problem.optimizer.t` and the symbols m and c; theta and velocity as numbers have shape (..., D).

    Attributes
    ----------
    loss
        The loss.
    field
        The generator A theta + b.
    kind
        "charge" (expression m C' + c C), "rotation", "translation" or "mixed" (theta'.(A theta + b) e^{ct/m}).
    name
        "M_1", ...
    """

    loss: Loss
    field: AffineField
    kind: str
    name: str

    @cached_property
    def generator(self) -> tuple[sp.Matrix, sp.Matrix]:
        """(A, b): SymPy matrices D x D and D x 1."""
        return self.field.matrices()

    @cached_property
    def conserved(self) -> bool:
        """Whether the source vanishes (without weight decay)."""
        return self.source == 0

    @cached_property
    def charge(self) -> sp.Expr | None:
        """C = theta^T A theta + 2 b.theta for kind "charge", else None."""
        return self.field.charge(self.loss.theta) if self.kind == "charge" else None

    @cached_property
    def moment(self) -> sp.Expr:
        """P = theta'.(A theta + b)."""
        return self.field.form(velocities(self.loss), self.loss.theta)

    @cached_property
    def expression(self) -> sp.Expr:
        """The quantity whose rate of change is `source`."""
        if self.charge is not None:
            return 2 * MASS * self.moment + FRICTION * self.charge
        return sp.exp(FRICTION * t / MASS) * self.moment

    @cached_property
    def source(self) -> sp.Expr:
        """The right side: 2 m theta'^T A theta' for a charge, e^{ct/m} theta'^T A theta' otherwise; 0 when
        conserved."""
        dot = velocities(self.loss)
        factor = 2 * MASS if self.kind == "charge" else sp.exp(FRICTION * t / MASS)
        return factor * self.field.form(dot, dot, 0)

    @cached_property
    def decay(self) -> sp.Expr:
        """What weight decay adds to the right side, per unit of lambda_wd."""
        factor = -2 if self.kind == "charge" else -sp.exp(FRICTION * t / MASS) / MASS
        return factor * self.field.form(self.loss.theta, self.loss.theta)

    def value(self, theta: Array, velocity: Array, t: Any = 0.0, mass: float = 1.0, friction: float = 0.0) -> Any:
        """`expression` as a number.

        Parameters
        ----------
        theta, velocity
            Points and their time derivatives, (..., D).
        t
            Time, broadcast.
        mass, friction
            m > 0 and c >= 0.

        Returns
        -------
        float or ndarray (...)

        Raises
        ------
        InputError
            For a bad mass or friction, or overflow.
        """
        x, y, growth = self._numbers(theta, velocity, t, mass, friction)
        moment = self.field.form(y, x)
        if self.kind == "charge":
            return _finite(2 * mass * moment + friction * self.field.form(x, x, 2), self.name)
        return _finite(growth * moment, self.name)

    def rate(
        self,
        theta: Array,
        velocity: Array,
        t: Any = 0.0,
        mass: float = 1.0,
        friction: float = 0.0,
        weight_decay: float = 0.0,
    ) -> Any:
        """d/dt of `value` along the heavy ball: `source` + weight_decay * `decay` as a number.

        Parameters
        ----------
        theta, velocity
            Points and their time derivatives, (..., D).
        t
            Time, broadcast.
        mass, friction
            m > 0 and c >= 0.
        weight_decay
            lambda.

        Returns
        -------
        float or ndarray (...)
        """
        x, y, growth = self._numbers(theta, velocity, t, mass, friction)
        square, pull = self.field.form(y, y, 0), weight_decay * self.field.form(x, x)
        return _finite(
            2 * mass * square - 2 * pull if self.kind == "charge" else growth * (square - pull / mass), self.name
        )

    def _numbers(self, theta: Array, velocity: Array, t: Any, mass: float, friction: float) -> tuple[Array, Array, Any]:
        masses, frictions = floats("MomentumLaw.mass", mass), floats("MomentumLaw.friction", friction)
        numbers = masses.ndim == frictions.ndim == 0 and np.isfinite(masses) and np.isfinite(frictions)
        if not (numbers and masses > 0 and frictions >= 0):
            raise InputError(
                f"MomentumLaw: mass must be positive and friction not negative; got {mass!r} and {friction!r}. Give"
                " finite numbers."
            )
        points = self.loss.points(theta), self.loss.points(velocity, "velocity")
        x, y = (np.moveaxis(a, -1, 0) for a in points)
        with np.errstate(over="ignore"):
            return x, y, np.exp(friction * np.asarray(t, dtype=float) / mass)

    def to_latex(self) -> str:
        """The law as LaTeX, without dollar signs."""
        dots = {}
        for v, s in zip(velocities(self.loss), self.loss.theta, strict=True):
            head, bracket, index = s.name.partition("[")
            dots[v] = rf"\dot{{{latex(sp.Symbol(head))}}}" + (
                bracket + index if index.strip("0123456789,]") == "" else ""
            )

        def tex(e: Any) -> str:
            return latex(e, dots)

        dot = velocities(self.loss)
        square = self.field.form(dot, dot, 0)
        if self.charge is not None:
            return rf"m\,\ddot C + c\,\dot C = {tex(2 * MASS * square)},\quad C = {tex(self.charge)}"
        right = "0" if square == 0 else rf"e^{{ct/m}}\left({tex(square)}\right)"
        return rf"\frac{{d}}{{dt}}\left[e^{{ct/m}}\left({tex(self.moment)}\right)\right] = {right}"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.to_latex()}$"

    def __str__(self) -> str:
        if self.charge is not None:
            return f"{self.name} ({self.kind}): m*C'' + c*C' = {self.source} with C = {self.charge}"
        return f"{self.name} ({self.kind}): d/dt[{self.expression}] = {self.source}"

    __repr__ = __str__


def _finite(value: Any, name: str) -> Any:
    if not np.isfinite(value).all():
        raise InputError(
            f"MomentumLaw: {name} must be finite; got an overflow or a non-finite input. Shorten friction*t/mass, or"
            " check theta and velocity."
        )
    return float(value) if np.ndim(value) == 0 else value


def momentum_laws(algebra: Algebra, loss: Loss) -> tuple[MomentumLaw, ...]:
    """The heavy ball's laws for a basis of the algebra: symmetric, then antisymmetric, then the rest.

    A = A^T (with translations): kind "charge". A = -A^T: "translation" where A = 0, else "rotation". A complement of
    these: "mixed". A translation so gives two laws, any other generator of the basis one.
    """
    if algebra.size != loss.dimension:
        raise InputError(
            f"momentum_laws: algebra and loss must belong together; got sizes {algebra.size} and {loss.dimension}. Use"
            " theory.algebra and theory.loss."
        )
    skew = antisymmetric_part(algebra.fields, linear=False)
    shifts = translation_part(skew)
    turns = FieldSpan(shifts).extended(skew)
    rest = FieldSpan([*shifts, *turns, *algebra.symmetric_fields]).extended(algebra.fields)
    kinds = [("charge", algebra.symmetric_fields), ("translation", shifts), ("rotation", turns), ("mixed", rest)]
    listed = [(kind, x) for kind, fields in kinds for x in fields]
    return tuple(MomentumLaw(loss, x, kind, f"M_{k}") for k, (kind, x) in enumerate(listed, start=1))
