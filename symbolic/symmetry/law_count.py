"""Counting: independent charges, and all conservation laws of gradient flow (docs/theory.md eq. (2.3), (2.4)).

The laws that hold for all data number D - dim Lie{fields}(theta) at a generic theta, the fields being grad l(., z) for
every z: the distribution they span is closed under brackets level by level, at a random point over a prime field, until
a level adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symbolic.algebra.affine import AffineField
from symbolic.evaluation.lie_brackets import Fields, rank
from symbolic.evaluation.prime_field import PRIME, Unsupported, modular
from symbolic.evaluation.random_points import Probe
from symbolic.problem.loss import Loss
from symbolic.symmetry.independence import free_functions

DEEPEST = 6
"""Longest brackets looked at; a closure that still grows there is not counted."""
SPARE = 4
"""Random fields beyond the rank they are to reach."""
QUIET = 4
"""Batches in a row that add nothing, where kinks make some fields rare, before a level counts as full."""

Array = np.ndarray


def independent(charges: Sequence[AffineField]) -> int:
    """Rank of the fields A theta + b at a random point: the number of functionally independent charges."""
    if not charges:
        return 0
    point = np.random.default_rng(7).integers(1, PRIME, charges[0].size).tolist()
    return rank(np.array([[value % PRIME for value in x.apply(point, modular)] for x in charges]))


def law_count(loss: Loss, charges: int) -> int | None:
    """Number of independent conservation laws of gradient flow for all data; None when it is not known.

    charges: the number of independent charges, a lower bound. Source: Marcotte, Gribonval, Peyre (2307.00144).
    """
    try:
        if free_functions(loss):
            return _closure(Fields(loss), loss.dimension, charges)
    except Unsupported:
        pass
    return charges if _float_rank(loss) == loss.dimension - charges else None


def _closure(fields: Fields, size: int, charges: int) -> int | None:
    """size - dim Lie(fields) at the fields' theta; None when brackets up to DEEPEST do not settle it."""
    bound, rows = size - charges, np.zeros((0, size), dtype=np.int64)
    before = -1
    for length in range(1, DEEPEST + 1):
        rows, now = _grown(fields, length, rows, bound)
        if now >= bound or now == before:
            return size - now
        before = now
    return None


def _grown(fields: Fields, length: int, rows: Array, bound: int) -> tuple[Array, int]:
    """The rows with brackets of so many fields added until a batch of them adds nothing, and their rank."""
    now, quiet = rank(rows), 0
    while now < bound and quiet < (QUIET if fields.kinked else 1):
        rows = np.concatenate([rows, _brackets(fields, length, bound - now + SPARE)])
        before, now = now, rank(rows)
        quiet = quiet + 1 if now == before else 0
    return rows, now


def _brackets(fields: Fields, length: int, count: int) -> Array:
    """Values at theta of random brackets [X_1, [X_2, ...]] of so many fields, (count, D)."""
    batches = [fields.draw(count) for _ in range(length)]
    least = min(b.shape[1] for b in batches)
    values = fields.bracket([b[:, :least] for b in batches])
    return np.array([v.data[0] for v in values]).T


def _float_rank(loss: Loss) -> int | None:
    """Dimension that the gradients at one random theta span, in float64: a lower bound for the closure's."""
    size, rng = loss.dimension, np.random.default_rng(23)
    _, g = Probe(loss).gradients(3 * size + 20, rng, rng.standard_normal(size))
    norm = np.linalg.norm(g, axis=0)
    g = g[:, norm > 1e-9 * max(1.0, float(norm.max(initial=0.0)))]
    if not g.size:
        return None
    return int((np.linalg.svd(g / np.linalg.norm(g, axis=0), compute_uv=False) > 1e-9).sum())
