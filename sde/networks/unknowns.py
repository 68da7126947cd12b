"""The ansatz: fields A theta + b whose A acts on the slices of every tensor along its axes, and b shifts them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from sde.networks.probe import Probe

ACTION, SHIFT = "A", "b"
MOST = 1500
"""Unknowns up to which finer actions are tried too."""


@dataclass(frozen=True)
class Block:
    """Unknowns on one tensor, one for each slice that holds `axes` fixed.

    kind: "A" scales the slice, "b" shifts all of it, and the name of a running statistic shifts it by that.
    """

    parameter: str
    axes: tuple[int, ...]
    kind: str
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return math.prod(self.sizes)


def blocks_of(probe: Probe, names: Sequence[str], most: int = MOST) -> list[Block]:
    """Unknowns on the named tensors: an action and a shift along every axis; then, while there are at most `most`,
    actions and shifts of their own on slices along two axes, and on every entry.
    """
    chosen: dict[tuple[str, str], list[tuple[int, ...]]] = {}
    for name in names:
        shape = probe.shapes[name]
        axes = [(a,) for a in range(len(shape)) if shape[a] > 1] or [()]
        chosen[name, ACTION] = list(axes)
        chosen[name, SHIFT] = list(axes)
    total = sum(math.prod(probe.shapes[n][a] for a in axes) for (n, _), all_ in chosen.items() for axes in all_)
    for finer in _finer(probe, names):
        name, kind, axes = finer
        kept = [a for a in chosen[name, kind] if not set(a) <= set(axes)]
        size = math.prod(probe.shapes[name][a] for a in axes)
        cost = size - sum(math.prod(probe.shapes[name][a] for a in b) for b in chosen[name, kind] if b not in kept)
        if total + cost <= most:
            chosen[name, kind] = [*kept, axes]
            total += cost
    found = [
        Block(name, axes, kind, tuple(probe.shapes[name][a] for a in axes))
        for (name, kind), all_ in chosen.items()
        for axes in all_
    ]
    return found + list(_statistics(probe, names))


def _finer(probe: Probe, names: Sequence[str]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """What is added while it fits: pairs of axes of stacked tensors, then every entry, the small tensors first."""
    small = sorted(names, key=lambda n: math.prod(probe.shapes[n]))
    for kind in (ACTION, SHIFT):
        for name in small:
            wide = [a for a, s in enumerate(probe.shapes[name]) if s > 1]
            if len(wide) > 2:
                yield from ((name, kind, pair) for pair in combinations(wide, 2))
    for kind in (SHIFT, ACTION):
        for name in small:
            wide = tuple(a for a, s in enumerate(probe.shapes[name]) if s > 1)
            if len(wide) > 1:
                yield name, kind, wide


def _statistics(probe: Probe, names: Sequence[str]) -> Iterator[Block]:
    """Shifts of vectors by the statistics, held fixed, of the next layer of their size that has any."""
    layers = [n for n, _ in probe.module.named_modules()]
    for name in names:
        place = layers.index(name.rpartition(".")[0])
        after = [
            b
            for b in probe.running
            if layers.index(b.rpartition(".")[0]) > place
            and not probe.module.get_submodule(b.rpartition(".")[0]).training
            and tuple(probe.buffers[b].shape) == probe.shapes[name]
        ]
        owner = after[0].rpartition(".")[0] if after else ""
        for buffer in after:
            if buffer.rpartition(".")[0] == owner:
                yield Block(name, (0,), buffer, probe.shapes[name])


def columns(
    blocks: Iterable[Block], gradients: Mapping[str, Tensor], theta: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
) -> Tensor:
    """<g, field> of every unknown: (batch, unknowns)."""
    products: dict[str, Tensor] = {}
    parts = []
    for b in blocks:
        g = gradients[b.parameter]
        if b.kind == ACTION:
            if b.parameter not in products:
                products[b.parameter] = g * theta[b.parameter]
            g = products[b.parameter]
        rest = [a + 1 for a in range(g.ndim - 1) if a not in b.axes]
        sums = g.sum(rest) if rest else g
        sums = sums.reshape(len(g), -1)
        parts.append(sums if b.kind in (ACTION, SHIFT) else sums * buffers[b.kind].reshape(-1))
    return torch.cat(parts, 1)


def starts_of(blocks: Sequence[Block]) -> list[int]:
    """Where the blocks' unknowns begin, and their number."""
    return [0, *np.cumsum([len(b) for b in blocks]).tolist()]


def gauge(blocks: Sequence[Block]) -> np.ndarray:
    """Unknowns whose field is zero, as columns: what two blocks of one tensor do alike on the axes that they share."""
    starts = starts_of(blocks)
    found = []
    places: dict[tuple[str, str], list[int]] = {}
    for k, b in enumerate(blocks):
        places.setdefault((b.parameter, b.kind), []).append(k)
    for together in places.values():
        for first, second in combinations(together, 2):
            one, two = blocks[first], blocks[second]
            shared = [a for a in one.axes if a in two.axes]
            cells = math.prod(one.sizes[one.axes.index(a)] for a in shared)
            matrix = np.zeros((starts[-1], cells))
            for block, start, sign in ((one, starts[first], 1.0), (two, starts[second], -1.0)):
                digits = np.indices(block.sizes).reshape(len(block.sizes), -1)
                cell = np.zeros(len(block), dtype=int)
                for a in shared:
                    axis = block.axes.index(a)
                    cell = cell * block.sizes[axis] + digits[axis]
                matrix[start + np.arange(len(block)), cell] = sign
            found.append(matrix)
    return np.concatenate(found, 1) if found else np.zeros((starts[-1], 0))
