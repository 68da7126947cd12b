"""Drivers: what fills the input rows before each step. One gradient, several dynamics (THEORY section 6).

MEAN      n = mean                                             gradient descent and flow
GAUSSIAN  n = mean + scale[k] * R xi                           SDEs (R identity: n = scale[k] * xi); xi of
S finer steps
SAMPLED   n = (1/S) sum_s f(x, z_s)                            SGD: rows of a data set, draws from a law, or
both
WEIGHTED  n = sum_i (wbar_i + scale[k] (xi_i - mean xi)/sqrt(N)) f(x, z_i)   the SDE over a data set; full
batch at scale 0
"""

from typing import Any, NamedTuple

import numpy as np

MEAN, GAUSSIAN, SAMPLED, WEIGHTED = 0, 1, 2, 3


class Sparse(NamedTuple):
    """A matrix in compressed rows: start (rows + 1,) int64, column (nonzeros,) int64, value (nonzeros,) of
    dtype F.
    """

    start: Any
    column: Any
    value: Any


class Driver(NamedTuple):
    """One driver; build it with `mean`, `gaussian`, `sampled` or `weighted`. F is the dtype of the run."""

    kind: int
    mean: Any  # (I,) F
    channels: int  # J
    factor: Sparse  # (I, S J)
    batch: int  # S
    replacement: bool
    table: Any  # (N, ZT) F
    table_rows: Any  # (ZT,) int64: data row that each table column goes to
    weights: Any  # (N,) F
    normals: int  # standard normals in the base of one draw
    chance: Any  # (U,) F: further base variables, uniform (-1) or Bernoulli (its probability)
    location: Any  # (ZL,) F
    mixing: Sparse  # (ZL, normals + U)
    law_rows: Any  # (ZL,) int64: data row that each drawn entry goes to


def sparse(matrix: Any, dtype: Any) -> Sparse:
    """Compressed rows of a dense matrix."""
    dense = np.atleast_2d(np.asarray(matrix, dtype=dtype))
    row, column = np.nonzero(dense)
    start = np.searchsorted(row, np.arange(dense.shape[0] + 1)).astype(np.int64)
    return Sparse(start, column.astype(np.int64), np.ascontiguousarray(dense[row, column]))


def _driver(dtype: Any, **fields: Any) -> Driver:
    nothing, rows = np.empty(0, dtype), np.empty(0, np.int64)
    none = Sparse(np.zeros(1, np.int64), rows, nothing)
    blank = Driver(
        MEAN,
        nothing,
        0,
        none,
        0,
        True,
        np.empty((0, 0), dtype),
        rows,
        nothing,
        0,
        nothing,
        nothing,
        none,
        rows,
    )
    return blank._replace(**fields)


def _array(values: Any, dtype: Any) -> Any:
    return np.array(values, dtype=dtype, order="C")


def mean(values: Any, dtype: Any) -> Driver:
    """Input rows are the constants `values` (I,)."""
    return _driver(dtype, kind=MEAN, mean=_array(values, dtype))


def gaussian(values: Any, factor: Any, dtype: Any, refine: int = 1) -> Driver:
    """Input rows are values (I,) + scale[k] * factor (I, refine * J) @ standard normals (refine * J,).

    The normals of step k are those that a run with `refine` times as many steps draws in its steps refine * k
    .. refine * k + refine - 1, J each.
    """
    dense = np.asarray(factor, dtype=dtype)
    return _driver(
        dtype,
        kind=GAUSSIAN,
        mean=_array(values, dtype),
        channels=dense.shape[1] // refine,
        factor=sparse(dense, dtype),
        batch=int(refine),
    )


def sampled(
    dtype: Any,
    batch: int,
    table: Any = None,
    table_rows: Any = (),
    replacement: bool = True,
    normals: int = 0,
    chance: Any = (),
    location: Any = (),
    mixing: Any = None,
    law_rows: Any = (),
) -> Driver:
    """A minibatch of `batch` samples per step.

    Data rows `table_rows` come from the columns of table (N, ZT), at indices drawn with or without
    replacement; data rows `law_rows` are location (ZL,) + mixing (ZL, B) @ base, base = `normals` standard
    normals, then one variable per entry of `chance`: uniform(0, 1) for -1, else Bernoulli with that
    probability.
    """
    rows = np.empty((0, 0), dtype) if table is None else _array(table, dtype)
    if table is not None and not (0 < len(rows) < 2**32 and (replacement or batch <= len(rows))):
        raise ValueError(
            f"kernels.drivers.sampled: a batch without replacement needs batch <= rows < 2**32; got {batch} "
            f"of {len(rows)} rows (int). Lower the batch size or sample with replacement."
        )
    base = normals + len(chance)
    matrix = np.zeros((len(location), base)) if mixing is None else mixing
    return _driver(
        dtype,
        kind=SAMPLED,
        batch=int(batch),
        replacement=bool(replacement),
        table=rows,
        table_rows=_array(table_rows, np.int64),
        normals=int(normals),
        chance=_array(chance, dtype),
        location=_array(location, dtype),
        mixing=sparse(matrix, dtype) if len(location) else Sparse(np.zeros(1, np.int64), *_driver(dtype).factor[1:]),
        law_rows=_array(law_rows, np.int64),
    )


def weighted(weights: Any, table: Any, table_rows: Any, dtype: Any) -> Driver:
    """All rows of table (N, ZT) every step, with weights (N,) (1/N each, as a rule) plus centred noise of
    size scale[k].
    """
    return _driver(
        dtype,
        kind=WEIGHTED,
        weights=_array(weights, dtype),
        table=_array(table, dtype),
        table_rows=_array(table_rows, np.int64),
    )
