"""What is derived from a loss: symmetries, charges, their class under noise, and how many conservation laws there
are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import comb
from typing import Any, TypeVar

import numpy as np
import sympy as sp

from symbolic.algebra.affine import AffineField
from symbolic.algebra.polynomial import TooLarge
from symbolic.clock import Clock, OutOfTime
from symbolic.evaluation.prime_field import Unsupported
from symbolic.language.calls import called
from symbolic.noise.covariance import Noise
from symbolic.noise.sign_class import GenericNoise
from symbolic.predictions.charge import Charge
from symbolic.predictions.equilibrium import Equilibrium, equilibrium
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.symmetry import Forms, Structure, find_families, nonquadratic_laws, structure
from symbolic.symmetry.generators import (
    NUMERIC_LIMIT,
    Algebra,
    Certificate,
    find_algebra,
    partial_algebra,
)
from symbolic.symmetry.invariants import Formal
from symbolic.symmetry.structure import unrecognised

Array = np.ndarray
Found = TypeVar("Found")
LARGEST = 1500
"""Largest D for which all D*D + D entries of generators are solved for."""
SEARCHED = 3000
"""Coefficients up to which polynomials are sought unasked."""


@dataclass(frozen=True, eq=False, repr=False)
class Derivation:
    """What `derive` finds of one loss: symmetries, charges, and their class under noise.

    algebra: all affine symmetries. charges: a readable basis of the conserved quadratics; independent_charges: how many
    of them are functionally independent. conservation_laws: how many laws gradient flow has for all data, None when
    unknown; complete: whether the charges are all of them, None when unknown. clock: the time that it may take, parts
    computed when asked for included; undecided: which parts did not end, and what to say of them.
    """

    loss: Loss
    algebra: Algebra
    charges: tuple[Charge, ...]
    independent_charges: int
    conservation_laws: int | None
    noise: Noise
    clock: Clock = field(default_factory=Clock)
    undecided: dict[str, str] = field(default_factory=dict)

    @property
    def certificate(self) -> Certificate:
        """How sure the algebra is: .status "proved", "numerical" (with .residual) or "partial", and .reason."""
        return self.algebra.certificate

    @property
    def complete(self) -> bool | None:
        """Whether the charges are all conservation laws that hold for all data; None where the laws are not counted, or
        there may be more charges."""
        if self.conservation_laws is None:
            return None
        every = self.conservation_laws == self.independent_charges
        return None if not every and self.certificate.status == "partial" else every

    def _within(self, part: str, make: Callable[[], Found], otherwise: Found) -> Found:
        """What `make` gives under the theory's clock; `otherwise`, and noted as undecided, where it takes too long."""
        try:
            with self.clock.part(part.replace("_", " ")):
                return make()
        except (OutOfTime, TooLarge):
            self.undecided[part] = self.clock.undecided
        except Unsupported:
            self.undecided[part] = "not known"
        return otherwise

    @cached_property
    def structure(self) -> Structure:
        """What the algebra is: kinds of its generators, brackets, and the groups it is made of."""
        plain = unrecognised(self.loss, self.algebra, self.clock.undecided)
        return self._within("structure", lambda: structure(self.loss, self.algebra), plain)

    @cached_property
    def families(self) -> Forms:
        """The charges in matrix form, such as U.T @ U - W @ W.T."""
        fields = [c.field for c in self.charges]
        found = self._within("families", lambda: find_families(self.loss, fields), Forms((), tuple(range(len(fields)))))
        return replace(found, families=tuple(replace(f, sigma=self._sides_sigma) for f in found.families))

    @cached_property
    def further_laws(self) -> tuple[sp.Expr, ...]:
        """Conservation laws found that are no functions of the charges: separable ones, and polynomials of low degree.

        Empty when the charges are complete or the search does not apply; `polynomial_laws` looks at a degree of choice.
        """
        return () if self.complete is not False else self._within("further_laws", self._further_laws, ())

    def _further_laws(self) -> tuple[sp.Expr, ...]:
        found: list[sp.Expr] = []
        with suppress(ValueError):
            found += nonquadratic_laws.separable_laws(self.loss)
        degree = max((k for k in (1, 2, 3, 4) if comb(self.loss.dimension + k, k) <= SEARCHED), default=1)
        with suppress(ValueError):
            found += nonquadratic_laws.polynomial_laws(self.loss, degree)
        return tuple(nonquadratic_laws.new_laws(self.loss, found, [c.expression for c in self.charges]))

    def _sides_sigma(self, at: Any) -> Array:
        root = self.noise.at_point(at, "sides")[2]
        return root @ root.T

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

    @called()
    def equilibrium(self, at: Mapping[Any, Any] | Array, sgd: SGD, at_time: float | None = None) -> Equilibrium:
        """Where the noise leads a point, and how fast.

        Parameters
        ----------
        at
            {symbol or name: number or array}, or numbers (D,).
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
        return equilibrium(self.charges, self.noise, self.loss.point(at, "at"), held, self.algebra.fields)


def timed_algebra(loss: Loss, clock: Clock) -> Algebra:
    """The whole algebra where it is found in time, else what known actions give, so certified."""
    reason = clock.undecided
    try:
        with clock.part("algebra", 0.5):
            if loss.dimension <= LARGEST:
                return find_algebra(loss, _formal(loss))
        reason = f"not looked for beyond D = {LARGEST}"
    except TooLarge:
        reason = "not decided: the loss has no exact form that fits"
    except OutOfTime:
        if loss.dimension <= NUMERIC_LIMIT:
            with suppress(OutOfTime), clock.part("algebra at random points", 0.5):
                return find_algebra(loss, None)
    with clock.part("known actions", 0.5):
        return partial_algebra(loss, reason)


def _formal(loss: Loss) -> Formal | None:
    try:
        return Formal(loss)
    except TooLarge:
        return None


def classes(loss: Loss, noise: Noise, fields: Sequence[AffineField], clock: Clock) -> list[tuple[str | None, str]]:
    """(class, reason) of every charge; undecided where the clock strikes."""
    generic, out = GenericNoise(loss, noise), list[tuple[str | None, str]]()
    with suppress(OutOfTime), clock.part("classes", 0.5):
        out.extend(generic.classify(x) for x in fields)
    return [*out, *[(None, clock.undecided)] * (len(fields) - len(out))]
