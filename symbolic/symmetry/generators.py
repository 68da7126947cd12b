"""The affine symmetry algebra of a loss: all (A, b) with <grad loss(theta, z), A theta + b> = 0 for every theta and z.

Polynomial, rational and piecewise-polynomial losses are solved exactly over the field of their constants: Q, or
Q(sqrt(2)), a transcendental constant being a symbol of its own. Others are solved exactly with their exp, tanh, roots
... taken as free atoms, which proves what is found; random points then show whether anything was missed (docs/theory.md
eq. (2.1)).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from symbolic import clock
from symbolic.algebra.affine import AffineField
from symbolic.algebra.polynomial import TooLarge
from symbolic.errors import InputError
from symbolic.evaluation import random_points as probing
from symbolic.evaluation import wide_points as wide
from symbolic.evaluation.kink_sides import reached
from symbolic.evaluation.prime_field import Unsupported
from symbolic.functions.registry import PROVABLE
from symbolic.problem.loss import Loss
from symbolic.symmetry.activation_patterns import separated
from symbolic.symmetry.independence import free_functions
from symbolic.symmetry.invariants import Formal
from symbolic.symmetry.known_actions import known_actions
from symbolic.symmetry.solve import antisymmetric_part, rationalise, slices, solve, symmetric_part

NUMERIC_LIMIT = 45
"""Largest D for which the D*D + D unknowns are also solved for numerically."""
CROSSED = 12
"""Largest D for which a proof by the independence of functions is held to random points too."""
TOLERANCE = 1e-25
"""Residual at 40 digits below which a rationalised generator is accepted."""


@dataclass(frozen=True)
class Certificate:
    """How sure an algebra is.

    Attributes
    ----------
    status
        "proved"; "numerical": fitted at random points, which allow no more; or "partial": what is there is exact, and
        there may be more.
    residual
        Of a numerical one.
    reason
        What it rests on.
    """

    status: str
    residual: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        if self.status == "numerical":
            return f"numerical (residual {self.residual:.1e})"
        return self.status if self.status == "proved" else f"partial: {self.reason}"


@dataclass(frozen=True)
class Algebra:
    """The Lie algebra of affine symmetries.

    Attributes
    ----------
    size
        D.
    fields
        A sparse whole-numbered basis.
    symmetric_fields
        A readable basis of its A = A^T part: a restriction, nothing is symmetrised.
    antisymmetric_fields
        A basis of its part with A = -A^T and b = 0.
    certificate
        How sure it is.
    """

    size: int
    fields: tuple[AffineField, ...]
    symmetric_fields: tuple[AffineField, ...]
    antisymmetric_fields: tuple[AffineField, ...]
    certificate: Certificate

    @property
    def dimension(self) -> int:
        """Number of independent generators (A, b)."""
        return len(self.fields)

    @property
    def symmetric(self) -> int:
        """Dimension of the subspace with A = A^T."""
        return len(self.symmetric_fields)

    @property
    def antisymmetric(self) -> int:
        """Dimension of the subspace with A = -A^T and b = 0."""
        return len(self.antisymmetric_fields)

    @cached_property
    def generators(self) -> list[tuple[sp.Matrix, sp.Matrix]]:
        """A basis of the algebra as SymPy matrices (A: D x D, b: D x 1)."""
        return [x.matrices() for x in self.fields]


def find_algebra(loss: Loss, formal: Formal | None) -> Algebra:
    """The whole affine algebra of a loss; `formal` is its exact form, None when that did not fit."""
    size = loss.dimension
    try:
        exact = solve(slices(formal), size) if formal is not None else []
    except TooLarge:
        formal, exact = None, []
    reason = _proof(loss, formal)
    if reason:
        fields, certificate = exact, Certificate("proved", 0.0, reason)
    if not reason or _doubted(loss, formal, exact):
        found = _complete(loss, formal, exact)
        if not reason or len(found[0]) > len(exact):
            fields, certificate = found
    return Algebra(size, tuple(fields), tuple(symmetric_part(fields)), tuple(antisymmetric_part(fields)), certificate)


def _doubted(loss: Loss, formal: Formal | None, exact: list[AffineField]) -> bool:
    """Whether random points allow more than a proof by the independence of functions does."""
    size = loss.dimension
    if formal is None or not formal.transcendental or size > CROSSED:
        return False
    rows = probing.constraints(probing.Probe(loss), np.random.default_rng(24))
    return probing.nullity(rows, size * size + size) != len(exact)


def _proof(loss: Loss, formal: Formal | None) -> str:
    """Why the exact solution with functions and gates as free variables is the whole algebra; empty when it may not
    be."""
    if formal is None or not formal.settled:
        return ""
    parts = [f"exact over {_field(formal)}"]
    if formal.transcendental:
        try:
            named = {type(f).__name__ for f in loss.expression.atoms(sp.Function)}
            if not named <= PROVABLE or not free_functions(loss, apart=True):
                return ""
        except Unsupported:
            return ""
        parts.append("its functions are algebraically independent")
    if formal.gated:
        if not separated(loss, formal):
            return ""
        parts.append("on every activation pattern")
    return ", ".join(parts)


def _field(formal: Formal) -> str:
    name = formal.constants.name
    return "the rationals" if name == "Q" else name


def _complete(loss: Loss, formal: Formal | None, exact: list[AffineField]) -> tuple[list[AffineField], Certificate]:
    """Bound the algebra from above at random points and, where the exact part falls short, rationalise the rest."""
    size, rng = loss.dimension, np.random.default_rng(20)
    if size > NUMERIC_LIMIT:
        if formal is None:
            raise TooLarge(
                f"derive: the loss is too large for an exact derivation and for a numerical one; got D = {size}. Use a"
                " smaller instance."
            )
        return exact, Certificate("partial", 0.0, f"{_taken(formal)}too large to rule out more at random points")
    rows = probing.constraints(probing.Probe(loss), rng)
    unknowns = size * size + size
    clock.check()
    most = probing.nullity(rows, unknowns)
    clock.check()
    if most == len(exact):
        return exact, _no_more(loss, formal, exact, rng)
    null = wide.cut(loss, probing.null_vectors(rows, unknowns))
    clock.check()
    if len(null) == len(exact):
        return exact, _no_more(loss, formal, exact, rng)
    found = rationalise(null, size)
    clock.check()
    kept = [x for x in found if probing.residual(loss, [x], rng) < TOLERANCE]
    if len(kept) < len(found) or len(kept) < len(exact) or not _everywhere(loss, kept):
        return exact, Certificate("partial", 0.0, f"{_taken(formal)}random points allow {len(null)}")
    if missing := reached(loss).missing:
        text = f"{_taken(formal)}random points allow {len(kept)} where it is not known whether ever {missing[0]}"
        return exact, Certificate("partial", 0.0, text)
    reason = "fitted at random points, rationalised, checked at 40 digits" + _on_every_side(loss)
    return kept, Certificate("numerical", probing.residual(loss, kept, rng), reason)


def _no_more(loss: Loss, formal: Formal | None, exact: list[AffineField], rng: np.random.Generator) -> Certificate:
    """Of an exact part that random points do not go beyond."""
    if formal is None or formal.settled:
        return Certificate("proved", 0.0, "exact with its functions as free atoms; random points allow no more")
    return Certificate("numerical", probing.residual(loss, exact, rng), f"{_taken(formal)}random points allow no more")


def _everywhere(loss: Loss, fields: list[AffineField]) -> bool:
    """Whether fields leave the loss alone at points of all sizes, on all sides of its kinks, too."""
    return not fields or bool((abs(wide.moved(loss, fields, wide.broad(loss, 1))) < TOLERANCE).all())


def _on_every_side(loss: Loss) -> str:
    return ", on every side of its kinks" if len(reached(loss).sides) else ""


def _taken(formal: Formal | None) -> str:
    """What the exact part rests on."""
    if formal is None:
        return ""
    if formal.settled:
        return f"complete over {_field(formal)} with its functions as free atoms; "
    return f"complete over {formal.constants.name}, its transcendental constants taken as independent; "


def partial_algebra(loss: Loss, reason: str) -> Algebra:
    """What known actions give, where the whole search did not come to an end; `reason` says why not."""
    parts: tuple[Sequence[AffineField], ...] = ((), (), ())
    with suppress(clock.OutOfTime):
        found = known_actions(loss)
        parts = (found, symmetric_part(found), antisymmetric_part(found)) if found else parts
    certificate = Certificate("partial", 0.0, f"known actions only, checked at 40 digits; more is {reason}")
    fields, symmetric, antisymmetric = map(tuple, parts)
    return Algebra(loss.dimension, fields, symmetric, antisymmetric, certificate)


def dimension_on_data(loss: Loss) -> int:
    """Dimension of the algebra that leaves the loss alone on the law or rows given, not for all values of the data
    symbols.

    Numerical (random theta, drawn data). It exceeds the algebra's where the data are degenerate: a column that never
    varies or repeats another, fewer rows than inputs, inputs of one sign under a ReLU. Raises ValueError beyond D = 45.
    """
    size = loss.dimension
    if size > NUMERIC_LIMIT:
        raise InputError(
            f"dimension_on_data: needs D of at most {NUMERIC_LIMIT}; got {size}. Use a smaller instance with the same"
            " data."
        )
    rows = probing.constraints(probing.Probe(loss), np.random.default_rng(22), as_drawn=True)
    return probing.nullity(rows, size * size + size)
