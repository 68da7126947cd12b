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
class Part:
    """One tensor's part of a field: weights on slices that hold `axes` fixed; kind as in `Block`."""

    parameter: str
    axes: tuple[int, ...]
    kind: str
    index: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def look(self) -> tuple[object, ...]:
        """All but which slices."""
        return self.parameter, self.axes, self.kind, self.weights


Pattern = tuple[Part, ...]
"""One charge."""


def patterns(vectors: Iterable[np.ndarray], blocks: Sequence[Block], shapes: Shapes) -> list[Pattern]:
    """Null vectors as patterns, axes left out along which the weights are constant, the first weight positive."""
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
        parts = [_part(name, kind, array) for (name, kind), array in arrays.items() if np.any(np.abs(array) > 1e-9)]
        parts.sort(key=lambda p: (p.kind != ACTION, list(shapes).index(p.parameter)))
        if parts:
            sign = float(np.sign(parts[0].weights[0]))
            found.append(tuple(replace(p, weights=tuple(sign * w for w in p.weights)) for p in parts))
    return list(dict.fromkeys(found))


def _part(name: str, kind: str, array: np.ndarray) -> Part:
    axes = tuple(a for a in range(array.ndim) if array.shape[a] > 1)
    if kind in (ACTION, SHIFT):
        for a in axes:
            first = array.take([0], axis=a)
            if np.array_equal(np.broadcast_to(first, array.shape), array):
                array, axes = first, tuple(b for b in axes if b != a)
    flat = array.reshape(-1)
    index = np.flatnonzero(np.abs(flat) > 1e-9)
    return Part(name, axes, kind, tuple(index.tolist()), tuple(float(w) for w in flat[index]))


def families(found: Iterable[Pattern], shapes: Shapes, statistics: Mapping[str, np.ndarray]) -> list[Family]:
    """Patterns stacked: those that differ only in which slices they are on, in order."""
    groups: dict[tuple[object, ...], list[Pattern]] = {}
    for pattern in found:
        groups.setdefault(tuple(p.look for p in pattern), []).append(pattern)
    return [stacked(sorted(g, key=lambda q: [p.index for p in q]), shapes, statistics) for g in groups.values()]


def stacked(group: Sequence[Pattern], shapes: Shapes, statistics: Mapping[str, np.ndarray]) -> Family:
    """One family of patterns of one look; of pure translations half the weights, so that C = 2 b^T theta is the sum."""
    slots, shifts = [], []
    scale = 1.0 if any(p.kind == ACTION for p in group[0]) else 0.5
    for k, part in enumerate(group[0]):
        index = np.array([q[k].index for q in group]).reshape(len(group), -1)
        weights = np.array(part.weights) * scale
        if part.kind == ACTION:
            slots.append(Slot.on(part.parameter, part.axes, index, weights))
        else:
            factors = np.tile(weights, (len(group), 1))
            if part.kind == SHIFT:
                shifts.append(ShiftSlot(part.parameter, part.axes, index, factors))
            else:
                own = factors * statistics[part.kind].reshape(-1)[index]
                shifts.append(ShiftSlot(part.parameter, part.axes, index, own, part.kind, factors))
    kind, noise = words([s.weights for s in slots], shifted=bool(shifts))
    touched = dict.fromkeys(p.parameter for p in group[0])
    own = {n: shapes[n] for n in touched}
    return Family(kind, noise, "exact", np.zeros(len(group)), tuple(slots), tuple(shifts), own)


def words(weights: Sequence[np.ndarray], *, shifted: bool) -> tuple[str, str]:
    """(kind, what noise does) by the signs of A: on both it stops, on one it drives the charge for ever."""
    if not weights:
        return "translation", FROZEN
    signs = np.sign(np.concatenate(weights))
    both = bool(np.any(signs > 0) and np.any(signs < 0))
    kind = "affine" if shifted else ("rescaling" if both else "scale")
    return kind, CONVERGENT if both else DIVERGENT
