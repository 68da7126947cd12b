"""Drivers: what fills the input rows of each step, one class each, so that a loop is compiled for what it runs.

Mean      n = mean                                             gradient descent and flow
Gaussian  n = mean + scale[k] * R xi                           SDEs (R identity: n = scale[k] * xi); xi of S finer steps
Adaptive  n = sqrt(h_i) xi, steps h_i of each path its own     SDEs whose emitted text has a pace
Halved    the same, by an error estimate                       SDEs whose scheme has one
Sampled   n = (1/S) sum_s f(x, z_s)                            SGD: rows of a data set, draws from a law, or both
Weighted  n = sum_i (wbar_i + scale[k] (xi_i - mean xi)/sqrt(N)) f(x, z_i)   the SDE over a data set; full batch at
scale 0

One gradient, several dynamics (docs/theory.md eq. (6.1)). F is the dtype of the run.
"""

from typing import Any, NamedTuple

import numpy as np

GROUP = 4
"""Samples whose base variables are drawn together."""
TOGETHER = 32
"""Samples that a network's sums go through together."""
DEEPEST = 19
"""How often a step of the grid is halved at most: nodes of its tree and channels share the 32 bits of a draw block."""
KEPT = 1024
"""Rows of a data set whose weights are made together, and drawn once where there are no more: a multiple of any draw
block."""


class Sparse(NamedTuple):
    """A matrix in compressed rows: start (rows + 1,) int64, column (nonzeros,) int64, value (nonzeros,) of
    dtype F.
    """

    start: Any
    column: Any
    value: Any


class Mean(NamedTuple):
    """Constant inputs: build it with `mean`."""

    mean: Any  # (I,) F

    def rows(self, per: int) -> dict[str, int]:
        """Rows of scratch, by name; per: normals of a draw block."""
        return {}


class Gaussian(NamedTuple):
    """Brownian increments: build it with `gaussian`."""

    mean: Any  # (I,) F
    channels: int  # J
    factor: Sparse  # (I, S J)
    fine: int  # S

    def rows(self, per: int) -> dict[str, int]:
        """Rows of scratch, by name; per: normals of a draw block."""
        return {"normal": self.channels * (per + (self.fine if self.fine > 1 else 0))}


class Adaptive(NamedTuple):
    """Brownian increments of steps that each path chooses: build it with `adaptive`."""

    channels: Any  # (J,) F, of no other content

    def rows(self, per: int) -> dict[str, int]:
        """Rows of scratch, by name; per: normals of a draw block."""
        return {"normal": len(self.channels) * per, "w": 1, "h": 1, "t": 1, "left": 1}


class Halved(NamedTuple):
    """Brownian increments of steps that are halved until their error is small: build it with `halved`."""

    channels: Any  # (J,) F, of no other content
    tolerance: float  # of sqrt(size^2 + |x|^2)
    size: float

    def rows(self, per: int) -> dict[str, int]:
        """Rows of scratch, by name; per: normals of a draw block."""
        channels = len(self.channels)
        return {"normal": channels * per, "h": 1, "t": 1, "tree": 7 * channels, "pending": 2 * DEEPEST * channels}


class Sampled(NamedTuple):
    """Minibatches: build it with `sampled`."""

    batch: int  # S
    replacement: bool
    table: Any  # (N, ZT) F
    table_rows: Any  # (ZT,) int64: data row that each table column goes to
    normals: int  # standard normals in the base of one draw
    chance: Any  # (U,) F: further base variables, uniform (-1), exponential (-2) or Bernoulli (p)
    location: Any  # (ZL,) F
    mixing: Sparse  # (ZL, normals + U)
    drawn_rows: Any  # (ZL,) int64: data row that each drawn entry goes to

    def rows(self, per: int) -> dict[str, int]:
        """Rows of scratch, by name; per: normals of a draw block."""
        uniforms = len(self.chance)
        return {
            "normal": GROUP * self.normals,
            "uniform": GROUP * uniforms,
            "base": self.normals + uniforms,
            "drawn": len(self.location),
            "w": 1,
        }


class Weighted(NamedTuple):
    """All rows of a data set with weights that carry the noise: build it with `weighted`."""

    weights: Any  # (N,) F
    table: Any  # (N, Z) F

    def rows(self, per: int) -> dict[str, int]:
        """Rows of scratch, by name; per: normals of a draw block."""
        return {"normal": min(len(self.table), KEPT), "base": 1}


Driver = Mean | Gaussian | Adaptive | Halved | Sampled | Weighted


def sparse(matrix: Any, dtype: Any) -> Sparse:
    """Compressed rows of a dense matrix."""
    dense = np.atleast_2d(np.asarray(matrix, dtype=dtype))
    row, column = np.nonzero(dense)
    start = np.searchsorted(row, np.arange(dense.shape[0] + 1)).astype(np.int64)
    return Sparse(start, column.astype(np.int64), np.ascontiguousarray(dense[row, column]))


def _array(values: Any, dtype: Any) -> Any:
    return np.array(values, dtype=dtype, order="C")


def mean(values: Any, dtype: Any) -> Mean:
    """Input rows are the constants `values` (I,)."""
    return Mean(_array(values, dtype))


def gaussian(values: Any, factor: Any, dtype: Any, refine: int = 1) -> Gaussian:
    """Input rows are values (I,) + scale[k] * factor (I, refine * J) @ standard normals (refine * J,).

    The normals of step k are those that a run with `refine` times as many steps draws in its steps refine * k
    .. refine * k + refine - 1, J each.
    """
    dense = np.asarray(factor, dtype=dtype)
    return Gaussian(_array(values, dtype), dense.shape[1] // refine, sparse(dense, dtype), int(refine))


def adaptive(channels: int, dtype: Any) -> Adaptive:
    """Input rows are `channels` independent normals, of variance each path's own step."""
    return Adaptive(np.zeros(channels, dtype))


def halved(channels: int, dtype: Any, tolerance: float, size: float) -> Halved:
    """Input rows are `channels` independent increments, over steps whose error is below tolerance * sqrt(size^2 +
    |x|^2)."""
    return Halved(np.zeros(channels, dtype), float(tolerance), float(size))


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
    drawn_rows: Any = (),
) -> Sampled:
    """A minibatch of `batch` samples per step.

    Data rows `table_rows` come from the columns of table (N, ZT), at indices drawn with or without
    replacement; data rows `law_rows` are location (ZL,) + mixing (ZL, B) @ base, base = `normals` standard
    normals, then one variable per entry of `chance`: uniform(0, 1) for -1, exponential of mean 1 for -2, else
    Bernoulli with that probability.
    """
    rows = np.empty((0, 0), dtype) if table is None else _array(table, dtype)
    if table is not None and not (0 < len(rows) < 2**32 and (replacement or batch <= len(rows))):
        raise ValueError(
            f"kernels.drivers.sampled: a batch without replacement needs batch <= rows < 2**32; got {batch} "
            f"of {len(rows)} rows (int). Lower the batch size or sample with replacement."
        )
    matrix = np.zeros((len(location), normals + len(chance))) if mixing is None else mixing
    none = Sparse(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, dtype))
    return Sampled(
        batch=int(batch),
        replacement=bool(replacement),
        table=rows,
        table_rows=_array(table_rows, np.int64),
        normals=int(normals),
        chance=_array(chance, dtype),
        location=_array(location, dtype),
        mixing=sparse(matrix, dtype) if len(location) else none,
        drawn_rows=_array(drawn_rows, np.int64),
    )


def weighted(weights: Any, table: Any, table_rows: Any, dtype: Any) -> Weighted:
    """All rows of table (N, ZT) every step, its columns the data rows `table_rows` (ZT,), with weights (N,) (1/N each,
    as a rule) plus centred noise of size scale[k].
    """
    given = np.asarray(table, dtype)
    ordered = np.zeros((len(given), 1 + max(table_rows, default=-1)), dtype)
    ordered[:, list(table_rows)] = given
    return Weighted(_array(weights, dtype), ordered)


def prototype(kind: type, dtype: Any) -> Driver:
    """A driver of class `kind`, for its types."""
    return {
        Mean: lambda: mean([0.0], dtype),
        Gaussian: lambda: gaussian([0.0], [[1.0]], dtype),
        Adaptive: lambda: adaptive(1, dtype),
        Halved: lambda: halved(1, dtype, 0.0, 0.0),
        Sampled: lambda: sampled(dtype, 1, [[0.0]], [0]),
        Weighted: lambda: weighted([1.0], [[0.0]], [0], dtype),
    }[kind]()


FUNCTIONS: dict[type, tuple[str, ...]] = {
    Mean: (),
    Gaussian: ("normals", "combine"),
    Adaptive: ("normals",),
    Halved: ("normals", "normals_at"),
    Sampled: ("normals", "uniforms", "words", "combine"),
    Weighted: ("normals",),
}
"""The functions (see `shared_functions`) that each class takes."""
