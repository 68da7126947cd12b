"""Null vectors of rows of numbers, modulo a gauge, as sparse vectors with simple coefficients."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

EXACT, NEARLY = 1e-9, 3e-4
"""Singular values, columns of norm one: below the first a candidate for a law, between the two nearly one."""
_REACH = (8, 24, 64, 160, 400)
"""Neighbours among which a sparse vector is looked for, before it is among all."""


def null_space(rows: np.ndarray, below: float = NEARLY) -> tuple[np.ndarray, np.ndarray]:
    """(vectors (n, k), singular values (k,)) of `rows` (m, n) below `below`, ascending. Cost: m n^2 + n^3/3.

    Inverse iteration on the Gram matrix finds the space, a singular value decomposition inside it the values: the Gram
    matrix alone would know them to 1e-8 only.
    """
    n = rows.shape[1]
    gram = rows.T @ rows
    top = float(np.trace(gram)) or 1.0
    small = max(10 * below**2, 1e-12 * top)
    if n <= 300:
        values, vectors = linalg.eigh(gram)
        space = vectors[:, values < small]
    else:
        factor = linalg.cho_factor(gram + 1e-14 * top * np.eye(n), lower=True)
        rng = np.random.default_rng(0)
        size = min(n, 64 + 3 * n // 10)
        while True:
            block = rng.normal(size=(n, size))
            for _ in range(2):
                block = linalg.qr(linalg.cho_solve(factor, block, check_finite=False), mode="economic")[0]
            values, turn = linalg.eigh(block.T @ gram @ block)
            if values[-1] > small or size == n:
                break
            size = min(n, 2 * size)
        space = block @ turn[:, values < small]
    if not space.shape[1]:
        return space, np.zeros(0)
    _, values, turn = linalg.svd(rows @ space, full_matrices=False)
    order = np.argsort(values)
    values, turn = values[order], turn[order]
    kept = values < below
    return space @ turn[kept].T, values[kept]


def sparse_basis(
    vectors: np.ndarray, scale: np.ndarray, free: np.ndarray, tolerance: float = 1e-6, reach: int | None = None
) -> list[np.ndarray]:
    """Sparse vectors c that span {c: scale c in the span of `vectors`} modulo that of `free` (both orthonormal).

    One after another, about the unknown that is least spanned yet: among the vectors on what it goes together with,
    the one with the fewest entries, by reweighted least squares; those of `free` are added where that helps.
    tolerance: what entries are known to, relative. reach: neighbours that are looked at, None for all.
    """
    if not vectors.shape[1]:
        return []
    rest = vectors - free @ (free.T @ vectors)
    values, turn = linalg.eigh(rest.T @ rest)
    space = rest @ turn[:, values > 1e-6]
    space = space / np.linalg.norm(space, axis=0)
    whole = np.concatenate([space, free], 1)
    found: list[np.ndarray] = []
    missing = space.copy()
    banned = np.zeros(len(scale), dtype=bool)
    while len(found) < space.shape[1]:
        weight = np.einsum("ij,ij->i", missing, missing)
        weight[banned] = -1.0
        unit = int(np.argmax(weight))
        if weight[unit] < 1e-9:
            break
        vector = _about(unit, space, whole, scale, missing, tolerance, reach)
        if vector is None:
            banned[unit] = True
            continue
        found.append(vector)
        direction = missing.T @ (scale * vector)
        direction /= np.linalg.norm(direction)
        missing -= np.outer(missing @ direction, direction)
    return found


def reduced(vectors: list[np.ndarray]) -> list[np.ndarray]:
    """The same span by vectors with fewer entries: multiples of one are taken from another, as long as that helps.
    Where laws share unknowns, one may be found as the sum of two of which the other is found later."""
    if not vectors:
        return vectors
    table, changed = np.array(vectors), True
    while changed:
        changed, held = False, sparse.csr_array(table != 0, dtype=int)
        shared = (held @ held.T).tocsr()
        for k in range(len(table)):
            for j in shared.indices[shared.indptr[k] : shared.indptr[k + 1]]:
                both = (table[k] != 0) & (table[j] != 0)
                if j == k or not both.any():
                    continue
                ratio, times = np.unique(np.round(table[k][both] / table[j][both], 9), return_counts=True)
                less = table[k] - ratio[np.argmax(times)] * table[j]
                less[np.abs(less) <= 1e-9 * np.abs(table[k]).max()] = 0.0
                if 0 < np.count_nonzero(less) < np.count_nonzero(table[k]):
                    table[k], changed = simple(less, 1e-9), True
    return list(table)


def _about(
    unit: int,
    space: np.ndarray,
    whole: np.ndarray,
    scale: np.ndarray,
    missing: np.ndarray,
    tolerance: float,
    reach: int | None,
) -> np.ndarray | None:
    """A sparse vector that spans more of `unit`, from the nearest neighbours that hold one."""
    norms = np.sqrt(np.einsum("ij,ij->i", space, space)) + 1e-300
    near = np.where(norms > 1e-8, np.abs(space @ space[unit]) / (norms * norms[unit]), 0.0)
    order = np.argsort(-near)
    new = space @ (missing[unit] / np.linalg.norm(missing[unit]))
    most = len(scale) if reach is None else min(reach, len(scale))
    for size in (*(n for n in _REACH if n < most), most):
        chosen = np.sort(order[:size])
        local = whole if size == len(scale) else _inside(whole, chosen, tolerance)
        if not local.shape[1] or np.linalg.norm(new[chosen] @ local) < 1e-5:
            continue
        vector = np.zeros(len(scale))
        vector[chosen] = _fewest(local / scale[chosen, None], scale[chosen] * new[chosen])
        kept = np.flatnonzero(np.abs(vector) > max(1e-3, tolerance) * np.abs(vector).max())
        exact = _inside(whole, kept, tolerance)
        if exact.shape[1]:
            vector, rough = np.zeros(len(scale)), (vector * scale)[kept]
            vector[kept] = exact @ (exact.T @ rough) / scale[kept]
        if np.linalg.norm(missing.T @ (scale * vector)) > 1e-5 * np.linalg.norm(scale * vector):
            return simple(vector, tolerance)
    return None


def _inside(whole: np.ndarray, chosen: np.ndarray, tolerance: float) -> np.ndarray:
    """Vectors of the space `whole` (orthonormal columns) that are zero off `chosen`, on it."""
    some = whole[chosen]
    values, turn = linalg.eigh(some @ some.T)
    return turn[:, values > 1 - tolerance / 1000]


def _fewest(basis: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A vector of the span with <vector, new> = 1 and few entries, to 1e-4: least squares, reweighted by 1/entry^2."""
    if basis.shape[1] == 1:
        return basis[:, 0]
    basis = linalg.qr(basis, mode="economic")[0]
    wanted = new @ basis
    vector = basis @ wanted / (wanted @ wanted)
    vector /= np.abs(vector).max()
    width = 1.0
    for _ in range(16):
        gram = basis.T @ (basis / (vector**2 + width**2)[:, None])
        values, turn = linalg.eigh(gram, check_finite=False)
        row = turn @ (turn.T @ wanted / np.maximum(values, 1e-14 * values[-1]))
        vector = basis @ row
        vector /= np.abs(vector).max()
        width = max(width * 0.5, 1e-4)
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
