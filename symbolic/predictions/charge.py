"""A conserved charge of gradient flow, and what noise, weight decay and finite steps do to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic.algebra.affine import AffineField
from symbolic.language.names import latex
from symbolic.noise import drift as laws
from symbolic.noise.covariance import Noise
from symbolic.noise.eigenspaces import Eigenspaces
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Charge:
    """C(theta) = theta^T A theta + 2 b^T theta, kept by gradient flow as <grad loss, A theta + b> = 0 for every sample.

    Attributes
    ----------
    loss
        The loss.
    field
        The generator A theta + b, with A = A^T.
    noise
        Mean and covariance of the gradient.
    name
        "C_1", ...
    classification
        "convergent", "divergent" or "frozen" at a generic theta, None when undecided.
    reason
        Why.

    References
    ----------
    Ziyin et al., arXiv 2402.07193; docs/theory.md eq. (2.2), (3.2).
    """

    loss: Loss
    field: AffineField
    noise: Noise
    name: str
    classification: str | None
    reason: str

    @cached_property
    def generator(self) -> tuple[sp.Matrix, sp.Matrix]:
        """(A, b) with grad C = 2 (A theta + b): SymPy matrices D x D and D x 1."""
        return self.field.matrices()

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
        return self.field.arrays()

    @cached_property
    def spaces(self) -> Eigenspaces:
        """The eigenspaces of A."""
        return Eigenspaces.of(self.field)

    @cached_property
    def kind(self) -> str:
        """Kind: "rescaling" (diagonal A of both signs), "scale" (one sign), "translation" (A = 0), or "mixed"."""
        return self.field.kind

    @cached_property
    def expression(self) -> sp.Expr:
        """C in the loss's symbols."""
        return self.field.charge(self.loss.theta)

    def value(self, theta: Array) -> Any:
        """C as a number.

        Parameters
        ----------
        theta
            Points, (..., D).

        Returns
        -------
        float or ndarray (...)
        """
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
        (a, b), theta = self.generator, self.loss.theta

        def named(value: sp.Expr | None, text: str) -> sp.Expr:
            return sp.Symbol(text, real=True) if value is None else value

        trace = named(self._trace, f"Tr[Sigma*A({self.name})]")
        mean_form = named(self.noise.mean_form(a), f"g*A({self.name})*g") if with_mean else sp.S.Zero
        mean_dot = named(self.noise.mean_dot(b), f"b({self.name})*g") if with_mean else sp.S.Zero
        return laws.Terms(trace, mean_form, mean_dot, *(self.field.form(theta, theta, shift) for shift in (0, 1)))

    def terms(self, theta: Array) -> laws.Terms:
        """The numbers that every drift formula needs.

        Parameters
        ----------
        theta
            A point, (D,).

        Returns
        -------
        Terms
        """
        theta, mean, root, _ = self.noise.at_point(theta, "drift")
        quadratic = float(theta @ self.A @ theta)
        trace = 0.0 if self.classification == "frozen" else np.einsum("ik,ij,jk->", root, self.A, root, optimize=True)
        return laws.Terms(
            float(trace),
            float(mean @ self.A @ mean),
            float(self.b @ mean),
            quadratic,
            quadratic + float(self.b @ theta),
        )

    def sides(self, at: Any) -> tuple[float, float]:
        """The noise that lifts C and the noise that lowers it, Tr[Sigma A+] and Tr[Sigma A-] with A = A+ - A-: equal
        where noise leaves the charge in place. Its drift is T (left - right), without weight decay.

        Parameters
        ----------
        at
            A point, {symbol or name: value} or numbers (D,).

        Returns
        -------
        tuple of float

        Raises
        ------
        InputError
            For a point that does not fit the loss, and where the noise has no covariance.
        """
        root, rounding = self.noise.at_point(at, "sides")[2:]
        push = self.spaces.values * self.spaces.push(root, rounding)
        return float(push[push > 0].sum()), float(-push[push < 0].sum())

    def drift(self, sgd: SGD | None = None, order: int = 1, svag: int | None = None) -> sp.Expr:
        """E dC/dt at theta, as an expression; time t = eta*k.

        Where Sigma has no expression fit to write, a symbol named Tr[Sigma*A(..)] stands for it: `drift_at` gives its
        numbers.

        Parameters
        ----------
        sgd
            The optimiser; symbols T, lambda_wd and eta stand for it where it is left out.
        order
            1 or 2: which SDE.
        svag
            A whole l >= 1 for discrete SVAG instead, exact per unit time: l = 1 is SGD, l -> oo the SDE of order 1.

        Returns
        -------
        Expr

        Raises
        ------
        InputError
            For momentum at order 2 or with svag.

        Examples
        --------
        >>> from symbolic import SGD, derive, library
        >>> derive(library.rescaling()).charges[0].drift(SGD(learning_rate=0.02))
        (u**2 - w**2)*(-8*u**2*w**2 + 16*u*w - 9)/50
        """
        laws.refuse_svag(svag, sgd, order)
        terms = self._symbolic(order == 2 or svag is not None)
        return sp.sympify(laws.sde(terms, self.noise.rates(sgd, order), order, svag), strict=True)

    def increment(self, sgd: SGD | None = None) -> sp.Expr:
        """E[C_{k+1} - C_k | theta] for one step of discrete SGD, exact in eta, with weight decay and sampling.

        Parameters
        ----------
        sgd
            The optimiser; symbols stand for it where it is left out.

        Returns
        -------
        Expr

        Raises
        ------
        InputError
            For momentum.
        """
        laws.refuse_momentum(sgd)
        return sp.sympify(laws.step(self._symbolic(True), self.noise.rates(sgd)), strict=True)

    def momentum_increment(self, sgd: SGD, step: int | None = None) -> sp.Expr:
        """E[C_n - C_{n-1}] for a step of momentum SGD from rest, at theta_{n-1}, up to O(eta^3).

        Parameters
        ----------
        sgd
            The optimiser.
        step
            n; None once the transient, about 1/(1 - beta) steps, is over.

        Returns
        -------
        Expr

        Raises
        ------
        InputError
            For a schedule.
        """
        r = self.noise.rates(laws.without_momentum(sgd, step))
        return sp.sympify(laws.momentum_step(self._symbolic(True), r, sp.nsimplify(sgd.momentum), step), strict=True)

    def drift_at(self, theta: Array, sgd: SGD, order: int = 1, svag: int | None = None) -> float:
        """`drift` as a number.

        Parameters
        ----------
        theta
            A point, (D,).
        sgd
            The optimiser.
        order, svag
            As for `drift`.

        Returns
        -------
        float
            Per unit of t = eta*k.

        Raises
        ------
        InputError
            For a schedule.
        """
        laws.refuse_svag(svag, sgd, order)
        return float(laws.sde(self.terms(theta), self.noise.rates(sgd, order, numeric=True), order, svag))

    def drift_error(self, theta: Array, sgd: SGD) -> float:
        """Standard error of `drift_at`, where Sigma is an average over quasi-random points; 0 where it is exact.

        Parameters
        ----------
        theta
            A point, (D,).
        sgd
            The optimiser.

        Returns
        -------
        float
            Per unit of t = eta*k.
        """
        rates = self.noise.rates(sgd, numeric=True)
        error = self.noise.trace_error(theta, lambda v: self.field.form(v.T, v.T, shift=0))
        return float(rates.speed**2 * rates.temperature * error)

    def increment_at(self, theta: Array, sgd: SGD) -> float:
        """`increment` as a number.

        Parameters
        ----------
        theta
            A point, (D,).
        sgd
            The optimiser.

        Returns
        -------
        float
            Per step.

        Raises
        ------
        InputError
            For momentum or a schedule.
        """
        laws.refuse_momentum(sgd)
        return float(laws.step(self.terms(theta), self.noise.rates(sgd, numeric=True)))

    def momentum_increment_at(self, theta: Array, sgd: SGD, step: int | None = None) -> float:
        """`momentum_increment` as a number.

        Parameters
        ----------
        theta
            A point, (D,).
        sgd
            The optimiser.
        step
            As for `momentum_increment`.

        Returns
        -------
        float
            Per step.

        Raises
        ------
        InputError
            For a schedule.
        """
        r = self.noise.rates(laws.without_momentum(sgd, step), numeric=True)
        return float(laws.momentum_step(self.terms(theta), r, sgd.momentum, step))

    def __repr__(self) -> str:
        return f"Charge({self.name} = {self.expression}; {self.kind}, {self.classification})"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.name} = {latex(self.expression)}$"
