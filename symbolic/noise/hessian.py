"""The gradient and Hessian of the mean loss: exact second derivatives by a complex step through the reverse-mode
gradient, and their trace in symbols."""

from __future__ import annotations

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.evaluation.tape import Tape
from symbolic.noise.covariance import Noise

Array = np.ndarray
STEP = 1e-100
"""Imaginary step: Im g(theta + i h e)/h has no cancellation, and its error is of order h^2."""
POINTS = 20_000
"""Points evaluated at once."""
WRITTEN = 500
"""Operations in the loss's coefficients up to which the trace is written out."""


class MeanHessian:
    """theta -> Hessian of L = E l, by the same moments or points as the noise: exact unless noise.source is "samples".

    Kinks (ReLU) are passed by, as in training. Raises ValueError where the law cannot be averaged over, or has symbols.
    """

    def __init__(self, noise: Noise) -> None:
        loose = [s for s in noise.loss.distribution_parameters if s not in noise.values]
        if loose:
            raise InputError(
                f"Hessian: the laws need numbers here; got symbols {loose}. Build the loss with numbers, or use"
                " trace_expression."
            )
        if noise.source == "unknown":
            raise InputError(
                f"Hessian: needs a law that can be averaged over; got {noise.loss.name} with bare moments. Use a law"
                " that can be sampled."
            )
        self.noise, self.size = noise, noise.loss.dimension
        loss, features = noise.loss, noise.features
        if features is not None:
            mean = noise.moments[0]
            parts = (sp.Float(float(m), 17) * c for m, c in zip(mean, features.coefficients, strict=True))
            constants = {s: sp.Float(noise.values[s], 17) for s in loss.distribution_parameters}
            total = sp.Add(*parts, features.constant).xreplace(constants)
            self.tape, self.data, self.weights = Tape([total], loss.theta), np.zeros((0, 1)), np.ones(1)
        else:
            values = {s: sp.Float(v, 17) for s, v in noise.values.items() if s not in loss.z}
            self.tape = Tape([loss.expression.xreplace(values)], (*loss.theta, *loss.z))
            self.data, self.weights = noise.points.at, noise.points.weights

    def gradient(self, theta: Array) -> Array:
        """grad L, (D,), for theta of shape (D,): cheaper than from the noise."""
        d, rows = self.size, self.data.shape[1]
        values = np.concatenate([np.repeat(np.asarray(theta, dtype=float)[:, None], rows, axis=1), self.data])
        return self.tape.gradient(values, d)[0].reshape(d, rows) @ self.weights

    def __call__(self, theta: Array) -> Array:
        """H(theta), (D, D), for theta of shape (D,). Raises ValueError where it is not finite."""
        d, rows = self.size, self.data.shape[1]
        out = np.empty((d, d))
        block = max(1, POINTS // rows)
        for at in range(0, d, block):
            columns = np.arange(at, min(at + block, d))
            points = np.repeat(np.asarray(theta, dtype=complex)[:, None], len(columns), axis=1)
            points[columns, np.arange(len(columns))] += 1j * STEP
            values = np.concatenate([np.repeat(points, rows, axis=1), np.tile(self.data, len(columns))])
            g = self.tape.gradient(values, d)[0].imag.reshape(d, len(columns), rows)
            out[:, columns] = g @ self.weights / STEP
        if not np.isfinite(out).all():
            raise InputError(
                f"Hessian: must be finite; got nan or inf at theta = {np.asarray(theta).tolist()}. Choose another"
                " point."
            )
        out = np.where(np.abs(out) > STEP, out, 0.0)  # the step's own error, where it is all there is
        return (out + out.T) / 2


def trace_expression(noise: Noise) -> sp.Expr | None:
    """Tr Hess L in theta and the laws' symbols, for a loss polynomial in the data; None when there is none, or none
    short enough to read."""
    features = noise.features
    if features is None:
        return None
    parts = (*features.coefficients, features.constant)
    polynomial = all(c.is_polynomial(*noise.loss.theta) for c in parts)
    if sum(c.count_ops() for c in parts) > (WRITTEN if polynomial else WRITTEN // 4):
        return None
    means = [*features.mean, sp.S.One]
    total = sp.S.Zero
    for m, c in zip(means, parts, strict=True):
        total += m * sp.Add(*(sp.diff(c, s, 2) for s in noise.loss.theta if s in c.free_symbols))
    return sp.expand(total) if polynomial else total
