"""From a narrow copy to the model: by the tensors' names, their axes and proportional places on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from sde.networks.family import Family
from sde.networks.patterns import Pattern, Shapes, indices, stacked
from sde.networks.probe import Probe
from sde.networks.unknowns import blocks_of
from symbolic.errors import InputError

WIDTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
CHANNELS = 4
"""Channels that every axis of a narrow copy has at least, where the model's is wider."""


def narrow_copy(make: Callable[[int], nn.Module], full: Probe, inputs: tuple[Any, ...], loss: Any) -> tuple[Probe, int]:
    """(the narrowest copy that has the model's tensors at whole fractions of its widths, its width)."""
    reasons = []
    for width in WIDTHS:
        try:
            model = make(width)
            model.train(full.module.training)
            modes = {name: module.training for name, module in full.module.named_modules()}
            for name, module in model.named_modules():
                module.training = modes.get(name, module.training)
            probe = Probe(model, inputs, loss)
        except (RuntimeError, ValueError, AssertionError, AttributeError, IndexError, ZeroDivisionError) as error:
            reasons.append(f"{width}: {error}")
            continue
        if set(probe.shapes) != set(full.shapes):
            advice = "Build the same layers under the same names at every width, frozen ones frozen."
            odd = sorted(set(probe.shapes) ^ set(full.shapes))[:4]
            raise InputError.of("make", "its models must have the tensors of the model", odd, advice)
        axes = [(a, b) for n in full.shapes for a, b in zip(probe.shapes[n], full.shapes[n], strict=False)]
        ranks = all(len(probe.shapes[n]) == len(full.shapes[n]) for n in full.shapes)
        if ranks and all(b % a == 0 and (a == b or a >= CHANNELS) for a, b in axes):
            return probe, width
        reasons.append(f"{width}: axes of {sorted(set(axes))}")
    advice = f"Give a factory that builds the model at one of these widths; {'; '.join(reasons)[:400]}"
    raise InputError.of("make", "must build a narrow copy with whole fractions of the model's widths", make, advice)


@dataclass(frozen=True)
class _Place:
    """One part of some patterns: slices (L, m) as coordinates along the kept axes (L, m, d), their sizes, ratios."""

    coordinates: np.ndarray
    sizes: tuple[int, ...]
    ratios: tuple[int, ...]

    @property
    def wide(self) -> list[int]:
        return [s * r for s, r in zip(self.sizes, self.ratios, strict=True)]


def lifted(
    group: Sequence[Pattern], narrow: Shapes, full: Shapes, statistics: dict[str, np.ndarray]
) -> Iterator[Family]:
    """Families at full width that patterns that are alike may mean: one for every place of an axis, where several were
    found, else units that move along their axes together, else blocks that grow. What is right is for the test to say.
    """
    places = []
    for part, index in zip(group[0], indices(group), strict=True):
        sizes = tuple(narrow[part.parameter][a] for a in part.axes)
        ratios = tuple(full[part.parameter][a] // narrow[part.parameter][a] for a in part.axes)
        digits = np.stack(np.unravel_index(index, sizes), -1) if sizes else np.zeros((*index.shape, 0), dtype=int)
        places.append(_Place(digits, sizes, ratios))
    for read in (_filling, _moving, _growing):
        found = read(places)
        if found is not None:
            yield stacked(group[0], found, full, statistics)


def _filling(places: Sequence[_Place]) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """(slices, which weight each has) of every part: where some are alike at several places of one axis that is as wide
    in all parts, at all of its places; a basis has left some out that others make."""
    moving = {(a, s, r) for p in places for a, (s, r) in enumerate(zip(p.sizes, p.ratios, strict=True)) if r > 1}
    sizes = {(s, r) for _, s, r in moving}
    if len(sizes) != 1 or len(places[0].coordinates) < 2:
        return None
    ((size, ratio),) = sizes
    number: set[tuple[int, ...]] = set()
    for p in places:
        wide = [a for a, r in enumerate(p.ratios) if r > 1]
        if len(wide) != 1 or len(p.ratios) != 1 or p.coordinates.shape[1] != 1:
            return None
        number.add(tuple(p.coordinates[:, 0, 0].tolist()))
    if len(number) != 1 or len(next(iter(number))) == size:
        return None
    every = np.arange(size * ratio)[:, None]
    return [(every, np.zeros(1, dtype=int)) for _ in places]


def _moving(places: Sequence[_Place]) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """(slices, which weight each has) of every part: runs of equal steps, made longer as the axes are wider."""
    count = len(places[0].coordinates)
    steps = [np.diff(p.coordinates, axis=0) for p in places]
    runs, first = [], 0
    for k in range(1, count + 1):
        if k == count or (k > first + 1 and any(not np.array_equal(s[k - 1], s[first]) for s in steps)):
            runs.append((first, k))
            first = k
    found: list[list[np.ndarray]] = [[] for _ in places]
    for start, stop in runs:
        length = 0
        for part, step in zip(places, steps, strict=True):
            stride = step[start][0] if stop > start + 1 else np.zeros(len(part.sizes), dtype=int)
            if stop > start + 1 and np.any(step[start] != stride):
                return None
            ratios = {r for r, s in zip(part.ratios, stride, strict=True) if s}
            if len(ratios) > 1 or (length and ratios and length != (stop - start) * min(ratios)):
                return None
            length = length or (stop - start) * (min(ratios) if ratios else 1)
            if ratios and length != (stop - start) * min(ratios):
                return None
        for k, (part, step) in enumerate(zip(places, steps, strict=True)):
            stride = np.abs(step[start][0]) if stop > start + 1 else np.zeros(len(part.sizes), dtype=int)
            origin = part.coordinates[start].copy()
            for a, (s, ratio) in enumerate(zip(stride, part.ratios, strict=True)):
                unit = max(1, int(s))
                origin[:, a] = origin[:, a] // unit * ratio * unit + origin[:, a] % unit
            moved = origin[None] + np.arange(length)[:, None, None] * stride
            if any(np.any(moved[..., a] >= w) for a, w in enumerate(part.wide)):
                return None
            found[k].append(_flat(moved, part.wide))
    return [(np.concatenate(f), np.arange(f[0].shape[1])) for f in found]


def _growing(places: Sequence[_Place]) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """The same where every slice becomes the block of slices at its place."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for part in places:
        offsets = (
            np.indices(part.ratios).reshape(len(part.ratios), -1).T if part.ratios else np.zeros((1, 0), dtype=int)
        )
        wide = part.coordinates[:, :, None, :] * np.array(part.ratios) + offsets
        flat = _flat(wide, part.wide)
        which = np.repeat(np.arange(len(flat[0])), len(offsets))
        found.append((flat.reshape(len(flat), -1), which))
    return found


def _flat(coordinates: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    if not sizes:
        return np.zeros(coordinates.shape[:-1], dtype=int)
    return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(coordinates, -1, 0)), tuple(sizes)))


def unknowns_at_full_width(probe: Probe) -> int:
    """How many unknowns the model itself has."""
    return sum(len(b) for b in blocks_of(probe, list(probe.parameters), most=0))
