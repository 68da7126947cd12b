"""What a loss conserves and what SGD's noise does to it: the result of `derive`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic import display
from symbolic.clock import LIMIT, Clock, OutOfTime, Progress, listener
from symbolic.errors import InputError, instance
from symbolic.evaluation.kink_sides import reached
from symbolic.evaluation.random_points import Probe
from symbolic.language.calls import called
from symbolic.noise.covariance import Noise
from symbolic.predictions import Breaking, LabelNoise, MomentumLaw, breaking, label_noise, momentum_laws
from symbolic.predictions.charge import Charge
from symbolic.predictions.derivation import Derivation, classes, timed_algebra
from symbolic.predictions.sharpness import Sharpness, sharpness
from symbolic.predictions.stationary import StationaryLaw, stationary_law
from symbolic.problem.loss import Loss
from symbolic.problem.mean_loss import hessian_trace
from symbolic.problem.optimizer import SGD
from symbolic.symmetry import arranged, nonquadratic_laws
from symbolic.symmetry.generators import dimension_on_data
from symbolic.symmetry.law_count import independent, law_count

LARGEST_COUNT = 2500
"""Largest D for which conservation laws are counted: the rank of D fields of D numbers."""


class Theory(Derivation):
    """What a loss conserves and what SGD's noise does to it, as `derive` found it, and the predictions that follow from
    it.

    Shows itself as LaTeX in a notebook; str() gives plain words.

    Attributes
    ----------
    loss
        The loss.
    algebra
        All affine symmetries, an `Algebra`.
    charges
        A readable basis of the conserved quadratics, `Charge` each.
    independent_charges
        How many of them are functionally independent.
    conservation_laws
        How many laws gradient flow has for all data, None when unknown.
    noise
        Mean and covariance of the gradient as functions of theta.
    clock
        The time that the derivation may take, a `symbolic.clock.Clock`.
    undecided
        {part: why} of what did not end in time, or is not known.
    """

    def polynomial_laws(self, degree: int) -> list[sp.Expr]:
        """All conserved polynomials up to a degree.

        Parameters
        ----------
        degree
            Highest degree, at least 1.

        Returns
        -------
        list of Expr
            A basis.

        Raises
        ------
        InputError
            Where there are too many coefficients.
        """
        try:
            with self.clock.part("polynomial laws"):
                return nonquadratic_laws.polynomial_laws(self.loss, degree)
        except OutOfTime:
            raise InputError(
                f"polynomial_laws: must end within the time limit; got {self.clock.undecided}. Lower the degree, or"
                " give derive a longer time_limit."
            ) from None

    @cached_property
    def momentum_laws(self) -> tuple[MomentumLaw, ...]:
        """What the heavy ball m theta'' + c theta' = -grad L makes of every generator: damped charges, decaying
        momenta."""
        return momentum_laws(self.algebra, self.loss)

    def breaking(self, of: Any) -> Breaking:
        """How any function C(theta), or a generator that is no symmetry, moves: breaking, noise and diffusion side by
        side.

        Parameters
        ----------
        of
            An expression, (A, b), {parameter: weight}, or a `Charge`.

        Returns
        -------
        Breaking

        Raises
        ------
        InputError
            For what is no function of the parameters.

        Examples
        --------
        >>> import sympy as sp
        >>> from symbolic import SGD, derive, library
        >>> u, w = sp.symbols("u w", real=True)
        >>> theory = derive(library.rescaling())
        >>> theory.breaking(u**2 - w**2).at({u: 1.2, w: 0.6}, SGD(0.01)).breaking
        0.0
        """
        return breaking(self.loss, of, self.noise)

    def label_noise(self, variables: Sequence[Any]) -> LabelNoise:
        """The noise of some data variables alone, the others averaged over: full-batch descent with fresh labels.

        Parameters
        ----------
        variables
            Data variables, symbols or names, that are drawn anew.

        Returns
        -------
        LabelNoise

        Raises
        ------
        InputError
            For what is no data variable of the loss.
        """
        return label_noise(self.loss, variables)

    @called()
    def sharpness(self, at: Mapping[Any, Any] | np.ndarray, sgd: SGD) -> Sharpness:
        """Tr Hess L at a point, how noise moves it along the orbit, and to what: sharpening or flattening.

        Parameters
        ----------
        at
            {symbol or name: number or array}, or numbers (D,).
        sgd
            The optimiser.

        Returns
        -------
        Sharpness

        Raises
        ------
        InputError
            For a point or setting that does not fit the loss.
        """
        return sharpness(self, at, sgd)

    @cached_property
    def sharpness_expression(self) -> sp.Expr:
        """Tr Hess L as an expression of theta, to record beside a run: kinks (ReLU) are passed by, as in training.

        Raises
        ------
        InputError
            As for `Loss.mean`, and where it is too long to write.

        Examples
        --------
        >>> from symbolic import derive, library
        >>> derive(library.rescaling()).sharpness_expression.expand()
        2*u**2 + 2*w**2
        """
        return hessian_trace(self.loss)

    @called()
    def stationary_law(self, sgd: SGD, branch: str = "positive") -> StationaryLaw:
        """The distribution that a scalar chain's product settles in, as a frozen SciPy distribution.

        Parameters
        ----------
        sgd
            The optimiser.
        branch
            "positive" or "negative": the sign of the product.

        Returns
        -------
        StationaryLaw

        Raises
        ------
        InputError
            For losses that are no scalar chain.

        Examples
        --------
        >>> from symbolic import SGD, derive, library
        >>> law = derive(library.rescaling()).stationary_law(SGD(learning_rate=0.1))
        >>> law.collapsed, float(round(law.T_c, 3))
        (False, 0.444)
        """
        return stationary_law(self.loss, sgd, branch)

    @cached_property
    def dimension_on_data(self) -> int:
        """Dimension of the algebra on the law or rows given alone, numerically: larger where the data are degenerate.
        Raises ValueError."""
        return dimension_on_data(self.loss)

    def to_json(self) -> dict[str, Any]:
        """The record that `noetherflow derive --json` writes, whole: generators as their entries that are not zero,
        matrix forms, structure, further laws, and what is not decided.

        Returns
        -------
        dict
            Plain lists, numbers and strings.
        """
        return display.to_json(self)

    def to_latex(self) -> str:
        """The charges, their drift and class as LaTeX."""
        return display.to_latex(self)

    def summary(self, sgd: SGD | None = None) -> str:
        """The same in plain words.

        Parameters
        ----------
        sgd
            The optimiser whose weight decay decides where divergent charges end; none when left out.

        Returns
        -------
        str
        """
        return display.summary(self, sgd)

    def __str__(self) -> str:
        return self.summary()

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return self.to_latex()

    def _repr_html_(self) -> str:
        return display.to_html(self)


@called()
def derive(loss: Loss, *, time_limit: float = LIMIT, progress: bool | Progress = False) -> Theory:
    """All affine symmetries of a loss, its charges, and their class under SGD's noise.

    Parameters
    ----------
    loss
        The loss with the distribution of its data.
    time_limit
        Seconds after which a derivation ends with what is known by then; what the theory computes later, when it is
        asked for or shown, counts too. The rest is said to be "not decided within 60 s".
    progress
        Whether to tell the parts of the derivation on standard error, or a function that is told their names.

    Returns
    -------
    Theory

    Raises
    ------
    InputError
        For a time limit that is no positive number, and for a loss without a finite gradient, or with one that
        vanishes everywhere.

    References
    ----------
    Ziyin, Wang, Li, Wu, Parameter Symmetry and Noise Equilibrium of SGD, arXiv 2402.07193.

    Examples
    --------
    >>> from symbolic import SGD, derive, library
    >>> theory = derive(library.rescaling())
    >>> theory.charges[0].expression, theory.charges[0].classification, theory.complete
    (u**2 - w**2, 'convergent', True)
    """
    advice = "Build one with symbolic.Loss, or take one of symbolic.library, e.g. library.rescaling()."
    instance("derive", loss, Loss, "needs a Loss", advice)
    clock = Clock(time_limit, listener(progress))
    with suppress(OutOfTime), clock.part("gradient", 0.2):
        _check_gradient(loss)
    algebra = timed_algebra(loss, clock)
    noise = Noise(loss)
    noise.read_within(clock)
    symmetric = sorted(algebra.symmetric_fields, key=lambda x: not x.is_translation)
    try:
        with clock.part("charges", 0.5):
            fields = [x.scaled() for x in arranged(loss, symmetric)]
    except OutOfTime:
        fields = [x.scaled() for x in symmetric]
    kinds = classes(loss, noise, fields, clock)
    charges = [Charge(loss, x, noise, f"C_{k}", *kinds[k - 1]) for k, x in enumerate(fields, start=1)]
    count, undecided = independent(fields), dict[str, str]()
    try:
        with clock.part("conservation laws", 0.8):
            laws = law_count(loss, count) if loss.dimension <= LARGEST_COUNT else None
        if laws is None:
            undecided["conservation_laws"] = "not known"
    except OutOfTime:
        laws, undecided["conservation_laws"] = None, clock.undecided
    return Theory(loss, algebra, tuple(charges), count, laws, noise, clock, undecided)


def _moves(loss: Loss) -> bool:
    """Whether the gradient is other than zero on some side of the loss's kinks."""
    points = reached(loss).points
    return bool(Probe(loss).tape.gradient(points, loss.dimension).any()) if points.size else False


def _check_gradient(loss: Loss) -> None:
    """Refuse a loss whose gradient is nowhere real and finite, or nowhere non-zero."""
    _, g = Probe(loss).gradients(200, np.random.default_rng(3))
    if not g.shape[1]:
        raise InputError(
            "derive: a loss must be real and differentiable somewhere; got no finite gradient at 200 random points of"
            f" {loss.name}. Look for a root or logarithm of what is never positive."
        )
    if not g.any() and not _moves(loss):
        raise InputError(
            f"derive: a loss must have a gradient; got one that vanishes at 200 random points of {loss.name}, as of"
            " steps and signs. Write it with functions that have a slope, such as relu, tanh or abs."
        )
