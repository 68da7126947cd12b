"""Affine vector fields v(theta) = A theta + b, exact and sparse over Q: the generators of symmetries.

Bracket: that of vector fields, [v, w] = (Dw) v - (Dv) w. For v = A theta + b and w = A' theta + b' it is (A'A - AA',
A'b - Ab'), minus the commutator of the matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import gcd, lcm
from numbers import Rational
from typing import Any, Literal

import numpy as np
import sympy as sp

from symbolic import clock
from symbolic.algebra.constants import Constants, constants_of
from symbolic.algebra.nullspace import Vector, kernel
from symbolic.algebra.number_field import Irrational, Number, denominators, quotient, rational, tidy
from symbolic.algebra.polynomial import add
from symbolic.errors import InputError

Array = np.ndarray
Kind = Literal["rescaling", "scale", "rotation", "translation", "shear", "mixed"]
Entries = Sequence[Any] | Array
"""D symbols, D numbers, or an array with D rows."""
Rows = dict[int, Vector]
"""The matrix [[A, b], [0, 0]] by rows; column D holds b."""


@dataclass(frozen=True)
class AffineField:
    """The vector field A theta + b on R^size.

    A: {(row, column): entry} and b: {row: entry} hold what is not zero, as int, Fraction or, where the loss names
    irrational constants, `Irrational`.
    """

    size: int
    A: Mapping[tuple[int, int], Number]
    b: Mapping[int, Number] = field(default_factory=dict)

    @classmethod
    def from_vector(cls, vector: Mapping[int, Number], size: int) -> AffineField:
        """From {position: entry} over (A row-major, b), the order of a linear solver's unknowns."""
        A: dict[tuple[int, int], Number] = {}
        b: Vector = {}
        for position, c in vector.items():
            i, j = divmod(position, size)
            if i < size:
                A[i, j] = c
            else:
                b[position - size * size] = c
        return cls(size, A, b)

    def to_vector(self) -> Vector:
        """The inverse of `from_vector`."""
        size = self.size
        out = {i * size + j: c for (i, j), c in self.A.items()}
        out.update((size * size + i, c) for i, c in self.b.items())
        return out

    @classmethod
    def from_matrices(cls, A: Any, b: Any = None) -> AffineField:
        """From A (D, D) and b (D,) or (D, 1), zero when left out: SymPy matrices, arrays or lists of exact numbers.

        Raises InputError for other shapes, and for entries that are not exact.
        """
        matrix = np.array(A.tolist() if isinstance(A, sp.MatrixBase) else A, dtype=object)
        size = len(matrix) if matrix.ndim else 0
        shift = [0] * size if b is None else b.tolist() if isinstance(b, sp.MatrixBase) else b
        offset = np.array(shift, dtype=object)
        if matrix.shape != (size, size) or not size or offset.shape not in ((size,), (size, 1)):
            raise InputError(
                f"AffineField: A must be square and b have a row for each of A's; got shapes {matrix.shape} and"
                f" {offset.shape}. One row per entry of theta."
            )
        named = [c for c in (*matrix.ravel(), *offset.ravel()) if isinstance(c, sp.Expr) and not c.is_Rational]
        exact = _Exact(constants_of(*named))
        return cls(
            size,
            {index: exact(c) for index, c in np.ndenumerate(matrix) if c != 0},
            {i: exact(c) for i, c in enumerate(offset.ravel()) if c != 0},
        )

    @staticmethod
    def combination(pairs: Iterable[tuple[AffineField, Number]]) -> AffineField:
        """The sum of factor * field over one pair or more."""
        A: dict[tuple[int, int], Number] = {}
        b: Vector = {}
        size = 0
        for x, factor in pairs:
            size = x.size
            add(A, x.A, factor)
            add(b, x.b, factor)
        return AffineField(size, A, b)

    def __hash__(self) -> int:
        return hash((self.size, frozenset(self.A.items()), frozenset(self.b.items())))

    def __len__(self) -> int:
        """How many entries are not zero; so the zero field counts as false."""
        return len(self.A) + len(self.b)

    def __add__(self, other: AffineField) -> AffineField:
        return self.combination([(self, 1), (other, 1)])

    def __sub__(self, other: AffineField) -> AffineField:
        return self.combination([(self, 1), (other, -1)])

    def __rmul__(self, factor: Number) -> AffineField:
        return self.combination([(self, factor)])

    @cached_property
    def rows(self) -> Rows:
        """[[A, b], [0, 0]] by rows."""
        out: Rows = {}
        for (i, j), c in self.A.items():
            out.setdefault(i, {})[j] = c
        for i, c in self.b.items():
            out.setdefault(i, {})[self.size] = c
        return out

    @cached_property
    def reads(self) -> frozenset[int]:
        """The entries of theta that it depends on."""
        return frozenset(j for _, j in self.A)

    @cached_property
    def touches(self) -> frozenset[int]:
        """The entries of theta that it moves or depends on."""
        return self.reads.union(self.rows)

    @cached_property
    def blocks(self) -> list[tuple[int, ...]]:
        """The connected blocks of A, by their indices."""
        home: dict[int, int] = {}

        def root(i: int) -> int:
            while home.setdefault(i, i) != i:
                i = home[i]
            return i

        for i, j in self.A:
            home[root(i)] = root(j)
        members: dict[int, list[int]] = {}
        for i in sorted(home):
            members.setdefault(root(i), []).append(i)
        return [tuple(m) for m in members.values()]

    def __matmul__(self, other: AffineField) -> AffineField:
        """(Dv) w, the derivative of this field along another: the product of the matrices [[A, b], [0, 0]]."""
        A: dict[tuple[int, int], Number] = {}
        b: Vector = {}
        for i, row in self.rows.items():
            total: Vector = {}
            for k, c in row.items():
                if k in other.rows:
                    add(total, other.rows[k], c)
            for j, c in total.items():
                if j < self.size:
                    A[i, j] = c
                else:
                    b[i] = c
        return AffineField(self.size, A, b)

    def bracket(self, other: AffineField) -> AffineField:
        """The Lie bracket [self, other], see above."""
        clock.check()
        return other @ self - self @ other

    @cached_property
    def is_symmetric(self) -> bool:
        """Whether A = A^T, so that there is a charge."""
        return all(self.A.get((j, i), 0) == c for (i, j), c in self.A.items())

    @cached_property
    def is_antisymmetric(self) -> bool:
        """Whether A = -A^T, whatever b is."""
        return all(self.A.get((j, i), 0) == -c for (i, j), c in self.A.items())

    @property
    def is_linear(self) -> bool:
        """Whether b = 0."""
        return not self.b

    @property
    def is_translation(self) -> bool:
        """Whether A = 0."""
        return not self.A

    @cached_property
    def kind(self) -> Kind:
        """What it is, exactly.

        "translation": A = 0. "scale", "rescaling": A diagonal with one sign, with both; b = 0. "rotation": A
        antisymmetric, about the origin or about a fixed point (b in the range of A). "shear": A^2 = 0 and Ab = 0, so
        that the flow is theta + t v. "mixed": anything else.
        """
        if self.is_translation:
            return "translation"
        if all(i == j for i, j in self.A):
            signs = {c > 0 for c in self.A.values()}
            return "mixed" if self.b else "scale" if len(signs) == 1 else "rescaling"
        if self.is_antisymmetric:
            return "rotation" if self.fixed_point is not None else "mixed"
        return "mixed" if self @ self else "shear"

    @cached_property
    def fixed_point(self) -> Vector | None:
        """The sparse theta_0 with A theta_0 + b = 0, 0 where it is free; None when there is none."""
        return common_fixed_point([self])

    def apply(self, theta: Entries, number: Callable[[Number], Any] = lambda c: c) -> list[Any]:
        """A theta + b by entries, for D numbers, symbols or arrays; number: what an entry of A or b becomes first."""
        out: list[Any] = [0] * self.size
        for (i, j), c in self.A.items():
            out[i] = out[i] + number(c) * theta[j]
        for i, c in self.b.items():
            out[i] = out[i] + number(c)
        return out

    def form(self, left: Entries, right: Entries, shift: int = 1) -> Any:
        """left.(A right + shift b), for D symbols each (an expression) or D numbers or arrays (floats)."""
        exact = isinstance(left[0], sp.Basic)
        number: Callable[[Number], Any] = rational if exact else float
        terms = [number(c) * left[i] * right[j] for (i, j), c in self.A.items()]
        terms += [number(c) * shift * left[i] for i, c in self.b.items()] if shift else []
        return sp.Add(*terms) if exact else sum(terms, np.zeros(np.shape(left[0])))

    def charge(self, theta: Entries) -> Any:
        """C = theta^T A theta + 2 b^T theta, with grad C = 2 (A theta + b), as `form`. Raises InputError for A != A^T.

        Nothing is symmetrised: theta^T A theta of another A sees a part of it that need not be a symmetry.
        """
        if not self.is_symmetric:
            raise InputError(
                f"AffineField.charge: a charge needs A = A^T; got a field without, of kind {self.kind!r}. Restrict to"
                " the symmetric part of the algebra."
            )
        return self.form(theta, theta, 2)

    def scaled(self) -> AffineField:
        """The positive multiple of a symmetric field whose charge has coprime whole coefficients; beyond Q the first
        is whole, and the others have whole coefficients."""
        coefficients: list[Number] = [c * (1 if i == j else 2) for (i, j), c in self.A.items()]
        coefficients += [2 * c for c in self.b.values()]
        first: Number = 1
        if any(isinstance(c, Irrational) for c in coefficients):
            first = abs(coefficients[0])
            coefficients = [quotient(c, first) for c in coefficients]
        scale = lcm(*(d for c in coefficients for d in denominators(c)))
        common = gcd(*(int(c * scale) for c in coefficients if not isinstance(c, Irrational)))
        factor = quotient(scale if first != 1 else Fraction(scale, common), first)
        return AffineField(
            self.size,
            {index: tidy(c * factor) for index, c in self.A.items()},
            {i: tidy(c * factor) for i, c in self.b.items()},
        )

    def trace(self, matrix: Array | None = None) -> Any:
        """Tr A, the divergence of the field; with a matrix M (D, D) Tr[A M]."""
        if matrix is None:
            return sum(c for (i, j), c in self.A.items() if i == j)
        return sum((float(c) * matrix[j, i] for (i, j), c in self.A.items()), 0.0)

    def matrices(self) -> tuple[sp.Matrix, sp.Matrix]:
        """(A, b) as SymPy matrices, D x D and D x 1."""
        A, b = sp.zeros(self.size, self.size), sp.zeros(self.size, 1)
        for index, c in self.A.items():
            A[index] = rational(c)
        for i, c in self.b.items():
            b[i] = rational(c)
        return A, b

    def arrays(self) -> tuple[Array, Array]:
        """(A, b) as floats, (D, D) and (D,)."""
        A, b = np.zeros((self.size, self.size)), np.zeros(self.size)
        for index, c in self.A.items():
            A[index] = float(c)
        for i, c in self.b.items():
            b[i] = float(c)
        return A, b


def common_fixed_point(fields: Sequence[AffineField]) -> Vector | None:
    """The sparse theta_0 that every field leaves where it is, 0 where it is free; None when there is none."""
    if all(x.is_linear for x in fields):
        return {}
    size, lines = fields[0].size, [line for x in fields for line in x.rows.values()]
    columns = sorted({j for line in lines for j in line})
    position = {j: k for k, j in enumerate(columns)}
    last = position[size]
    found = kernel([{position[j]: c for j, c in line.items()} for line in lines], len(columns))
    return next(({columns[k]: c for k, c in v.items() if k != last} for v in found if last in v), None)


class _Exact:
    """What a user's entry is as an exact number. Raises InputError."""

    def __init__(self, constants: Constants) -> None:
        self.constants = constants

    def __call__(self, value: Any) -> Number:
        if isinstance(value, Irrational):
            return value
        if isinstance(value, Rational):
            return tidy(Fraction(int(value.numerator), int(value.denominator)))
        found = self.constants.read(value) if isinstance(value, sp.Expr) else None
        if found is None:
            raise InputError(
                f"AffineField: entries must be exact numbers; got {value!r} ({type(value).__name__}). Write 0.1 as"
                " Fraction(1, 10)."
            )
        return found
