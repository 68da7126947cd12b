"""Motion along the symmetry orbit in a valley of minima, and the curvature on the way: the linear algebra behind
`symbolic.predictions.sharpness`.

In a valley that is the orbit of theta, gradient noise Sigma = R R^T of temperature T and weight decay lambda_wd move
theta by theta' = sum_i nu_i v_i, v_i = B_i theta + b_i over every generator, with
    sum_j <v_i, v_j> nu_j = T Tr[X H B_i] - lambda_wd <v_i, theta>,    H X + X H = Sigma,
the small-step limit of SGD (Katzenberger 1991; Li, Wang, Arora 2110.06914): the projected drift -(T/2) P grad
Tr[H(theta) X], in which the symmetry gives the derivative of H along v_i, -(B_i^T H + H B_i). For B = B^T, T Tr[X H B]
= (T/2) Tr[Sigma B], the law of the charge.

Rotations leave S alone, but share in the motion wherever <A theta, R theta> is not 0. So the point where every charge's
drift T Tr[Sigma A] vanishes need not be where SGD ends: with anisotropic noise and two or more hidden units it ends
near by, and the units rotate for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symbolic.algebra.affine import AffineField
from symbolic.noise.eigenspaces import Eigenspaces
from symbolic.predictions.valley.descent import STATIONARY, steepness
from symbolic.predictions.valley.fluctuations import fluctuations
from symbolic.predictions.valley.gram import Gram

Array = np.ndarray
RELATIVE = 1e-9
"""Size of a trace, over the product of its factors' norms, below which it counts as 0; of an eigenvalue over the
largest one."""


EXACT = 1e-14
"""Size of H on an eigenvector of a generator, over that of its rows, up to which it does not grow from rounding."""


@dataclass(frozen=True)
class Motion:
    """Motion along the orbit by noise, for temperature 1, and by weight decay, for lambda_wd = 1.

    noise, decay: theta' (D,). rate, decay_rate: dS/dt, S = Tr H. at_minimum: whether the law above was used; elsewhere
    X does not exist, and the charges' law is, with rotations left out. flat: zero eigenvalues of H at a minimum beyond
    the dimension of the orbit.
    """

    noise: Array
    decay: Array
    rate: float
    decay_rate: float
    at_minimum: bool
    flat: int


def on_orbit(spaces: Eigenspaces, h: Array, at: float) -> float:
    """Tr[H e^{-2 lambda A}] at lambda = at; its limit where that is infinite."""
    values, weights, rest = spaces.values, spaces.forms(h), spaces.rest(h)
    if np.isfinite(at):
        return float(np.exp(-2 * at * values) @ weights) + rest
    floor = EXACT * np.linalg.norm(h[spaces.indices], axis=1)
    growing = (np.sign(at) * values < 0) & (np.abs(weights) > np.sqrt(spaces.within(floor**2)))
    if not growing.any():
        return float(weights[values == 0].sum()) + rest
    fastest = growing & (np.abs(values) > 0.999 * np.abs(values[growing]).max())
    return float(np.sign(weights[fastest].sum()) * np.inf)


def _traces(generators: Sequence[AffineField], theta: Array, pull: Array, h: Array) -> tuple[Array, Array, Array]:
    """For generators (B, b): the fields B theta + b, shape (n, D), Tr[pull B] and Tr[H B], shapes (n,)."""
    fields = np.array([x.apply(theta, float) for x in generators], dtype=float)
    return fields, np.array([x.trace(pull) for x in generators]), np.array([x.trace(h) for x in generators])


def motion(
    generators: Sequence[AffineField],
    symmetric: Sequence[AffineField],
    theta: Array,
    h: Array,
    mean: Array,
    root: Array,
    minimum: bool | None = None,
) -> Motion:
    """How theta (D,) moves along the orbit, with the Hessian H (D, D), the mean gradient (D,) and Sigma = R R^T, R =
    root (D, r).

    generators: a basis of the algebra; symmetric: of the charges' part, used away from a minimum. minimum: None to find
    out which.
    """
    spectrum, vectors = np.linalg.eigh(h)
    top = max(float(np.abs(spectrum).max(initial=0.0)), 1e-300)
    slope = steepness(mean, top, theta)
    floor = top * max(RELATIVE, 10 * slope)
    at_minimum = bool(slope <= STATIONARY and spectrum[0] > -floor) if minimum is None else minimum
    if at_minimum:
        half = vectors.T @ root
        x = fluctuations(spectrum, vectors, half @ half.T, floor)
        fields, pushes, bends = _traces(generators, theta, x @ h, h)
    else:
        fields, pushes, bends = _traces(symmetric, theta, root @ root.T / 2, h)
    if not len(fields):
        return Motion(np.zeros_like(theta), np.zeros_like(theta), 0.0, 0.0, at_minimum, 0)
    gram = Gram.of(fields)
    nu, fall = gram.solve(pushes), -gram.solve(fields @ theta)
    rate = -2 * float(bends @ nu)
    scale = float(np.linalg.norm(root) ** 2 * np.linalg.norm(h)) / max(float(theta @ theta), 1e-300)
    flat = int((np.abs(spectrum) <= floor).sum()) - gram.rank if at_minimum else 0
    return Motion(
        noise=nu @ fields,
        decay=fall @ fields,
        rate=rate if abs(rate) > RELATIVE * scale else 0.0,
        decay_rate=-2 * float(bends @ fall),
        at_minimum=at_minimum,
        flat=max(flat, 0),
    )
