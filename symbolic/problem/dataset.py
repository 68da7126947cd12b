"""A data set: rows drawn with equal chance, over variables of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError, instance
from symbolic.language.calls import called
from symbolic.problem.base_distribution import Array, Distribution, Recipe, floats

FEW = 10_000
"""Distinct values of a column up to which all are listed."""


@called()
class Dataset(Distribution):
    """N rows drawn with equal chance.

    Parameters
    ----------
    columns
        {symbol or array of symbols: array (N, *shape of the key)}.

    Raises
    ------
    InputError
        For columns of different lengths or shapes, and for missing entries.

    Examples
    --------
    >>> import sympy as sp
    >>> from symbolic import Dataset
    >>> x, y = sp.symbols("x y", real=True)
    >>> Dataset({x: [0.0, 1.0, 2.0], y: [1.0, 3.0, 5.0]}).table.shape
    (3, 2)
    """

    name = "dataset"
    table: Array

    def __init__(self, columns: Mapping[Any, Any]) -> None:
        instance("Dataset", columns, Mapping, "must be a mapping {symbol: rows}", "Write Dataset({x: rows}).")
        self.columns = {variable(k): floats(f"Dataset[{k}]", v) for k, v in columns.items()}
        for key, (_, values) in zip(columns, self.columns.items(), strict=True):
            if not values.ndim:
                rule = "must be rows, (N, ...)"
                raise InputError.of(f"Dataset[{key}]", rule, columns[key], "Give one entry per row.")
        sizes = {len(v) for v in self.columns.values()}
        if len(sizes) != 1 or not min(sizes):
            raise InputError.of(
                "Dataset",
                "all columns must have the same number of rows, at least one",
                sorted(sizes),
                "Align the columns.",
            )
        for (_, shape), values in self.columns.items():
            if values.shape[1:] not in (shape, (*shape, 1)):
                raise InputError.of(
                    "Dataset", f"a column for shape {shape} must be (N, *{shape})", values.shape, "Reshape it."
                )
            if not np.isfinite(values).all():
                raise InputError(
                    "Dataset: all entries must be finite; got a missing or infinite entry (float). Drop or fill those"
                    " rows."
                )
        self.symbols = tuple(s for entries, _ in self.columns for s in entries)
        self.table = np.concatenate([v.reshape(len(v), -1) for v in self.columns.values()], axis=1)

    def bind(self, symbols: Sequence[sp.Symbol] = (), shape: tuple[int, ...] = ()) -> Distribution:
        """All columns side by side; their variables are the data set's own."""
        if symbols:
            raise InputError.of("Dataset", "names its own variables", tuple(symbols), "Put it into data alone.")
        return self

    def spread(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """None: rows have no parameters."""
        return {}

    def raw_moment(self, powers: tuple[int, ...]) -> sp.Expr:
        """The average over the rows."""
        product = np.ones(len(self.table))
        for column, p in enumerate(powers):
            if p:
                product = product * self.table[:, column] ** p
        return sp.Float(float(product.mean()), 17)

    def recipe(self, values: Mapping[sp.Symbol, float]) -> Recipe | None:
        """None: rows are drawn whole."""
        return None

    def sample(self, n: int, rng: np.random.Generator, values: Mapping[sp.Symbol, float]) -> Array:
        """n rows, (entries, n)."""
        return self.table[rng.integers(0, len(self.table), n)].T

    def bounds(self, i: int) -> tuple[Any, Any, Sequence[Any] | None]:
        """Of column i."""
        column = np.unique(self.table[:, i])
        many = len(column) > FEW
        listed = column[[0, -1]] if many else column
        return column[0], column[-1], None if many and not (column == np.round(column)).all() else listed.tolist()

    @property
    def atom_count(self) -> int:
        """Its rows."""
        return len(self.table)

    def atoms(self, values: Mapping[sp.Symbol, float]) -> tuple[Array, Array]:
        """The rows, each with equal chance."""
        return self.table.T, np.full(len(self.table), 1 / len(self.table))

    def independent(self, i: int, j: int) -> bool:
        """Columns of one table never count as independent."""
        return False


def variable(key: Any) -> tuple[tuple[sp.Symbol, ...], tuple[int, ...]]:
    """Entries (row-major) and shape of a data variable given as a Symbol, SymPy matrix or array, or NumPy object
    array. Raises InputError."""
    if isinstance(key, sp.Symbol):
        return (key,), ()
    if isinstance(key, sp.MatrixBase):
        rows, columns = key.shape
        return tuple(key), (rows,) if columns == 1 else (rows, columns)
    if isinstance(key, sp.NDimArray):
        return tuple(sp.flatten(key)), tuple(key.shape)
    if isinstance(key, (np.ndarray, tuple, list)):
        array = np.array(key, dtype=object)
        if all(isinstance(s, sp.Symbol) for s in array.ravel()):
            return tuple(array.ravel()), array.shape
    raise InputError(
        f"data: a key must be a symbol or an array of symbols; got {key!r} ({type(key).__name__}). Use"
        " sympy.symbols or symbolic.parameters."
    )
