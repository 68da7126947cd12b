"""The fluctuations of SGD across a valley of minima (docs/theory.md eq. (5.6), (5.8))."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def fluctuations(spectrum: Array, vectors: Array, sigma: Array, floor: float, step: float = 0.0) -> Array:
    """X with H X + X H - step H X H = Sigma on the range of H = vectors diag(spectrum) vectors^T, 0 elsewhere.

    T X is the stationary covariance of SGD about a minimum: with step = 0 in the limit of small steps, with step = eta
    at that learning rate, where eta lambda_max(H) < 2. sigma: vectors^T Sigma vectors. floor: sums of eigenvalues up to
    it count as 0.
    """
    pairs = spectrum[:, None] + spectrum[None, :]
    keep = pairs > floor
    if step:
        pairs = pairs - step * np.outer(spectrum, spectrum)
    return vectors @ np.where(keep, sigma / np.where(keep, pairs, 1.0), 0.0) @ vectors.T
