"""Data laws as numbers: what a minibatch is drawn from, and the factor of the features' covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.problem.base_distribution import Distribution, Recipe


@dataclass(frozen=True)
class SamplingPlan:
    """How to draw one data row z, its entries in the order asked for.

    Entries `table_rows` are a uniformly drawn row of `table` (N, len(table_rows)). Entries `law_rows` are location +
    mixing @ base with base = `normals` standard normals followed by one variable per entry of `chance`: uniform on (0,
    1) for -1, exponential of mean 1 for -2, else Bernoulli with that probability.
    """

    table: np.ndarray | None
    table_rows: np.ndarray
    normals: int
    chance: np.ndarray
    location: np.ndarray
    mixing: np.ndarray
    drawn_rows: np.ndarray


def sampling_plan(blocks: Sequence[Distribution], z: Sequence[sp.Symbol]) -> SamplingPlan:
    """The plan for the entries z. Raises ValueError for a law that cannot be sampled, or for two data sets at once."""
    table, table_rows = None, []
    drawn_rows: list[int] = []
    parts: list[Recipe] = []
    for block in blocks:
        wanted = [(i, z.index(s)) for i, s in enumerate(block.symbols) if s in z]
        if not wanted:
            continue
        if block.unsampled:
            raise InputError(
                f"data[{block.symbols[0]}]: discrete SGD draws samples; got a law that has none, since"
                f" {block.unsampled}. Give a full law with numbers."
            )
        inside, outside = [i for i, _ in wanted], [j for _, j in wanted]
        if block.table is not None:
            if table is not None:
                raise InputError("data: one data set at most; got two. Join them into one Dataset with aligned rows.")
            table, table_rows = np.ascontiguousarray(block.table[:, inside]), outside
            continue
        drawn_rows += outside
        recipe = block.recipe({})
        assert recipe is not None
        parts.append(recipe.of(inside))
    factors = [factorise(p.covariance) if p.covariance is not None else np.zeros((len(p.location), 0)) for p in parts]
    normals = sum(f.shape[1] for f in factors)
    mixing = np.zeros((len(drawn_rows), normals + sum(len(p.chance) for p in parts)))
    row, column, base = 0, 0, normals
    for p, f in zip(parts, factors, strict=True):
        at = slice(row, row := row + len(p.location))
        mixing[at, column : (column := column + f.shape[1])] = f
        mixing[at, base : (base := base + len(p.chance))] = p.mixing
    return SamplingPlan(
        table,
        np.array(table_rows, dtype=np.int64),
        normals,
        np.concatenate([np.zeros(0), *(p.chance for p in parts)]),
        np.concatenate([np.zeros(0), *(p.location for p in parts)]),
        mixing,
        np.array(drawn_rows, dtype=np.int64),
    )


def factorise(covariance: np.ndarray) -> np.ndarray:
    """R of shape (K, rank) with R R^T = covariance, by pivoted Cholesky on the correlations (keeps zeros, reveals
    rank)."""
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    keep = np.flatnonzero(scale > 0)
    out = np.zeros((len(covariance), len(keep)))
    if not len(keep):
        return out
    correlation = covariance[np.ix_(keep, keep)] / np.outer(scale[keep], scale[keep])
    lower, pivots, rank = _cholesky(correlation)
    lower = np.tril(lower)[:, :rank]
    rows = np.empty_like(lower)
    rows[pivots - 1] = lower
    out = np.zeros((len(covariance), rank))
    out[keep] = rows * scale[keep, None]
    return out


def _cholesky(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """LAPACK's dpstrf: lower factor, pivots from 1 on, rank. One and two rows are done here, to the same bits: SciPy is
    slow to load."""
    if len(correlation) > 2:
        from scipy.linalg import lapack

        lower, pivots, rank, _ = lapack.dpstrf(correlation, lower=1, tol=1e-12)
        return lower, pivots, rank
    order = [int(k) for k in range(len(correlation))]
    if len(order) == 2 and correlation[1, 1] > correlation[0, 0]:
        order.reverse()
    lower = correlation[np.ix_(order, order)]
    lower[0, 0] = np.sqrt(lower[0, 0])
    rank = 1
    if len(order) == 2:
        lower[1, 0] *= 1.0 / lower[0, 0]
        left = lower[1, 1] - lower[1, 0] * lower[1, 0]
        if left > 1e-12:
            lower[1, 1], rank = np.sqrt(left), 2
    return lower, np.array(order) + 1, rank
