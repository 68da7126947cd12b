"""What is found, as families: null vectors of the unknowns, each in its shortest form, stacked by likeness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sde.networks.charge import CONVERGENT, DIVERGENT, FROZEN
from sde.networks.family import Family, ShiftSlot, Slot
from sde.networks.unknowns import ACTION, SHIFT, Block, starts_of

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class PatternEntry:
    """One tensor's part of a field: weights on slices that hold `axes` fixed; kind as in `Block`."""

    parameter: str
    axes: tuple[int, ...]
    kind: str
    index: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def signature(self) -> tuple[object, ...]:
        """All but which slices."""
        return self.parameter, self.axes, self.kind, self.weights


Pattern = tuple[PatternEntry, ...]
"""One charge."""


def patterns(
    vectors: Iterable[np.ndarray],
    blocks: Sequence[Block],
    shapes: Shapes,
    still: Mapping[str, np.ndarray] | None = None,
) -> list[Pattern]:
    """Null vectors as patterns, axes left out along which the weights are constant, the first weight positive; still:
    {parameter: entries that are 0 and stay so}, where a weight may be any."""
    still = still or {}
    starts = starts_of(blocks)
    found = []
    for vector in vectors:
        arrays: dict[tuple[str, str], np.ndarray] = {}
        for block, start in zip(blocks, starts[:-1], strict=True):
            part = vector[start : start + len(block)]
            if np.any(part):
                shape = shapes[block.parameter]
                full = part.reshape([shape[a] if a in block.axes else 1 for a in range(len(shape))])
                key = (block.parameter, block.kind)
                arrays[key] = arrays[key] + full if key in arrays else full
        for (name, kind), array in arrays.items():
            if kind == ACTION and name in still and array.shape == shapes[name]:
                arrays[name, kind] = _filled(array, still[name])
        parts = [_part(name, kind, array) for (name, kind), array in arrays.items() if np.any(np.abs(array) > 1e-9)]
        parts.sort(key=lambda p: (p.kind != ACTION, list(shapes).index(p.parameter)))
        if parts:
            sign = float(np.sign(parts[0].weights[0]))
            found.append(tuple(replace(p, weights=tuple(sign * w for w in p.weights)) for p in parts))
    return list(dict.fromkeys(found))


def _filled(array: np.ndarray, still: np.ndarray) -> np.ndarray:
    """With the entries that do not matter set so that it is constant along every axis that it can be constant along."""
    for a in range(array.ndim):
        level = np.where(still, -np.inf, array).max(axis=a, keepdims=True)
        if np.all(still | (array == level)):
            array = np.broadcast_to(np.where(np.isfinite(level), level, 0.0), array.shape)
    return array


def _part(name: str, kind: str, array: np.ndarray) -> PatternEntry:
    axes = tuple(a for a in range(array.ndim) if array.shape[a] > 1)
    if kind in (ACTION, SHIFT):
        for a in axes:
            first = array.take([0], axis=a)
            if np.array_equal(np.broadcast_to(first, array.shape), array):
                array, axes = first, tuple(b for b in axes if b != a)
    flat = array.reshape(-1)
    index = np.flatnonzero(np.abs(flat) > 1e-9)
    return PatternEntry(name, axes, kind, tuple(index.tolist()), tuple(float(w) for w in flat[index]))


def alike(found: Iterable[Pattern]) -> list[list[Pattern]]:
    """Patterns that differ only in which slices they are on, in order."""
    groups: dict[tuple[object, ...], list[Pattern]] = {}
    for pattern in found:
        groups.setdefault(tuple(p.signature for p in pattern), []).append(pattern)
    return [sorted(g, key=lambda q: [p.index for p in q]) for g in groups.values()]


def indices(group: Sequence[Pattern]) -> list[np.ndarray]:
    """Slices (patterns, weights) of every entry of patterns that are alike."""
    return [np.array([q[k].index for q in group]).reshape(len(group), -1) for k in range(len(group[0]))]


def families(found: Iterable[Pattern], shapes: Shapes, statistics: Mapping[str, np.ndarray]) -> list[Family]:
    """Patterns stacked: a family of those that are alike."""
    return [stacked(g[0], [(i, np.arange(i.shape[1])) for i in indices(g)], shapes, statistics) for g in alike(found)]


def stacked(
    pattern: Pattern,
    found: Sequence[tuple[np.ndarray, np.ndarray]],
    shapes: Shapes,
    statistics: Mapping[str, np.ndarray],
) -> Family:
    """The family of a pattern on other slices. found: of every entry, slices (charges, weights) and which of the
    entry's weights each has. Pure translations have half of them, so that C = 2 b^T theta is the sum."""
    slots, shifts = [], []
    scale = 1.0 if any(p.kind == ACTION for p in pattern) else 0.5
    for entry, (index, which) in zip(pattern, found, strict=True):
        weights = np.array(entry.weights)[which] * scale
        if entry.kind == ACTION:
            slots.append(Slot.on(entry.parameter, entry.axes, index, weights))
            continue
        factors = np.tile(weights, (len(index), 1))
        if entry.kind == SHIFT:
            shifts.append(ShiftSlot(entry.parameter, entry.axes, index, factors))
        else:
            own = factors * statistics[entry.kind].reshape(-1)[index]
            shifts.append(ShiftSlot(entry.parameter, entry.axes, index, own, entry.kind, factors))
    kind, noise = words([s.weights for s in slots], shifted=bool(shifts))
    own_shapes = {p.parameter: shapes[p.parameter] for p in pattern}
    return Family(kind, noise, "exact", np.zeros(len(found[0][0])), tuple(slots), tuple(shifts), own_shapes)


def words(weights: Sequence[np.ndarray], *, shifted: bool) -> tuple[str, str]:
    """(kind, what noise does) by the signs of A: on both it stops, on one it drives the charge for ever."""
    if not weights:
        return "translation", FROZEN
    signs = np.sign(np.concatenate(weights))
    both = bool(np.any(signs > 0) and np.any(signs < 0))
    kind = "affine" if shifted else ("rescaling" if both else "scale")
    return kind, CONVERGENT if both else DIVERGENT
