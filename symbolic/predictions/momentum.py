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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic.algebra.nullspace import Solver, Vector, readable
from symbolic.algebra.span import Span
from symbolic.errors import InputError
from symbolic.language.names import latex
from symbolic.problem.distributions import floats
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, t
from symbolic.symmetry.generators import Algebra, matrices

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
    """d/dt expression = source along every solution of the heavy ball; conserved where source is 0.

    kind: "charge" (expression m C' + c C), "rotation", "translation" or "mixed" (expression theta'.(A theta + b)
    e^{ct/m}). name: "M_1", ... vector: the generator over (A row-major, b). Expressions are in the loss's theta,
    `velocities(loss)`, the time `symbolic.problem.optimizer.t` and the symbols MASS (m) and FRICTION (c); theta and
    velocity as numbers have shape (..., D).
    """

    loss: Loss
    vector: Vector
    kind: str
    name: str

    @cached_property
    def generator(self) -> tuple[sp.Matrix, sp.Matrix]:
        """(A, b): SymPy matrices D x D and D x 1."""
        return matrices(self.vector, self.loss.dimension)

    @cached_property
    def _split(self) -> tuple[list[tuple[int, int, sp.Rational]], list[tuple[int, sp.Rational]]]:
        d, quadratic, linear = self.loss.dimension, [], []
        for index, c in sorted(self.vector.items()):
            value = sp.Rational(c.numerator, c.denominator)
            if index < d * d:
                quadratic.append((*divmod(index, d), value))
            else:
                linear.append((index - d * d, value))
        return quadratic, linear

    def _form(self, left: Any, right: Any, shift: int = 1) -> Any:
        """left.(A right + shift b), for symbols or for arrays with the D entries first."""
        quadratic, linear = self._split
        exact = isinstance(left[0], sp.Basic)
        terms = [(c if exact else float(c)) * left[i] * right[j] for i, j, c in quadratic]
        terms += [(c if exact else float(c)) * shift * left[i] for i, c in linear] if shift else []
        return sp.Add(*terms) if exact else sum(terms, np.zeros(np.shape(left[0])))

    @cached_property
    def conserved(self) -> bool:
        """Whether the source vanishes (without weight decay)."""
        return self.source == 0

    @cached_property
    def charge(self) -> sp.Expr | None:
        """C = theta^T A theta + 2 b.theta for kind "charge", else None."""
        return self._form(self.loss.theta, self.loss.theta, 2) if self.kind == "charge" else None

    @cached_property
    def moment(self) -> sp.Expr:
        """P = theta'.(A theta + b)."""
        return self._form(velocities(self.loss), self.loss.theta)

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
        return factor * self._form(dot, dot, 0)

    @cached_property
    def decay(self) -> sp.Expr:
        """What weight decay adds to the right side, per unit of lambda_wd."""
        factor = -2 if self.kind == "charge" else -sp.exp(FRICTION * t / MASS) / MASS
        return factor * self._form(self.loss.theta, self.loss.theta)

    def value(self, theta: Array, velocity: Array, t: Any = 0.0, mass: float = 1.0, friction: float = 0.0) -> Any:
        """`expression` as a number, shape (...,) with t broadcast. Raises ValueError for a bad mass or friction, or
        overflow."""
        x, y, growth = self._numbers(theta, velocity, t, mass, friction)
        moment = self._form(y, x)
        if self.kind == "charge":
            return _finite(2 * mass * moment + friction * self._form(x, x, 2), self.name)
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
        """`source` + weight_decay * `decay` as a number: d/dt of `value` along the heavy ball, shape (...,)."""
        x, y, growth = self._numbers(theta, velocity, t, mass, friction)
        square, pull = self._form(y, y, 0), weight_decay * self._form(x, x)
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
        square = self._form(dot, dot, 0)
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
    d = algebra.size
    if d != loss.dimension:
        raise InputError(
            f"momentum_laws: algebra and loss must belong together; got sizes {d} and {loss.dimension}. Use"
            " theory.algebra and theory.loss."
        )
    skew = _antisymmetric(algebra.vectors, d)
    shifts = readable(_without_linear_part(skew, d))
    turns = _extension(shifts, skew)
    rest = _extension([*shifts, *turns, *algebra.symmetric_vectors], algebra.vectors)
    kinds = [("charge", algebra.symmetric_vectors), ("translation", shifts), ("rotation", turns), ("mixed", rest)]
    listed = [(kind, v) for kind, vectors in kinds for v in vectors]
    return tuple(MomentumLaw(loss, dict(v), kind, f"M_{k}") for k, (kind, v) in enumerate(listed, start=1))


def _solved(vectors: Sequence[Vector], rows: dict[Any, Vector]) -> list[Vector]:
    """The combinations of `vectors` whose mixing coefficients annihilate every row."""
    solver = Solver(len(vectors))
    solver.add([kept for row in rows.values() if (kept := {k: c for k, c in row.items() if c})])
    out = []
    for mix in solver.basis():
        total: Vector = {}
        for k, factor in mix.items():
            for index, c in vectors[k].items():
                total[index] = total.get(index, 0) + factor * c
        out.append({i: c for i, c in total.items() if c})
    return out


def _antisymmetric(vectors: Sequence[Vector], size: int) -> list[Vector]:
    """The part of a span with A = -A^T, b free, in a readable basis."""
    rows: dict[Any, Vector] = {}
    for k, vector in enumerate(vectors):
        for index, c in vector.items():
            if index < size * size:
                row = rows.setdefault(tuple(sorted(divmod(index, size))), {})
                row[k] = row.get(k, 0) + c
    return readable(_solved(vectors, rows))


def _without_linear_part(vectors: Sequence[Vector], size: int) -> list[Vector]:
    """The part of a span with A = 0."""
    rows: dict[Any, Vector] = {}
    for k, vector in enumerate(vectors):
        for index, c in vector.items():
            if index < size * size:
                rows.setdefault(index, {})[k] = c
    return _solved(vectors, rows)


def _extension(base: Sequence[Vector], vectors: Sequence[Vector]) -> list[Vector]:
    """The vectors, in order, that are independent of the base and of those taken before."""
    span = Span(base)
    return [vector for vector in vectors if span.insert(vector)]
