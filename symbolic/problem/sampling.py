"""Data laws as numbers: what a minibatch is drawn from, and the factor of the features' covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.problem.distributions import Block


@dataclass(frozen=True)
class SamplingPlan:
    """How to draw one data row z, its entries in the order asked for.

    Entries `table_rows` are a uniformly drawn row of `table` (N, len(table_rows)). Entries `law_rows` are location +
    mixing @ base with base = `normals` standard normals followed by one variable per entry of `chance`: uniform on (0,
    1) for -1, else Bernoulli with that probability.
    """

    table: np.ndarray | None
    table_rows: np.ndarray
    normals: int
    chance: np.ndarray
    location: np.ndarray
    mixing: np.ndarray
    drawn_rows: np.ndarray


def sampling_plan(blocks: Sequence[Block], z: Sequence[sp.Symbol]) -> SamplingPlan:
    """The plan for the entries z. Raises ValueError for a law that cannot be sampled, or for two data sets at once."""
    table, table_rows = None, []
    means: list[float] = []
    drawn_rows: list[int] = []
    normal_rows: list[np.ndarray] = []
    chance: list[float] = []
    scaled: list[tuple[int, float]] = []
    for block in blocks:
        wanted = [(i, z.index(s)) for i, s in enumerate(block.symbols) if s in z]
        if not wanted:
            continue
        if not block.can_sample:
            why = "only moments are given" if block.kind == "moments" else "its parameters are symbols"
            raise InputError(
                f"data[{block.symbols[0]}]: discrete SGD draws samples; got a law that has none, since {why}. Give a"
                " full law with numbers."
            )
        inside, outside = [i for i, _ in wanted], [j for _, j in wanted]
        p = block.parameters
        if block.kind == "dataset":
            if table is not None:
                raise InputError("data: one data set at most; got two. Join them into one Dataset with aligned rows.")
            table, table_rows = np.ascontiguousarray(p["table"][:, inside]), outside
            continue
        drawn_rows += outside
        if block.kind == "normal":
            mean = np.array([float(m) for m in p["mean"]])
            covariance = np.array(p["covariance"], dtype=object).astype(float)
            factor = factorise(covariance[np.ix_(inside, inside)])
            means += list(mean[inside])
            normal_rows.append(factor)
        elif block.kind == "uniform":
            low, high = (np.array([float(v) for v in p[k]]) for k in ("low", "high"))
            for i in inside:
                scaled.append((len(means), high[i] - low[i]))
                means.append(low[i])
                chance.append(-1.0)
            normal_rows.append(np.zeros((len(inside), 0)))
        else:
            for i in inside:
                scaled.append((len(means), 1.0))
                means.append(0.0)
                chance.append(float(p["p"][i]))
            normal_rows.append(np.zeros((len(inside), 0)))
    normals = sum(f.shape[1] for f in normal_rows)
    mixing = np.zeros((len(means), normals + len(chance)))
    row = column = 0
    for factor in normal_rows:
        mixing[row : row + factor.shape[0], column : column + factor.shape[1]] = factor
        row, column = row + factor.shape[0], column + factor.shape[1]
    for k, (at, width) in enumerate(scaled):
        mixing[at, normals + k] = width
    return SamplingPlan(
        table,
        np.array(table_rows, dtype=np.int64),
        normals,
        np.array(chance),
        np.array(means),
        mixing,
        np.array(drawn_rows, dtype=np.int64),
    )


def factorise(covariance: np.ndarray) -> np.ndarray:
    """R of shape (K, rank) with R R^T = covariance, by pivoted Cholesky on the correlations (keeps zeros, reveals
    rank)."""
    from scipy.linalg import lapack  # slow to load

    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    keep = np.flatnonzero(scale > 0)
    out = np.zeros((len(covariance), len(keep)))
    if not len(keep):
        return out
    correlation = covariance[np.ix_(keep, keep)] / np.outer(scale[keep], scale[keep])
    lower, pivots, rank, _ = lapack.dpstrf(correlation, lower=1, tol=1e-12)
    lower = np.tril(lower)[:, :rank]
    rows = np.empty_like(lower)
    rows[pivots - 1] = lower
    out = np.zeros((len(covariance), rank))
    out[keep] = rows * scale[keep, None]
    return out
