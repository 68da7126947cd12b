"""Symmetries sought among the known actions on parameters, where the whole search does not fit.

Matrices and rescalings on the axes of parameters, rescalings of whole parameters, shifts along axes: for every pair of
indices the few coefficients of such an action are solved for at random points, and what is found is held to the loss at
40 digits. What is found are symmetries; there may be more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from symbolic import clock
from symbolic.algebra.affine import AffineField
from symbolic.algebra.field_span import FieldSpan
from symbolic.algebra.nullspace import Vector
from symbolic.evaluation import random_points as probing
from symbolic.evaluation import wide_points as wide
from symbolic.evaluation.kink_sides import reached
from symbolic.problem.loss import Loss
from symbolic.symmetry.axes import Axis, axes, wholes
from symbolic.symmetry.solve import fractions

POINTS = 60
"""Random points at which an action must leave the loss alone."""
SIZES = 64
"""Longest axis along which pairs of different indices are mixed."""
CLOSE = 1e-9
"""Change of the loss, over that of a generic action, that counts as none."""
EXACT = 1e-25
"""The same at 40 digits."""
SELDOM = 8
"""Points on sides of kinks that random points seldom meet, where it must hold too."""

Array = np.ndarray


def known_actions(loss: Loss) -> list[AffineField]:
    """Independent symmetries of the loss among these actions; those that do not hold at 40 digits are left out."""
    rng = np.random.default_rng(27)
    theta, g = probing.Probe(loss).gradients(POINTS, rng)
    found = FieldSpan().extended(x for x in _candidates(loss, theta, g))
    weights = [int(v) for v in rng.integers(1, 1000, len(found))]
    if found and not _holds(loss, [AffineField.combination(zip(found, weights, strict=True))]):
        return [x for x in found if _holds(loss, [x])]
    return found


def _holds(loss: Loss, fields: Sequence[AffineField]) -> bool:
    if probing.residual(loss, fields, np.random.default_rng(28), points=3) >= EXACT:
        return False
    sides = reached(loss)
    seldom = sides.points[:, list(sides.seldom[:SELDOM])]
    return not seldom.size or bool((abs(wide.moved(loss, fields, seldom)) < EXACT).all())


def _candidates(loss: Loss, theta: Array, g: Array) -> Iterator[AffineField]:
    """Combinations of actions of one kind that leave the loss alone at all points."""
    size = loss.dimension
    for axis in [*axes(loss), *wholes(loss)]:
        lines = np.array(axis.lines)
        shifted = g[lines].sum(axis=0)
        for k in np.flatnonzero(
            np.abs(shifted).max(axis=1) <= CLOSE * np.abs(g[lines]).max(axis=(0, 2), initial=1e-300)
        ):
            yield AffineField(size, {}, {int(i): 1 for i in lines[:, k]})
    still = np.flatnonzero(~g.any(axis=1))
    yield from (AffineField(size, {}, {int(i): 1}) for i in still)
    families: dict[int, list[Axis]] = {1: wholes(loss)}
    for axis in axes(loss):
        if axis.size > 1:
            families.setdefault(axis.size, []).append(axis)
    for h, family in families.items():
        pairs = product(range(h), repeat=2) if h <= SIZES else ((a, a) for a in range(h))
        for a, b in pairs:
            clock.check()
            acting = [_action(axis, sign, a, b) for axis in family for sign in ((1, -1) if a != b else (1,))]
            columns = [np.einsum("in,in->n", g[list(i)], theta[list(j)]) * c for i, j, c in acting]
            for mix in _null(np.array(columns).T, g, theta):
                parts = [
                    (AffineField(size, dict.fromkeys(zip(*acting[k][:2], strict=True), acting[k][2])), c)
                    for k, c in mix.items()
                ]
                yield AffineField.combination(parts)


def _action(axis: Axis, sign: int, a: int, b: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(rows, columns, entry) of E_ab acting along an axis: v -> G v (sign 1) or v -> G^-T v (sign -1)."""
    one, other = axis.lines[a], axis.lines[b]
    return (one, other, 1) if sign > 0 else (other, one, -1)


def _null(columns: Array, g: Array, theta: Array) -> list[Vector]:
    """Mixes of the columns that vanish at all points, by nearby fractions."""
    size = np.linalg.norm(g, axis=0) * np.linalg.norm(theta, axis=0)
    rows = columns / np.where(size > 0, size, 1.0)[:, None]
    scale = np.linalg.norm(rows, axis=0)
    scale = np.where(scale > CLOSE, scale, 1.0)  # a column that vanishes by itself stays so
    _, s, vt = np.linalg.svd(rows / scale, full_matrices=True)
    null = vt[int((s > CLOSE).sum()) :] / scale
    return fractions(null / np.abs(null).max(axis=1, keepdims=True)) if len(null) else []
