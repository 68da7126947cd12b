"""What is derived from a loss: symmetries, charges, their class under noise, and how many conservation laws there
are."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import comb
from typing import Any

import numpy as np
import sympy as sp

from symbolic.noise.covariance import Noise
from symbolic.predictions.charge import Charge
from symbolic.predictions.equilibrium import Equilibrium, equilibrium
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.symmetry import Forms, Structure, find_families, nonquadratic_laws, structure
from symbolic.symmetry.generators import Algebra, Certificate

Array = np.ndarray
SEARCHED = 3000
"""Coefficients up to which polynomials are sought unasked."""


@dataclass(frozen=True, eq=False, repr=False)
class Derivation:
    """What `derive` finds of one loss: symmetries, charges, and their class under noise.

    algebra: all affine symmetries. charges: a readable basis of the conserved quadratics; independent_charges: how many
    of them are functionally independent. conservation_laws: how many laws gradient flow has for all data, None when
    unknown; complete: whether the charges are all of them, None when unknown.
    """

    loss: Loss
    algebra: Algebra
    charges: tuple[Charge, ...]
    independent_charges: int
    conservation_laws: int | None
    noise: Noise

    @property
    def certificate(self) -> Certificate:
        """How sure the algebra is: .status "proved", "numerical" (with .residual) or "partial", and .reason."""
        return self.algebra.certificate

    @property
    def complete(self) -> bool | None:
        """Whether the charges are all conservation laws that hold for all data."""
        return None if self.conservation_laws is None else self.conservation_laws == self.independent_charges

    @cached_property
    def structure(self) -> Structure:
        """What the algebra is: kinds of its generators, brackets, and the groups it is made of."""
        return structure(self.loss, self.algebra)

    @cached_property
    def families(self) -> Forms:
        """The charges in matrix form, such as U.T @ U - W @ W.T."""
        found = find_families(self.loss, [c.field for c in self.charges])
        return replace(found, families=tuple(replace(f, sigma=self.noise.sigma) for f in found.families))

    @cached_property
    def further_laws(self) -> tuple[sp.Expr, ...]:
        """Conservation laws found that are no functions of the charges: separable ones, and polynomials of low degree.

        Empty when the charges are complete or the search does not apply; `polynomial_laws` looks at a degree of choice.
        """
        if self.complete is not False:
            return ()
        found: list[sp.Expr] = []
        with suppress(ValueError):
            found += nonquadratic_laws.separable_laws(self.loss)
        degree = max((k for k in (1, 2, 3, 4) if comb(self.loss.dimension + k, k) <= SEARCHED), default=1)
        with suppress(ValueError):
            found += nonquadratic_laws.polynomial_laws(self.loss, degree)
        return tuple(nonquadratic_laws.new_laws(self.loss, found, [c.expression for c in self.charges]))

    def sigma(self, theta: Array) -> Array:
        """Sigma, the gradient's covariance for one sample.

        Parameters
        ----------
        theta
            Points, (..., D).

        Returns
        -------
        ndarray (..., D, D)
        """
        return self.noise.sigma(theta)

    def mean_gradient(self, theta: Array) -> Array:
        """The gradient of L = E l.

        Parameters
        ----------
        theta
            Points, (..., D).

        Returns
        -------
        ndarray (..., D)
        """
        return self.noise.mean_gradient(theta)

    def equilibrium(self, at: Mapping[Any, Any], sgd: SGD, at_time: float | None = None) -> Equilibrium:
        """Where the noise leads a point, and how fast.

        Parameters
        ----------
        at
            {symbol or name: number or array}.
        sgd
            The optimiser. A schedule counts by the value that it ends at.
        at_time
            When it is taken instead, in t = eta*k; rates are per unit of that time.

        Returns
        -------
        Equilibrium

        Raises
        ------
        InputError
            For a point that does not fit the loss, or a schedule that does not settle.

        Examples
        --------
        >>> from symbolic import SGD, derive, library
        >>> found = derive(library.rescaling()).equilibrium({"u": 1.2, "w": 0.6}, SGD(0.02))
        >>> print(f"{found[0].lambda_star:.6f}")
        -0.346574
        """
        held = require_sgd("equilibrium", sgd).settled(at_time)
        return equilibrium(self.charges, self.noise, self.loss.pack(at, "at"), held, self.algebra.fields)
