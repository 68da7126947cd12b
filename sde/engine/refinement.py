"""Coarse and fine steps of the same Brownian motion.

A noise over one step is known by its Legendre coefficients (`symbolic.schemes.noise_inputs`): orthonormal functionals
of the path, so that the coefficients of a long step are an orthogonal combination of those of the short steps that it
is made of. dW is their sum, and dZ the integral of the same path; nothing is approximated.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import leggauss, legvander

from symbolic.errors import InputError

MOST = 4096
"""Most normals per long step, so that a block's scratch stays small."""


@lru_cache(16)
def coefficients(modes: int, refine: int) -> np.ndarray:
    """(modes, refine, modes): coefficient l of the long step = sum over (i, l') of [l, i, l'] times coefficient l' of
    short step i, all of them standard normals. Exact: Gauss quadrature of products of polynomials."""
    nodes, weights = leggauss(modes)
    u, scale = (nodes + 1) / 2, np.sqrt(2 * np.arange(modes) + 1)
    fine = legvander(nodes, modes - 1) * scale
    out = np.empty((modes, refine, modes))
    for i in range(refine):
        coarse = legvander(2 * (i + u) / refine - 1, modes - 1) * scale
        out[:, i] = (coarse * (weights / 2)[:, None]).T @ fine / np.sqrt(refine)
    out[np.abs(out) < 1e-14] = 0.0
    out.flags.writeable = False
    return out


def coupling(channels: int, modes: int, inputs: int, refine: int) -> np.ndarray:
    """(inputs, refine * inputs): the standard normals of a long step from those of its short steps.

    channels: noises, each with `modes` coefficients, in rows l * channels + j; the rows left are normals of their own,
    whose sum is taken. Raises ValueError.
    """
    if refine * inputs > MOST:
        raise InputError(
            f"refine: a step may gather at most {MOST} normals; got {refine!r} (int) times {inputs}. Take a smaller"
            " one."
        )
    blocks = coefficients(modes, refine)
    out, own = np.zeros((inputs, refine, inputs)), modes * channels
    for row in range(modes):
        for column in range(modes):
            for j in range(channels):
                out[row * channels + j, :, column * channels + j] = blocks[row, :, column]
    for k in range(own, inputs):
        out[k, :, k] = 1 / np.sqrt(refine)
    return out.reshape(inputs, refine * inputs)
