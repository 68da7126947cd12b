"""A conserved charge of gradient flow, and what noise, weight decay and finite steps do to it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import gcd, lcm
from typing import Any

import numpy as np
import sympy as sp

from symbolic.algebra.affine import kind
from symbolic.algebra.nullspace import Vector
from symbolic.errors import InputError
from symbolic.language.names import latex
from symbolic.noise import drift as laws
from symbolic.noise.covariance import Noise
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.symmetry.generators import matrices

Array = np.ndarray


def scaled(vector: Vector, size: int) -> Vector:
    """The positive multiple of a symmetric generator whose charge has coprime whole coefficients."""
    coefficients = []
    for index, c in vector.items():
        i, j = divmod(index, size) if index < size * size else (-1, -1)
        coefficients.append(Fraction(c) * (1 if i == j >= 0 else 2))
    scale = lcm(*(c.denominator for c in coefficients))
    content = gcd(*(int(c * scale) for c in coefficients))
    return {i: Fraction(c) * scale / content for i, c in vector.items()}


@dataclass(frozen=True, eq=False)
class Charge:
    """C(theta) = theta^T A theta + 2 b^T theta, kept by gradient flow because <grad loss, A theta + b> = 0 for every
    sample.

    name: "C_1", ... classification: "convergent", "divergent" or "frozen" at a generic theta, None when undecided;
    reason: why. Expressions are in the loss's own symbols. Source: Ziyin et al., arXiv 2402.07193; THEORY sections 1-3.
    """

    loss: Loss
    vector: Vector
    noise: Noise
    name: str
    classification: str | None
    reason: str

    @cached_property
    def generator(self) -> tuple[sp.Matrix, sp.Matrix]:
        """(A, b) with grad C = 2 (A theta + b): SymPy matrices D x D and D x 1."""
        return matrices(self.vector, self.loss.dimension)

    @cached_property
    def A(self) -> Array:
        """A as floats, (D, D)."""
        return self._dense[0]

    @cached_property
    def b(self) -> Array:
        """b as floats, (D,)."""
        return self._dense[1]

    @cached_property
    def _dense(self) -> tuple[Array, Array]:
        d = self.loss.dimension
        flat = np.zeros(d * d + d)
        for index, c in self.vector.items():
            flat[index] = float(c)
        return flat[: d * d].reshape(d, d), flat[d * d :]

    @cached_property
    def kind(self) -> str:
        """ "rescaling" (diagonal A of both signs), "scale" (diagonal, one sign), "translation" (A = 0) or "mixed"."""
        return kind(self.vector, self.loss.dimension)

    @cached_property
    def _parts(self) -> tuple[sp.Expr, sp.Expr]:
        """theta^T A theta and b^T theta."""
        theta, d = self.loss.theta, self.loss.dimension
        quadratic, linear = [], []
        for index, c in self.vector.items():
            value = sp.Rational(c.numerator, c.denominator)
            if index >= d * d:
                linear.append(value * theta[index - d * d])
                continue
            i, j = divmod(index, d)
            quadratic.append(value * theta[i] * theta[j])
        return sp.Add(*quadratic), sp.Add(*linear)

    @cached_property
    def expression(self) -> sp.Expr:
        """C in the loss's symbols."""
        quadratic, linear = self._parts
        return quadratic + 2 * linear

    def value(self, theta: Array) -> Any:
        """C at theta of shape (..., D): shape (...)."""
        theta = self.loss.points(theta)
        out = np.einsum("...i,ij,...j->...", theta, self.A, theta) + 2 * theta @ self.b
        return float(out) if out.ndim == 0 else out

    @cached_property
    def _trace(self) -> sp.Expr | None:
        """Tr[Sigma A], as a multiple of C where it is one."""
        trace = self.noise.trace(self.generator[0])
        if trace is None or trace == 0 or not trace.is_Mul or trace.count_ops() > 300:
            return trace
        quotient: Any = sp.cancel(trace / self.expression)
        if sp.denom(quotient).free_symbols & set(self.loss.theta):
            return trace
        return self.expression * sp.factor(quotient)

    def _symbolic(self, with_mean: bool) -> laws.Terms:
        a, b = self.generator
        quadratic, linear = self._parts

        def named(value: sp.Expr | None, text: str) -> sp.Expr:
            return sp.Symbol(text, real=True) if value is None else value

        trace = named(self._trace, f"Tr[Sigma*A({self.name})]")
        mean_form = named(self.noise.mean_form(a), f"g*A({self.name})*g") if with_mean else sp.S.Zero
        mean_dot = named(self.noise.mean_dot(b), f"b({self.name})*g") if with_mean else sp.S.Zero
        return laws.Terms(trace, mean_form, mean_dot, quadratic, quadratic + linear)

    def terms(self, theta: Array) -> laws.Terms:
        """The numbers that every drift formula needs, at one theta of shape (D,)."""
        theta = self.loss.points(theta)
        if theta.ndim != 1:
            raise InputError(f"theta: must be one point, ({self.loss.dimension},); got shape {theta.shape}. Give one.")
        mean, root = self.noise.factor(theta)
        quadratic = float(theta @ self.A @ theta)
        return laws.Terms(
            float(np.einsum("ik,ij,jk->", root, self.A, root, optimize=True)),
            float(mean @ self.A @ mean),
            float(self.b @ mean),
            quadratic,
            quadratic + float(self.b @ theta),
        )

    def drift(self, sgd: SGD | None = None, order: int = 1, svag: int | None = None) -> sp.Expr:
        """E dC/dt under the SDE of order 1 or 2, at theta; symbols T, lambda_wd and eta stand for a setting left out.

        svag: a whole factor l >= 1 gives discrete SVAG instead, exact per unit time (l = 1: SGD, l -> oo: order 1).
        Where Sigma has no expression fit to write, a symbol named Tr[Sigma*A(..)] stands for it: `drift_at` gives its
        numbers. Time t = eta*k. Raises ValueError for momentum at order 2 or with svag.
        """
        laws.refuse_svag(svag, sgd, order)
        terms = self._symbolic(order == 2 or svag is not None)
        return sp.sympify(laws.sde(terms, self.noise.rates(sgd, order), order, svag), strict=True)

    def increment(self, sgd: SGD | None = None) -> sp.Expr:
        """E[C_{k+1} - C_k | theta] for one step of discrete SGD, exact in eta; weight decay and sampling included."""
        laws.refuse_momentum(sgd)
        return sp.sympify(laws.step(self._symbolic(True), self.noise.rates(sgd)), strict=True)

    def momentum_increment(self, sgd: SGD, step: int | None = None) -> sp.Expr:
        """E[C_n - C_{n-1}] for step n of momentum SGD from rest, up to O(eta^3), at theta_{n-1}; None: once the
        transient is over.

        The transient lasts about 1/(1 - beta) steps. Formula and proof: symbolic.noise.drift. Raises ValueError for a
        schedule.
        """
        r = self.noise.rates(laws.without_momentum(sgd, step))
        return sp.sympify(laws.momentum_step(self._symbolic(True), r, sp.nsimplify(sgd.momentum), step), strict=True)

    def drift_at(self, theta: Array, sgd: SGD, order: int = 1, svag: int | None = None) -> float:
        """`drift` as a number at theta of shape (D,). Raises ValueError for a schedule."""
        laws.refuse_svag(svag, sgd, order)
        return float(laws.sde(self.terms(theta), self.noise.rates(sgd, order, numeric=True), order, svag))

    def increment_at(self, theta: Array, sgd: SGD) -> float:
        """`increment` as a number at theta of shape (D,). Raises ValueError for momentum or a schedule."""
        laws.refuse_momentum(sgd)
        return float(laws.step(self.terms(theta), self.noise.rates(sgd, numeric=True)))

    def momentum_increment_at(self, theta: Array, sgd: SGD, step: int | None = None) -> float:
        """`momentum_increment` as a number at theta of shape (D,). Raises ValueError for a schedule."""
        r = self.noise.rates(laws.without_momentum(sgd, step), numeric=True)
        return float(laws.momentum_step(self.terms(theta), r, sgd.momentum, step))

    def __repr__(self) -> str:
        return f"Charge({self.name} = {self.expression}; {self.kind}, {self.classification})"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.name} = {latex(self.expression)}$"
