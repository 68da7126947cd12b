"""The pair stage: where units i and j can be rescaled, whether they can be mixed too (GL(h), block by block)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from sde.networks.charge import CONVERGENT
from sde.networks.family import Family, Slot
from sde.networks.probe import Probe
from sde.networks.proof import ROUGH, TOLERANCE, residuals, screened

EVERY = 64
"""Units of a family up to which every pair is tried; of larger ones, those within runs of mixing neighbours."""


def pair_families(probe: Probe, families: Sequence[Family], seed: int) -> list[Family]:
    """Families of pairs that hold, with their residuals: a field that maps unit i to unit j and j to i, in every tensor
    with the weight of the rescaling.
    """
    plain = [f for f in families if len(f) and f.status == "exact" and not f.shifts and f.kind != "no gradient"]
    tried = _within(probe, plain, seed)
    tried += [t for one, two in combinations([f for f in plain if len(f) <= EVERY], 2) for t in _across(one, two)]
    if not tried:
        return []
    rough = screened(probe, tried, seed)
    kept = _split(tried, rough < ROUGH)
    if not kept:
        return []
    sizes = residuals(probe, kept, seed + 1)
    return _split([replace(f, size=s) for f, s in zip(kept, _parts(kept, sizes), strict=True)], sizes <= TOLERANCE)


def _within(probe: Probe, families: Sequence[Family], seed: int) -> list[Family]:
    """Pairs of units of one family: all, or all of each run of neighbours that mix."""
    large = [f for f in families if len(f) > EVERY]
    neighbours = [_paired(f, f, first := np.arange(len(f) - 1), first + 1) for f in large]
    mixed = _parts(neighbours, screened(probe, neighbours, seed) < ROUGH) if large else []
    ends = [np.arange(1, len(f) + 1)[~np.append(m, False)] for f, m in zip(large, mixed, strict=True)]
    runs = {id(f): e for f, e in zip(large, ends, strict=True)}
    found = []
    for f in families:
        stops = runs.get(id(f), np.array([len(f)]))
        starts = np.append(0, stops[:-1])
        pairs = [np.array(np.triu_indices(stop - start, 1)) + start for start, stop in zip(starts, stops, strict=True)]
        i, j = np.concatenate(pairs, 1)
        if len(i):
            found.append(_paired(f, f, i, j))
    return found


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
    return tuple(n for a, n in enumerate(shape) if a not in slot.left_axes and n > 1)


def _parts(families: Sequence[Family], values: np.ndarray) -> list[np.ndarray]:
    return np.split(values, np.cumsum([len(f) for f in families])[:-1])


def _split(families: Sequence[Family], kept: np.ndarray) -> list[Family]:
    parts = zip(families, _parts(families, kept), strict=True)
    return [f.taken(np.flatnonzero(k), status=f.status, size=f.size) for f, k in parts if k.any()]
