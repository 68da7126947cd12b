"""The pair stage: where units i and j can be rescaled, whether they can be mixed too (GL(h), block by block)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from sde.networks.charge import CONVERGENT
from sde.networks.family import Family, Slot
from sde.networks.probe import Probe
from sde.networks.proof import TOLERANCE, residuals, screened

EVERY = 64
"""Units of a family up to which every pair is tried; of larger ones, those within runs of mixing neighbours."""


def pair_families(probe: Probe, families: Sequence[Family], seed: int) -> list[Family]:
    """Families of pairs that hold, with their residuals: a field that maps unit i to unit j and j to i, in every tensor
    with the weight of the rescaling.
    """
    plain = [f for f in families if f.status == "exact" and not f.shifts and f.kind != "no gradient"]
    tried = [t for f in plain for t in _within(probe, f, seed)]
    tried += [t for one, two in combinations([f for f in plain if len(f) <= EVERY], 2) for t in _across(one, two)]
    if not tried:
        return []
    rough = screened(probe, tried, seed)
    kept = _split(tried, rough < 1e-7)
    if not kept:
        return []
    sizes = residuals(probe, kept, seed + 1)
    return _split([replace(f, size=s) for f, s in zip(kept, _parts(kept, sizes), strict=True)], sizes <= TOLERANCE)


def _within(probe: Probe, family: Family, seed: int) -> Iterator[Family]:
    n = len(family)
    if n < 2:
        return
    if n <= EVERY:
        i, j = np.triu_indices(n, 1)
    else:
        first = np.arange(n - 1)
        mixed = screened(probe, [_paired(family, family, first, first + 1)], seed) < 1e-7
        ends = np.concatenate([np.flatnonzero(~mixed), [n - 1]])
        starts = np.concatenate([[0], ends[:-1] + 1])
        pairs = [np.triu_indices(e - s + 1, 1) for s, e in zip(starts, ends, strict=True)]
        i = np.concatenate([p[0] + s for p, s in zip(pairs, starts, strict=True)])
        j = np.concatenate([p[1] + s for p, s in zip(pairs, starts, strict=True)])
    if len(i):
        yield _paired(family, family, i, j)


def _across(one: Family, two: Family) -> Iterator[Family]:
    """Pairs of units of two families whose slices can be matched by shape and weight."""
    if len(one.slots) == len(two.slots) and all(
        _slice_shape(one, a) == _slice_shape(two, b) and np.array_equal(a.weights, b.weights)
        for a, b in zip(one.slots, two.slots, strict=True)
    ):
        i, j = np.indices((len(one), len(two))).reshape(2, -1)
        yield _paired(one, two, i, j)


def _paired(one: Family, two: Family, i: np.ndarray, j: np.ndarray) -> Family:
    slots = tuple(
        Slot(a.left, b.left, a.left_axes, b.left_axes, a.rows[i], b.rows[j], a.weights)
        for a, b in zip(one.slots, two.slots, strict=True)
    )
    shapes = {**one.shapes, **two.shapes}
    return Family("GL pair", CONVERGENT, "exact", np.zeros(len(i)), slots, (), shapes)


def _slice_shape(family: Family, slot: Slot) -> tuple[int, ...]:
    shape = family.shapes[slot.left]
    return tuple(n for a, n in enumerate(shape) if a not in slot.left_axes)


def _parts(families: Sequence[Family], values: np.ndarray) -> list[np.ndarray]:
    return np.split(values, np.cumsum([len(f) for f in families])[:-1])


def _split(families: Sequence[Family], kept: np.ndarray) -> list[Family]:
    parts = zip(families, _parts(families, kept), strict=True)
    return [f.taken(np.flatnonzero(k), status=f.status, size=f.size) for f, k in parts if k.any()]
