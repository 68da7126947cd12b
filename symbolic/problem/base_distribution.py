"""What every distribution of data is: parameters per entry, exact moments, and a recipe to draw from."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import sympy as sp

from symbolic.errors import InputError

Array = np.ndarray
UNIFORM, EXPONENTIAL = -1.0, -2.0
"""Kinds of base variable beside Bernoulli ones, which are written as their probability."""


def exact(value: Any) -> sp.Expr:
    """A number as an exact SymPy one (0.1 becomes 1/10); expressions pass through."""
    if isinstance(value, sp.Float):
        value = float(value)
    if isinstance(value, sp.Basic):
        return value  # type: ignore[return-value]
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError.of("law", "a parameter must be a number or a SymPy expression", value, "Give a number.")
    if not np.isfinite(value):
        raise InputError(f"law: a parameter must be finite; got {value!r}. Give a finite number.")
    return sp.Integer(int(value)) if float(value).is_integer() else sp.Rational(repr(float(value)))


def exact_array(value: Any) -> Array:
    """Numbers, nested lists or a SymPy matrix as an object array of exact numbers; a column is a vector."""
    if isinstance(value, sp.MatrixBase):
        value = np.array(value.tolist(), dtype=object)
        value = value[:, 0] if value.shape[1] == 1 else value
    source = np.array(value, dtype=object) if not isinstance(value, str) else np.array([value], dtype=object)
    out = np.empty(source.shape, dtype=object)
    for index, entry in np.ndenumerate(source):
        out[index] = exact(entry)
    return out


def floats(where: str, value: Any) -> Array:
    """Real numbers as a float64 array. Raises ValueError for text, truth values and complex numbers rather than turn
    them into numbers."""
    if np.ma.is_masked(value):
        raise InputError.of(where, "may have no missing entries", value, "Drop or fill what is masked.")
    try:
        array = np.asarray(value)
    except (TypeError, RuntimeError) as error:  # of another library's arrays
        rule = f"must be an array that NumPy reads ({error})".replace("\n", " ")
        raise InputError.of(where, rule, value, "Give numpy.array of it.") from None
    except ValueError as error:
        deep = "inhomogeneous" not in str(error)
        rule = "must be numbers of few dimensions" if deep else "must be real numbers, in rows of equal length"
        raise InputError.of(where, rule, value, "Give a number or an array of numbers.") from None
    if array.dtype.kind in "cbSUmM" or any(
        isinstance(e, (str, bool, complex)) for e in array.ravel() if array.dtype == object
    ):
        if not array.ndim:
            raise InputError.of(where, "must be a real number", value, "Give a number.")
        kind = type(array.ravel()[0]).__name__ if array.size else array.dtype
        raise InputError(f"{where}: must be real numbers; got an array of {kind}. Convert it to numbers first.")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError.of(where, "must be real numbers", value, "Give a number or an array of numbers.") from None


def numbers(entries: Any, values: Mapping[sp.Symbol, float]) -> Array:
    """Exact parameters as floats, their symbols at `values`."""
    array = np.array(entries, dtype=object)
    return np.array([float(sp.sympify(e, strict=True).xreplace(values)) for e in array.ravel()]).reshape(array.shape)


def per_entry(name: str, value: Array, shape: tuple[int, ...]) -> list[sp.Expr]:
    """A parameter broadcast to a variable's shape, row-major. Raises InputError."""
    try:
        return list(np.broadcast_to(value, shape).ravel()) if shape else [value.item()]
    except ValueError:
        raise InputError(
            f"{name}: parameters must broadcast to the variable's shape {shape}; got shape {value.shape}. Give one"
            " number or an array of that shape."
        ) from None


@dataclass(frozen=True)
class Recipe:
    """How to draw n entries: location + G + mixing @ base, with G normal and centred.

    location: (n,). covariance: (n, n) of G, None without one. base: independent variables, one per entry of chance
    (m,): UNIFORM on (0, 1), EXPONENTIAL of mean 1, else Bernoulli of that probability. mixing: (n, m).
    """

    location: Array
    covariance: Array | None
    chance: Array
    mixing: Array

    @classmethod
    def scaled(cls, location: Array, width: Array, chance: Array) -> Recipe:
        """One base variable per entry: location + width * base, all (n,)."""
        return cls(location, None, chance, np.diag(width))

    def of(self, entries: Sequence[int]) -> Recipe:
        """For some of the entries, with the base variables that they use."""
        used = np.flatnonzero(self.mixing[entries].any(axis=0)).tolist()
        covariance = None if self.covariance is None else self.covariance[np.ix_(entries, entries)]
        return Recipe(self.location[entries], covariance, self.chance[used], self.mixing[np.ix_(entries, used)])

    def draw(self, n: int, normals: Callable[[int], Array], uniforms: Callable[[int], Array]) -> Array:
        """n samples, (entries, n); normals and uniforms give that many rows of n numbers, and are asked once each."""
        out = self.location[:, None]
        gaussian = 0 if self.covariance is None else len(self.location)
        exponential = self.chance == EXPONENTIAL
        rows = normals(self.normals) if self.normals else np.zeros((0, n))
        if self.covariance is not None:
            out = out + self._root @ rows[:gaussian]
        if len(self.chance):
            base = np.empty((len(self.chance), n))
            # half a squared radius is exponential: no logarithm, whose last bits are the machine's
            base[exponential] = (rows[gaussian::2] ** 2 + rows[gaussian + 1 :: 2] ** 2) / 2
            others = self.chance[~exponential][:, None]
            if len(others):
                drawn = uniforms(len(others))
                base[~exponential] = np.where(others == UNIFORM, drawn, drawn < others)
            out = out + self.mixing @ base
        return np.broadcast_to(out, (len(out), n))

    @property
    def normals(self) -> int:
        """Rows of normals that `draw` asks for."""
        gaussian = 0 if self.covariance is None else len(self.location)
        return gaussian + 2 * int((self.chance == EXPONENTIAL).sum())

    @cached_property
    def _root(self) -> Array:
        assert self.covariance is not None
        alike = np.diag(np.diag(self.covariance)[:1].repeat(len(self.covariance)))
        if np.array_equal(self.covariance, alike):  # what eigh gives, without its n^3 steps
            return np.sqrt(alike)
        values, vectors = np.linalg.eigh(self.covariance)
        return vectors * np.sqrt(np.maximum(values, 0.0))


class Distribution(ABC):
    """The joint distribution of one data variable's entries; its parameters broadcast over them.

    Bound to a variable (`bind`), it is independent of every other one: symbols are its entries, row-major, and
    parameters their exact numbers or symbols. A new distribution gives name, spread, raw_moment and recipe.
    """

    name: ClassVar[str]
    """The word of specs and records."""
    binary: ClassVar[bool] = False
    """Whether every entry is 0 or 1."""
    sampled: ClassVar[bool] = True
    """Whether it can be drawn from once its parameters are numbers."""
    symbols: tuple[sp.Symbol, ...] = ()
    parameters: Mapping[str, Any] = {}
    table: Array | None = None
    """Rows (N, entries) that are drawn with equal chance, of a data set; else None."""

    @abstractmethod
    def spread(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """The parameters of every entry of a variable of this shape. Raises InputError."""

    @abstractmethod
    def raw_moment(self, powers: tuple[int, ...]) -> sp.Expr:
        """E of the product of the entries to these powers, not all 0, exact."""

    @abstractmethod
    def recipe(self, values: Mapping[sp.Symbol, float]) -> Recipe | None:
        """How to draw it, symbols in the parameters at `values`; None where there is no such way."""

    def bind(self, symbols: Sequence[sp.Symbol] = (), shape: tuple[int, ...] = ()) -> Distribution:
        """The distribution of `symbols` (row-major, of the given shape). Raises InputError."""
        bound = copy(self)
        bound.symbols, bound.parameters = tuple(symbols), self.spread(shape)
        return bound

    @cached_property
    def _moments(self) -> dict[tuple[int, ...], sp.Expr]:
        return {}

    def moment(self, exponents: Mapping[sp.Symbol, int]) -> sp.Expr:
        """E of the product of entries to the given powers, exact (a Float for a data set)."""
        powers = tuple(int(exponents.get(s, 0)) for s in self.symbols)
        if not any(powers):
            return sp.S.One
        if powers not in self._moments:
            self._moments[powers] = self.raw_moment(powers)
        return self._moments[powers]

    @cached_property
    def free_symbols(self) -> frozenset[sp.Symbol]:
        """Symbols that stand in the parameters instead of numbers."""
        entries = (e for v in self.parameters.values() for e in np.ravel(np.array(v, dtype=object)))
        return frozenset(s for e in entries for s in getattr(e, "free_symbols", ()))

    @property
    def size(self) -> int | None:
        """Number of rows of a data set, else None."""
        return None if self.table is None else len(self.table)

    @property
    def unsampled(self) -> str | None:
        """Why no sample can be drawn, in words; None where one can."""
        if not self.sampled:
            return "only moments are given"
        return "its parameters are symbols" if self.free_symbols else None

    def sample(self, n: int, rng: np.random.Generator, values: Mapping[sp.Symbol, float]) -> Array | None:
        """n samples, (entries, n), symbols in the parameters at `values`; None where it cannot be sampled."""
        recipe = self.recipe(values)
        if recipe is None:
            return None
        return recipe.draw(n, lambda rows: rng.standard_normal((rows, n)), lambda rows: rng.random((rows, n)))

    def plausible(self, rng: np.random.Generator) -> dict[sp.Symbol, float]:
        """Numbers for those symbols in the parameters that not every positive number suits."""
        return {}

    def bounds(self, i: int) -> tuple[Any, Any, Sequence[Any] | None] | None:
        """Least and largest value of entry i, and all its values where they are few; None where it has no bounds."""
        return None

    @property
    def atom_count(self) -> int:
        """How many values the entries take together; 0 for too many to go through."""
        return 0

    def atoms(self, values: Mapping[sp.Symbol, float]) -> tuple[Array, Array]:
        """All values (entries, atom_count) and their probabilities (atom_count,)."""
        raise NotImplementedError(f"{self.name}: atoms were asked of a distribution without them.")

    def independent(self, i: int, j: int) -> bool:
        """Whether entries i and j are independent."""
        return True

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Names of the parameters, as a spec writes them."""
        return tuple(inspect.signature(cls).parameters)

    @classmethod
    def shape_of(cls, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """A variable's shape, from those of its parameters in a spec."""
        return max(shapes.values(), key=len, default=())

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters in a spec, with what it may leave out."""
        return given


class Independent(Distribution):
    """A distribution of independent entries."""

    @abstractmethod
    def entry_moment(self, i: int, p: int) -> sp.Expr:
        """E of entry i to the power p >= 1, exact."""

    def raw_moment(self, powers: tuple[int, ...]) -> sp.Expr:
        """E of the product of the entries to these powers."""
        return sp.Mul(*(self.entry_moment(i, p) for i, p in enumerate(powers) if p))
