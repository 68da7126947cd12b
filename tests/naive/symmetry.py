"""Symmetry algebra of a loss by one SVD: the null space of <g, A theta + b> over random parameters and samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.naive.gradient import gradients
from tests.naive.noise import sample


@dataclass(frozen=True)
class Algebra:
    """Dimensions of {(A, b)}, of {A = A'} and of {A = -A', b = 0}, the number of independent charges, and a basis (k,
    D, D + 1) of [A b]."""

    dimension: int
    symmetric: int
    antisymmetric: int
    charges: int
    basis: np.ndarray


def samples(loss: Any, conditions: int, rng: np.random.Generator) -> np.ndarray:
    """Samples for the stack: 2 * conditions drawn ones, or every row of a data set, `conditions` times: one odd row
    breaks a symmetry."""
    rows = max((block.size or 0 for block in loss.blocks), default=0)
    if not rows:
        return sample(loss, 2 * conditions, rng)
    z = sample(loss, rows * conditions, rng)
    at = 0
    for block in loss.blocks:
        if block.name == "dataset":
            table = np.asarray(block.table, dtype=float)
            z[:, at : at + len(block.symbols)] = np.resize(table, (len(z), table.shape[1]))
        at += len(block.symbols)
    return z


def _rank(matrix: np.ndarray, threshold: float = 1e-7) -> int:
    return int((np.linalg.svd(matrix, compute_uv=False) > threshold).sum()) if matrix.size else 0


def algebra(loss: Any, seed: int = 0, threshold: float = 1e-10) -> Algebra:
    """Null space of a stack of rows [g_i theta_j, g_i], singular values below threshold counting as zero once the rows
    have about unit length; rows below a tenth are not blown up, so that rounding errors of a gradient that vanishes
    stay small.

    Raises ArithmeticError where a singular value lies within a factor 100 of the threshold: the count would be a guess.
    """
    rng = np.random.default_rng(seed)
    d = len(loss.theta)
    z = samples(loss, d * (d + 1) + 10, rng)
    n, theta = len(z), rng.normal(size=(len(z), d)) + 0.3
    g = gradients(loss, theta, z)
    rows = np.einsum("ni,nj->nij", g, np.concatenate([theta, np.ones((n, 1))], axis=1)).reshape(n, -1)
    size = np.linalg.norm(rows, axis=1)
    rows /= np.maximum(size, max(1e-3 * np.median(size), 0.1))[:, None]
    _, values, right = np.linalg.svd(rows, full_matrices=False)
    if np.any((values > threshold / 100) & (values < threshold * 100)):
        raise ArithmeticError(f"naive algebra: no gap in the singular values of {loss.name}: {values}.")
    null = right[values < threshold].reshape(-1, d, d + 1)
    A, b, k = null[:, :, :d], null[:, :, d], len(null)
    turn, swap = (A - A.transpose(0, 2, 1)).reshape(k, d * d), (A + A.transpose(0, 2, 1)).reshape(k, d * d)
    left, s, _ = np.linalg.svd(turn) if k else (np.zeros((0, 0)), np.zeros(0), None)
    symmetric = left[:, int((s > 1e-7).sum()) :].T
    point = np.concatenate([rng.normal(size=d), [1.0]])
    fields = 2 * np.einsum("ck,kij,j->ci", symmetric, null, point)
    return Algebra(k, len(symmetric), k - _rank(np.concatenate([swap, b], axis=1)), _rank(fields), null)
