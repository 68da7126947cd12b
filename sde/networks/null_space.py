"""Null vectors of rows of numbers, modulo a gauge, as sparse vectors with simple coefficients."""

from __future__ import annotations

import numpy as np
from scipy import linalg

EXACT, NEARLY = 1e-9, 3e-4
"""Singular values, columns of norm one: below the first a candidate for a law, between the two nearly one."""
_REACH = (0.5, 0.25, 0.1, 0.03)


def null_space(rows: np.ndarray, below: float = NEARLY) -> tuple[np.ndarray, np.ndarray]:
    """(vectors (n, k), singular values (k,)) of `rows` (m, n) below `below`, ascending. Cost: m n^2 + n^3/3.

    Inverse iteration on the Gram matrix finds the space, a singular value decomposition inside it the values: the Gram
    matrix alone would know them to 1e-8 only.
    """
    n = rows.shape[1]
    gram = rows.T @ rows
    top = float(np.trace(gram)) or 1.0
    if n <= 300:
        values, vectors = linalg.eigh(gram)
        space = vectors[:, values < 10 * below**2]
    else:
        factor = linalg.cho_factor(gram + 1e-14 * top * np.eye(n), lower=True)
        rng = np.random.default_rng(0)
        size = min(n, 64 + n // 8)
        while True:
            block = rng.normal(size=(n, size))
            for _ in range(3):
                block = linalg.qr(linalg.cho_solve(factor, block, check_finite=False), mode="economic")[0]
            values, turn = linalg.eigh(block.T @ gram @ block)
            if values[-1] > 10 * below**2 or size == n:
                break
            size = min(n, 2 * size)
        space = block @ turn[:, values < 10 * below**2]
    if not space.shape[1]:
        return space, np.zeros(0)
    _, values, turn = linalg.svd(rows @ space, full_matrices=False)
    order = np.argsort(values)
    values, turn = values[order], turn[order]
    kept = values < below
    return space @ turn[kept].T, values[kept]


def sparse_basis(
    vectors: np.ndarray, scale: np.ndarray, gauge: np.ndarray, tolerance: float = 1e-6
) -> list[np.ndarray]:
    """Sparse vectors c that span {c: scale c in the span of `vectors`} modulo `gauge` (columns, unscaled).

    One after another, about the unknown that is least spanned yet: among the vectors on what it goes together with,
    the one with the fewest entries, by reweighted least squares; fields that are zero are added where that helps.
    tolerance: what entries are known to, relative.
    """
    gauge = linalg.orth(scale[:, None] * gauge) if gauge.shape[1] else gauge
    gauge = gauge[:, :0] if not gauge.size else gauge
    rest = vectors - gauge @ (gauge.T @ vectors)
    left, values, _ = linalg.svd(rest, full_matrices=False)
    space = left[:, values > 1e-6]
    whole = linalg.orth(np.concatenate([space, gauge], 1))
    found: list[np.ndarray] = []
    missing = space.copy()
    banned = np.zeros(len(scale), dtype=bool)
    while len(found) < space.shape[1]:
        weight = np.einsum("ij,ij->i", missing, missing)
        weight[banned] = -1.0
        unit = int(np.argmax(weight))
        if weight[unit] < 1e-9:
            break
        vector = _about(unit, space, whole, scale, missing, tolerance)
        if vector is None:
            banned[unit] = True
            continue
        found.append(vector)
        direction = missing.T @ (scale * vector)
        direction /= np.linalg.norm(direction)
        missing -= np.outer(missing @ direction, direction)
    return found


def _about(
    unit: int, space: np.ndarray, whole: np.ndarray, scale: np.ndarray, missing: np.ndarray, tolerance: float
) -> np.ndarray | None:
    """A sparse vector with an entry at `unit`, from the nearest neighbours that hold one."""
    norms = np.sqrt(np.einsum("ij,ij->i", space, space)) + 1e-300
    near = np.abs(space @ space[unit]) / (norms * norms[unit])
    tried = -1
    for reach in (*_REACH, -1.0):
        chosen = np.flatnonzero((near > reach) & (norms > 1e-8)) if reach >= 0 else np.arange(len(scale))
        if len(chosen) == tried:
            continue
        tried = len(chosen)
        if reach < 0 or tried > 800:
            chosen, local = np.arange(len(scale)), whole
        else:
            values, turn = linalg.eigh(whole[chosen] @ whole[chosen].T)
            local = turn[:, values > 1 - tolerance / 1000]
        place = int(np.searchsorted(chosen, unit))
        if local.shape[1] and np.abs(local[place]).max() > 1e-7:
            vector = np.zeros(len(scale))
            vector[chosen] = _fewest(local / scale[chosen, None], place, tolerance)
            new = missing.T @ (scale * vector)
            if np.linalg.norm(new) > 1e-5 * np.linalg.norm(scale * vector):
                return simple(vector, tolerance)
    return None


def _fewest(basis: np.ndarray, place: int, tolerance: float) -> np.ndarray:
    """A vector of the span with entry 1 at `place` and few others."""
    if basis.shape[1] == 1:
        return basis[:, 0] / basis[place, 0]
    basis = linalg.orth(basis)
    vector = basis @ basis[place] / (basis[place] @ basis[place])
    width = 1.0
    for _ in range(24):
        weights = 1 / np.sqrt(vector**2 + width**2)
        scaled = basis * weights[:, None]
        _, values, turn = linalg.svd(scaled, full_matrices=False)
        row = turn @ basis[place] / values
        vector = basis @ (turn.T @ (row / values)) / (row @ row)
        width = max(width * 0.5, tolerance / 10)
    return vector


def simple(vector: np.ndarray, tolerance: float) -> np.ndarray:
    """The vector with its smallest entry 1, or the least multiple that makes all whole; entries near 0 left out."""
    vector = np.where(np.abs(vector) > tolerance * np.abs(vector).max(), vector, 0.0)
    scaled = vector / np.abs(vector[vector != 0]).min()
    for factor in range(1, 7):
        whole = np.round(factor * scaled)
        if np.all(np.abs(whole - factor * scaled) <= tolerance * np.abs(scaled)):
            return whole
    return scaled
