"""The noise of x x' for x ~ N(0, I) in matmul form."""

from __future__ import annotations

import numpy as np


def symmetric_basis(size: int) -> np.ndarray:
    """(size (size + 1)/2, size, size): independent normals times these sum to a symmetric matrix whose entries
    have variance 2 on the diagonal and 1 off it, the covariance of x x'.
    """
    rows, columns = np.triu_indices(size)
    basis = np.zeros((len(rows), size, size))
    for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
        basis[k, i, j] = basis[k, j, i] = np.sqrt(2.0) if i == j else 1.0
    return basis
