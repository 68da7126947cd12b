"""Stationary densities of planar SDEs with independent noises of constant strength, by finite volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve


def stationary(drift: Callable[[Any, Any], Any], noise: tuple[float, float], ends: Any, cells: tuple[int, int]) -> Any:
    """(x, y, probabilities) on a grid of cells, none of it leaving.

    drift(x, y): (f, g); ends: ((low, high), (low, high)). The flux through a face is that of a drift which is constant
    across it (Scharfetter, Gummel 1969), so that probabilities are positive; errors are of second order in the cells.
    """
    widths = [(high - low) / n for (low, high), n in zip(ends, cells, strict=True)]
    centres = [low + w * (np.arange(n) + 0.5) for (low, _), w, n in zip(ends, widths, cells, strict=True)]
    number = np.arange(np.prod(cells)).reshape(cells)
    rows, columns, rates = [], [], []
    for axis in range(2):
        faces = [*centres]
        faces[axis] = centres[axis][:-1] + widths[axis] / 2
        push = drift(*np.meshgrid(*faces, indexing="ij"))[axis]
        spread = noise[axis] ** 2 / 2 / widths[axis] ** 2
        before, after = (np.delete(number, end, axis).ravel() for end in (-1, 0))
        peclet = (push / widths[axis] / spread).ravel()
        for source, target, z in ((before, after, -peclet), (after, before, peclet)):
            rate = spread * np.where(np.abs(z) < 1e-9, 1 - z / 2, z / np.expm1(np.where(np.abs(z) < 1e-9, 1, z)))
            rows += [target, source]
            columns += [source, source]
            rates += [rate, -rate]
    matrix = coo_array((np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns)))).tolil()
    matrix[0, :] = 1.0  # the sum of all probabilities, in place of one equation that follows from the others
    right = np.zeros(number.size)
    right[0] = 1.0
    return *np.meshgrid(*centres, indexing="ij"), spsolve(matrix.tocsc(), right).reshape(cells)
