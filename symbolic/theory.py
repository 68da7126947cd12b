"""What a loss conserves and what SGD's noise does to it: the result of `derive`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic import display
from symbolic.algebra.polynomial import TooLarge
from symbolic.errors import InputError, instance
from symbolic.evaluation.random_points import Probe
from symbolic.language.calls import called
from symbolic.noise.covariance import Noise
from symbolic.noise.sign_class import GenericNoise
from symbolic.predictions import Breaking, LabelNoise, MomentumLaw, breaking, label_noise, momentum_laws
from symbolic.predictions.charge import Charge, scaled
from symbolic.predictions.derivation import Derivation
from symbolic.predictions.sharpness import Sharpness, sharpness
from symbolic.predictions.stationary import StationaryLaw, stationary_law
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.symmetry import arranged, nonquadratic_laws
from symbolic.symmetry.generators import dimension_on_data, find_algebra
from symbolic.symmetry.invariants import Formal
from symbolic.symmetry.law_count import independent, law_count


class Theory(Derivation):
    """What a loss conserves and what SGD's noise does to it: what `derive` found, and the predictions that follow from
    it.

    Shows itself as LaTeX in a notebook; str() gives plain words.
    """

    def polynomial_laws(self, degree: int) -> list[sp.Expr]:
        """All conserved polynomials of degree 1 to `degree`, a basis. Raises ValueError where there are too many
        coefficients."""
        return nonquadratic_laws.polynomial_laws(self.loss, degree)

    @cached_property
    def momentum_laws(self) -> tuple[MomentumLaw, ...]:
        """What the heavy ball m theta'' + c theta' = -grad L makes of every generator: damped charges, decaying
        momenta."""
        return momentum_laws(self.algebra, self.loss)

    def breaking(self, of: Any) -> Breaking:
        """How any function C(theta), or a generator that is no symmetry, moves: breaking, noise and diffusion side by
        side.

        of: (A, b), {parameter: weight}, an expression, or a Charge; see
        `symbolic.predictions.broken_symmetry.breaking`. Raises ValueError.
        """
        return breaking(self.loss, of, self.noise)

    def label_noise(self, variables: Sequence[Any]) -> LabelNoise:
        """The noise of some data variables alone, the others averaged over: full-batch descent with fresh labels.
        Raises ValueError."""
        return label_noise(self.loss, variables)

    def sharpness(self, at: Mapping[Any, Any], sgd: SGD) -> Sharpness:
        """Tr Hess L at a point, how noise moves it along the orbit, and to what: sharpening or flattening. Raises
        ValueError."""
        return sharpness(self, at, sgd)

    def stationary_law(self, sgd: SGD, branch: str = "positive") -> StationaryLaw:
        """The law that a scalar chain's product settles in, as a frozen SciPy distribution. Raises ValueError for other
        losses."""
        return stationary_law(self.loss, sgd, branch)

    @cached_property
    def dimension_on_data(self) -> int:
        """Dimension of the algebra on the law or rows given alone, numerically: larger where the data are degenerate.
        Raises ValueError."""
        return dimension_on_data(self.loss)

    def to_json(self, *, details: bool = False) -> dict[str, Any]:
        """The record that `noetherflow derive --json` writes, plain lists, numbers and strings; details: with structure
        and families."""
        return display.to_json(self, details=details)

    def to_latex(self) -> str:
        """The charges, their drift and class as LaTeX."""
        return display.to_latex(self)

    def summary(self) -> str:
        """The same in plain words."""
        return display.summary(self)

    def __str__(self) -> str:
        return self.summary()

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return self.to_latex()

    def _repr_html_(self) -> str:
        return display.to_html(self)


@called()
def derive(loss: Loss) -> Theory:
    """All affine symmetries of a loss, its charges, and their class under SGD's noise. Raises ValueError."""
    instance("derive", loss, Loss, "needs a Loss", "Build one with symbolic.Loss.")
    _check_gradient(loss)
    try:
        formal: Formal | None = Formal(loss)
    except TooLarge:
        formal = None
    algebra = find_algebra(loss, formal)
    noise, size = Noise(loss), loss.dimension
    generic = GenericNoise(loss, noise)
    vectors = sorted(algebra.symmetric_vectors, key=lambda v: any(i < size * size for i in v))
    vectors = [scaled(v, size) for v in arranged(loss, vectors)]
    charges = [Charge(loss, v, noise, f"C_{k}", *generic.classify(v)) for k, v in enumerate(vectors, start=1)]
    count = independent(vectors, size)
    return Theory(loss, algebra, tuple(charges), count, law_count(loss, count), noise)


def _check_gradient(loss: Loss) -> None:
    """Refuse a loss whose gradient is nowhere real and finite, or nowhere non-zero."""
    _, g = Probe(loss).gradients(200, np.random.default_rng(3))
    if not g.shape[1]:
        raise InputError(
            "derive: a loss must be real and differentiable somewhere; got no finite gradient at 200 random points of"
            f" {loss.name}. Look for a root or logarithm of what is never positive."
        )
    if not g.any():
        raise InputError(
            f"derive: a loss must have a gradient; got one that vanishes at 200 random points of {loss.name}, as of"
            " steps and signs. Write it with functions that have a slope, such as relu, tanh or abs."
        )
