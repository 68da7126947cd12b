"""Counting: independent charges, and all conservation laws of gradient flow (docs/theory.md eq. (2.3), (2.4)).

The laws that hold for all data number D - dim Lie{fields}(theta) at a generic theta, the fields being grad l(., z) for
every z: the distribution they span is closed under brackets level by level, at a random point over a prime field, until
a level adds nothing. A rank mod p never exceeds the generic one and falls short of it with probability d/p at most, d
the degree of a minor: the count errs upwards only, and where it equals the number of charges it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np

from symbolic.algebra.affine import AffineField
from symbolic.algebra.constants import place
from symbolic.algebra.number_field import Irrational, Number
from symbolic.evaluation.field_mixtures import Mixtures
from symbolic.evaluation.kink_sides import reached
from symbolic.evaluation.lie_brackets import rank
from symbolic.evaluation.loss_constants import TRIED, constants
from symbolic.evaluation.prime_field import PRIME, Unsupported, modular, primes
from symbolic.evaluation.random_points import Probe
from symbolic.problem.loss import Loss
from symbolic.symmetry.independence import free_functions

DEEPEST = 6
"""Longest brackets looked at; a closure that still grows there is not counted."""
SPARE = 4
"""Brackets that must add nothing before a level counts as full."""
KINKED = 24
"""The same where there are kinks: one of them shows a given pattern of k gates in a share of 2^-k of its samples."""
LARGEST = 1 << 15
"""Numbers of one step of a tape between two looks at the rank."""

Array = np.ndarray


def independent(charges: Sequence[AffineField]) -> int:
    """Rank of the fields A theta + b at a random point: the number of functionally independent charges."""
    if not charges:
        return 0
    numbers = {c for x in charges for part in (x.A, x.b) for c in part.values()}
    prime, known = _residues(numbers)
    point = np.random.default_rng(7).integers(1, prime, charges[0].size).tolist()
    rows = [[int(v) % prime for v in x.apply(point, known.__getitem__)] for x in charges]
    return rank(np.array(rows), prime)


def _residues(numbers: Set[Number]) -> tuple[int, dict[Number, int]]:
    """A prime where the numbers' field has a place, and their values there. Raises Unsupported where there is none."""
    fields = {c.field for c in numbers if isinstance(c, Irrational)}
    for _, prime in zip(range(TRIED), primes(), strict=False):
        places = {field: place(field, prime) for field in fields}
        if None not in places.values():
            return prime, {c: places[c.field](c) if isinstance(c, Irrational) else modular(c, prime) for c in numbers}
    raise Unsupported("independent: no prime was found where the generators' entries exist.")


def law_count(loss: Loss, charges: int, seed: int = 8) -> int | None:
    """Number of independent conservation laws of gradient flow for all data; None when it is not known.

    Constants that may depend on each other are taken as independent, which can only hide laws: the count is then known
    where as many directions are seen to move.

    charges: the number of independent charges, a lower bound; where more laws than that are found, they are counted
    again at another point modulo another prime, all sides of kinks that can be reached taking part. seed: of the random
    points. Raises RuntimeError for a count below the charges, a defect.

    Source: Marcotte, Gribonval, Peyre (2307.00144).
    """
    settled, found = constants(loss).independent, None
    try:
        if free_functions(loss):
            found = _count(loss, charges if settled else 0, seed, PRIME)
            if settled and (found is None or found > charges):
                found = _least(found, _count(loss, charges, seed + 1, PRIME // 4 * 3, reached(loss).points))
            if settled:
                return found
    except Unsupported:
        pass
    rank_there, least = _float_rank(loss), max(found or 0, charges)
    return least if rank_there == loss.dimension - least else None


def _least(*counts: int | None) -> int | None:
    return min((c for c in counts if c is not None), default=None)


def _count(loss: Loss, charges: int, seed: int, start: int, beyond: Array | None = None) -> int | None:
    """The laws at one random point mod p; the fewest over the chambers of theta that its own kinks make. beyond: real
    points on sides of kinks that random ones seldom meet."""
    mixtures = Mixtures(loss, seed, start, beyond=beyond)
    found = _closure(mixtures, charges)
    for chamber in range(1, mixtures.chambers):
        if found == charges:
            break
        found = _least(found, _closure(Mixtures(loss, seed, start, chamber, beyond), charges))
    return found


def _closure(fields: Mixtures, charges: int) -> int | None:
    """D - dim Lie(fields) at the fields' theta; None when brackets up to DEEPEST do not settle it."""
    bound, rows = fields.size - charges, np.zeros((0, fields.size), dtype=np.int64)
    before = -1
    for length in range(1, DEEPEST + 1):
        rows, now = _grown(fields, length, rows, bound)
        if now > bound:
            raise RuntimeError(
                f"law_count: there are at least as many laws as charges; got {fields.size - now} laws and {charges}"
                " independent charges. This is a defect of ours: please report the loss."
            )
        if now in (bound, before):
            return fields.size - now
        before = now
    return None


def _grown(fields: Mixtures, length: int, rows: Array, bound: int) -> tuple[Array, int]:
    """The rows with brackets of so many fields added until enough of them add nothing, and their rank."""
    now, quiet = rank(rows, fields.prime), 0
    needed = max(KINKED if fields.kinked or fields.bits.any() else SPARE, SPARE * fields.cycle)
    most = max(1, LARGEST // (fields.width << (length - 1)))
    while quiet < needed and (now < bound or not len(rows)):
        count = min(max(bound - now + SPARE if not quiet else needed - quiet, 1), most)
        rows = np.concatenate([rows, fields.brackets(length, count)])
        before, now = now, rank(rows, fields.prime)
        quiet = quiet + count if now == before else 0
    return rows, now


def _float_rank(loss: Loss) -> int | None:
    """Dimension that the gradients at one random theta span, in float64: a lower bound for the closure's."""
    size, rng = loss.dimension, np.random.default_rng(23)
    _, g = Probe(loss).gradients(3 * size + 20, rng, rng.standard_normal(size))
    norm = np.linalg.norm(g, axis=0)
    g = g[:, norm > 1e-9 * float(norm.max(initial=0.0))]
    if not g.size:
        return None
    return int((np.linalg.svd(g / np.linalg.norm(g, axis=0), compute_uv=False) > 1e-9).sum())
