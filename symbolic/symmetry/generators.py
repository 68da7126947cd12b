"""The affine symmetry algebra of a loss: all (A, b) with <grad loss(theta, z), A theta + b> = 0 for every theta and z.

Polynomial, rational and piecewise-polynomial losses are solved exactly over Q. Others are solved exactly with their
exp, tanh, roots ... taken as free atoms, which proves what is found; random points then show whether anything was
missed (docs/theory.md eq. (2.1)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import sympy as sp

from symbolic.algebra.nullspace import Number, Solver, Vector, readable
from symbolic.algebra.polynomial import Monomial, Polynomial, TooLarge
from symbolic.errors import InputError
from symbolic.evaluation import random_points as probing
from symbolic.evaluation.prime_field import Unsupported
from symbolic.problem.loss import Loss
from symbolic.symmetry.activation_patterns import labels_separated, separated
from symbolic.symmetry.independence import free_functions
from symbolic.symmetry.invariants import Formal

NUMERIC_LIMIT = 45
"""Largest D for which the D*D + D unknowns are also solved for numerically."""
TOLERANCE = 1e-25
"""Residual at 40 digits below which a rationalised generator is accepted."""

PROVABLE = {"exp", "log", "tanh", "erf", "relu", "step", "Heaviside", "Abs", "sign", "Max", "Min", "Piecewise"}
"""Functions whose formal atoms are independent where their arguments are."""

Slice = dict[int, Polynomial]
"""One coefficient of the gradient in the data and atoms: {i: polynomial in theta}, a vector field on theta space."""


@dataclass(frozen=True)
class Certificate:
    """How sure an algebra is.

    Attributes
    ----------
    status
        "proved" or "numerical".
    residual
        Of a numerical one.
    reason
        What it rests on.
    """

    status: str
    residual: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        return self.status if self.status == "proved" else f"numerical (residual {self.residual:.1e})"


@dataclass(frozen=True)
class Algebra:
    """The Lie algebra of affine symmetries, as vectors over the entries of (A row-major, b).

    Attributes
    ----------
    size
        D.
    vectors
        A sparse whole-numbered basis.
    symmetric_vectors
        A readable basis of its A = A^T part: a restriction, nothing is symmetrised.
    antisymmetric_vectors
        A basis of its part with A = -A^T and b = 0.
    certificate
        How sure it is.
    """

    size: int
    vectors: tuple[Vector, ...]
    symmetric_vectors: tuple[Vector, ...]
    antisymmetric_vectors: tuple[Vector, ...]
    certificate: Certificate

    @property
    def dimension(self) -> int:
        """Number of independent generators (A, b)."""
        return len(self.vectors)

    @property
    def symmetric(self) -> int:
        """Dimension of the subspace with A = A^T."""
        return len(self.symmetric_vectors)

    @property
    def antisymmetric(self) -> int:
        """Dimension of the subspace with A = -A^T and b = 0."""
        return len(self.antisymmetric_vectors)

    @cached_property
    def generators(self) -> list[tuple[sp.Matrix, sp.Matrix]]:
        """A basis of the algebra as SymPy matrices (A: D x D, b: D x 1)."""
        return [matrices(v, self.size) for v in self.vectors]


def matrices(vector: Vector, size: int) -> tuple[sp.Matrix, sp.Matrix]:
    """(A, b) as SymPy matrices."""
    a, b = sp.zeros(size, size), sp.zeros(size, 1)
    for index, c in vector.items():
        value = sp.Rational(c.numerator, c.denominator)
        if index < size * size:
            a[divmod(index, size)] = value
        else:
            b[index - size * size] = value
    return a, b


def slices(formal: Formal) -> list[Slice]:
    """The gradients' coefficients in the data and atoms, shortest first: each must be orthogonal to A theta + b."""
    d, found = formal.dimension, []
    for gradient in formal.gradients:
        out: dict[Monomial, Slice] = {}
        for i, p in enumerate(gradient):
            for monomial, c in p.items():
                at = len(monomial)
                while at and monomial[at - 1] >= d:
                    at -= 1
                row = out.setdefault(monomial[at:], {}).setdefault(i, {})
                row[monomial[:at]] = row.get(monomial[:at], 0) + c
        found += out.values()
    return sorted(found, key=lambda s: sum(map(len, s.values())))


class _Unknowns:
    """The entries of (A row-major, b) that may still be non-zero, row by row, under the equations seen so far."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.solver = Solver(size * size + size)
        self.alive = [[*range(i * size, i * size + size), size * size + i] for i in range(size)]

    def _row(self, i: int) -> list[tuple[int, int, Number]]:
        """(column j, or size for b; root unknown; its factor) for the unknowns of row i."""
        size, solver, out, kept = self.size, self.solver, [], []
        for unknown in self.alive[i]:
            root, factor = solver.root(unknown)
            if not solver.zero[root]:
                kept.append(unknown)
                out.append((unknown - i * size if unknown < size * size else size, root, factor))
        self.alive[i] = kept
        return out

    def require(self, part: Slice) -> None:
        """Add the coefficient equations of sum_i part_i (A theta + b)_i = 0."""
        rows: dict[Monomial, Vector] = {}
        for i, p in part.items():
            for j, root, factor in self._row(i):
                for monomial, c in p.items():
                    key = tuple(sorted((*monomial, j))) if j < self.size else monomial
                    row = rows.setdefault(key, {})
                    row[root] = row.get(root, 0) + c * factor
        self.solver.add([{k: c for k, c in row.items() if c} for row in sorted(rows.values(), key=len)])


def solve(parts: Sequence[Slice], size: int) -> list[Vector]:
    """A basis of all (A, b) that annihilate every slice."""
    unknowns = _Unknowns(size)
    for part in parts:
        unknowns.require(part)
    return unknowns.solver.basis()


def restrict(vectors: Sequence[Vector], size: int, sign: int) -> list[Vector]:
    """The part of a span with A^T = sign * A (and b = 0 for sign = -1), in a readable basis."""
    rows: dict[tuple[int, int], Vector] = {}
    for k, vector in enumerate(vectors):
        for index, c in vector.items():
            i, j = divmod(index, size) if index < size * size else (index, -1)
            if sign > 0 and (j < 0 or i == j):
                continue
            key, factor = ((i, j), 1) if i <= j or j < 0 else ((j, i), -sign)
            row = rows.setdefault(key, {})
            row[k] = row.get(k, 0) + factor * c
    solver = Solver(len(vectors))
    solver.add([{k: c for k, c in row.items() if c} for row in rows.values()])
    return readable([_combine(vectors, mix) for mix in solver.basis()])


def _combine(vectors: Sequence[Vector], mix: Vector) -> Vector:
    out: Vector = {}
    for k, factor in mix.items():
        for index, c in vectors[k].items():
            out[index] = out.get(index, 0) + factor * c
    return {i: c for i, c in out.items() if c}


def find_algebra(loss: Loss, formal: Formal | None) -> Algebra:
    """The whole affine algebra of a loss; `formal` is its exact form, None when that did not fit."""
    size = loss.dimension
    exact = solve(slices(formal), size) if formal is not None else []
    reason = _proof(loss, formal)
    if reason:
        vectors, certificate = exact, Certificate("proved", 0.0, reason)
    else:
        vectors, certificate = _complete(loss, formal, exact)
    return Algebra(
        size, tuple(vectors), tuple(restrict(vectors, size, 1)), tuple(restrict(vectors, size, -1)), certificate
    )


def _proof(loss: Loss, formal: Formal | None) -> str:
    """Why the exact solution with functions and gates as free variables is the whole algebra; empty when it may not
    be."""
    if formal is None or not labels_separated(loss, formal):
        return ""
    parts = ["exact over the rationals"]
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


def _complete(loss: Loss, formal: Formal | None, exact: list[Vector]) -> tuple[list[Vector], Certificate]:
    """Bound the algebra from above at random points and, where the exact part falls short, rationalise the rest."""
    size, rng = loss.dimension, np.random.default_rng(20)
    if size > NUMERIC_LIMIT:
        if formal is None:
            raise TooLarge(
                f"derive: the loss is too large for an exact derivation and for a numerical one; got D = {size}. Use a"
                " smaller instance."
            )
        worst = probing.residual(loss, exact, rng, points=3)
        return exact, Certificate(
            "numerical", worst, "found exactly with its functions as free atoms; too large to rule out more"
        )
    rows = probing.constraints(probing.Probe(loss), rng)
    unknowns = size * size + size
    if probing.nullity(rows, unknowns) == len(exact):
        return exact, Certificate("proved", 0.0, "exact with its functions as free atoms; random points allow no more")
    found = rationalise(probing.null_vectors(rows, unknowns))
    good = [v for v in found if probing.residual(loss, [v], rng) < TOLERANCE]
    if len(good) < len(found) or len(good) < len(exact):
        good = exact
    return good, Certificate(
        "numerical", probing.residual(loss, good, rng), "fitted at random points, rationalised, checked at 40 digits"
    )


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


def rationalise(null: np.ndarray, limit: int = 60) -> list[Vector]:
    """Echelon form of a numerical null space with its entries replaced by nearby fractions of small denominator."""
    rows = null.copy()
    lead = 0
    for column in range(rows.shape[1]):
        if lead == len(rows):
            break
        pivot = lead + int(np.argmax(np.abs(rows[lead:, column])))
        if abs(rows[pivot, column]) < 1e-6:
            continue
        rows[[lead, pivot]] = rows[[pivot, lead]]
        rows[lead] /= rows[lead, column]
        others = np.arange(len(rows)) != lead
        rows[others] -= np.outer(rows[others, column], rows[lead])
        lead += 1
    out = []
    for row in rows[:lead]:
        vector = {int(i): Fraction(float(row[i])).limit_denominator(limit) for i in np.flatnonzero(np.abs(row) > 1e-6)}
        out.append({i: c for i, c in vector.items() if c})
    return out
