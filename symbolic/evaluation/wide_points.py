"""Points at which a symmetry must hold beside the usual ones: of many sizes, and on every side of the loss's kinks.

Near the usual points |u| > 8 is not seen and a saturated function is a constant; a field that passes there is held to
these, at 40 digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import mpmath
import numpy as np

from symbolic import clock
from symbolic.algebra.affine import AffineField
from symbolic.algebra.number_field import real
from symbolic.evaluation.kink_sides import reached
from symbolic.evaluation.random_points import Probe
from symbolic.evaluation.room import Room
from symbolic.evaluation.shaken import Shaken
from symbolic.problem.loss import Loss

Array = np.ndarray
DIGITS = 40
AGREED = 1e-20
"""Relative change up to which a gradient counts as known, functions being off by the last quarter of their digits."""
SCALES = (-5, 2)
"""Powers of 10 between which parameters and data are scaled."""
MOVED = 1e-6
"""Singular values, of how fields move a loss, that count as more than none."""
MOST = 240
"""Points on sides of kinks."""
NEAR = (1e-1, 1e-2, 1e-4)
"""How far points on the same sides lie from the one that was found, relative to its size."""


def broad(loss: Loss, each: int, seed: int = 33) -> Array:
    """Such points (inputs, n), `each` of them for every pattern of sides."""
    rng, probe = np.random.default_rng(seed), Probe(loss)
    room = Room(probe)
    points = [room.scaled(np.concatenate(probe.points(16 + 3 * each, rng)), rng, SCALES)]
    sides = reached(loss)
    if sides.points.shape[1]:
        there = sides.points[:, ::-1][:, : max(1, MOST // each)]
        points += [there, sides.others[:, :MOST]] if sides.others.size else [there]
        for k in range(each - 1):
            jitter = 1 + NEAR[k % len(NEAR)] * rng.uniform(-1, 1, there.shape)
            points.append(room.held(there, there * jitter))
    return np.concatenate(points, axis=1)


def directions(loss: Loss, values: Array) -> list[tuple[Array, Array]]:
    """theta and grad loss/|grad loss| (D,) each, at 40 digits, at those points whose gradient is known to many
    digits."""
    d, tape = loss.dimension, Probe(loss).tape
    values = values[:, np.isfinite(tape.gradient(values, d)[0]).all(axis=0) & np.isfinite(tape.evaluate(values)[0])]
    gradients = [_gradients(loss, values, shaken) for shaken in (True, False)]
    found = []
    with mpmath.workdps(DIGITS):
        for n in range(values.shape[1]):
            clock.check()
            g, better = (found[:, n] for found in gradients)
            if not all(isinstance(c, (mpmath.mpf, int)) and mpmath.isfinite(c) for c in (*g, *better)):
                continue
            size = mpmath.sqrt(sum(c**2 for c in better))
            if size and mpmath.sqrt(sum((p - q) ** 2 for p, q in zip(g, better, strict=True))) <= AGREED * size:
                found.append((np.array([mpmath.mpf(float(v)) for v in values[:d, n]]), better / size))
    return found


def moved(loss: Loss, fields: Sequence[AffineField], values: Array) -> Array:
    """How every field X moves the loss at points, <grad loss, X> in units of |grad loss| and the longest of the fields:
    (points, fields). Points whose gradient is not known to many digits are left out."""
    rows: list[list[float]] = []
    with mpmath.workdps(DIGITS):
        for theta, g in directions(loss, values):
            vectors = [x.apply(theta, real) for x in fields]
            longest = mpmath.sqrt(max(sum(c**2 for c in v) for v in vectors))
            if longest:
                rows.append([float(mpmath.fdot(g, v) / longest) for v in vectors])
    return np.array(rows).reshape(len(rows), len(fields))


def cut(loss: Loss, null: Array) -> Array:
    """What of a space of fields, rows over (A row-major, b), leaves the loss alone at `broad` points too."""
    d = loss.dimension
    pairs = directions(loss, broad(loss, len(null) + 3))
    if not pairs or not len(null):
        return null
    theta, g = (np.array([pair[i] for pair in pairs], dtype=float) for i in (0, 1))
    vectors = np.einsum("kij,nj->nki", null[:, : d * d].reshape(-1, d, d), theta) + null[:, d * d :]
    longest = np.linalg.norm(vectors, axis=2).max(axis=1)
    rows = np.einsum("nki,ni->nk", vectors, g) / np.where(longest > 0, longest, 1.0)[:, None]
    _, s, vt = np.linalg.svd(rows)
    return vt[int((s > MOVED).sum()) :] @ null


def _gradients(loss: Loss, values: Array, shaken: bool) -> Array:
    """Gradients with twice the digits; shaken: with functions that are off by the last quarter of them."""
    digits = 2 * DIGITS
    tape = Probe(loss, digits).tape
    with mpmath.workdps(digits):
        if shaken:
            tape.arithmetic = Shaken(mpmath.mpf(10) ** (-digits * 3 // 4), digits)
        exact = np.vectorize(mpmath.mpf, otypes=[object])(values)
        return tape.gradient(exact, loss.dimension)[0]
