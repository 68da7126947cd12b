"""Candidates: rows of gradients at many parameters, and the null vectors of windows of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg
from torch import Tensor

from sde.networks.null_space import EXACT, NEARLY, null_space, reduced, sparse_basis
from sde.networks.patterns import Pattern, patterns
from sde.networks.probe import Probe
from sde.networks.unknowns import Block, blocks_of, columns, gauge, largest, starts_of

WHOLE, WINDOW = 3000, 2000
"""Unknowns that are solved for together; more are solved for in windows of neighbouring layers."""
PLAIN = 64
"""Slices that a pattern that is nearly a law may have; more is noise among weak directions."""
SPARE = 4
"""Rows beyond the unknowns of some tensors."""
_NOISE, _RANK = 1e-13, 1e-12


@dataclass(frozen=True)
class Candidates:
    """Patterns that may be laws, patterns that nearly are, entries without gradient, and how it was sought."""

    exact: list[Pattern]
    nearly: list[Pattern]
    dead: dict[str, np.ndarray]
    unknowns: int
    windows: int


def candidates(probe: Probe, seed: int) -> Candidates:
    """Patterns of the whole model, or of all its windows; of windows only those that may be laws."""
    dead = without_gradient(probe, seed)
    probe.hold(dead, seed + 8000)
    blocks = blocks_of(probe, list(probe.parameters))
    parts = _windows(probe, blocks)
    widest = max(sum(len(b) for b in blocks if b.parameter in part) for part in parts)
    starts = starts_of(blocks)
    places = [np.flatnonzero(np.repeat([b.parameter in p for b in blocks], [len(b) for b in blocks])) for p in parts]
    points = _points(probe, blocks, parts, dead, seed)
    rows, scale = _rows(probe, blocks, dead, int(1.05 * widest) + 40, points, seed)
    below = NEARLY if len(parts) == 1 else EXACT
    still = probe.still()
    exact: dict[Pattern, None] = {}
    nearly: dict[Pattern, None] = {}
    for part, columns_of in zip(parts, places, strict=True):
        own = [b for b in blocks if b.parameter in part]
        some = rows[: int(1.05 * len(columns_of)) + 40, columns_of]
        for found, into in zip(_solved(some, scale[columns_of], own, dead, below), (exact, nearly), strict=True):
            into.update(dict.fromkeys(patterns(found, own, probe.shapes, still)))
    nearly_only = [p for p in nearly if p not in exact and sum(len(part.index) for part in p) <= PLAIN]
    return Candidates(list(exact), nearly_only, dead, starts[-1], len(parts))


def _solved(
    rows: np.ndarray, largest_of: np.ndarray, blocks: list[Block], dead: dict[str, np.ndarray], below: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(exact, nearly) null vectors of some rows."""
    alive = np.concatenate([_alive(b, dead) for b in blocks]) & (largest_of > 0)
    live = np.flatnonzero(alive)
    chosen = rows[:, live]
    norms = np.linalg.norm(chosen, axis=0)
    most = largest_of[live] * np.sqrt(len(rows))
    scale = np.where(norms > 1e-2 * most, norms, most)
    vectors, values = null_space(chosen / scale, below)
    exact = vectors[:, values < EXACT]
    free = gauge(blocks)[live] * scale[:, None]
    free = linalg.orth(free) if free.size else free
    found = reduced(sparse_basis(exact, scale, free))
    rest = sparse_basis(vectors[:, values >= EXACT], scale, exact, tolerance=0.03, reach=64)
    return [_spread(v, alive) for v in found], [_spread(v, alive) for v in rest]


def _spread(vector: np.ndarray, alive: np.ndarray) -> np.ndarray:
    whole = np.zeros(len(alive))
    whole[alive] = vector
    return whole


def _alive(block: Block, dead: dict[str, np.ndarray]) -> np.ndarray:
    """Which of a block's slices hold an entry with a gradient."""
    if block.parameter not in dead:
        return np.ones(len(block), dtype=bool)
    rest = tuple(a for a in range(dead[block.parameter].ndim) if a not in block.axes)
    return np.atleast_1d(~dead[block.parameter].all(axis=rest)).reshape(-1)


def without_gradient(probe: Probe, seed: int, each: int = 4) -> dict[str, np.ndarray]:
    """{parameter: which entries have no gradient}, for those that have such entries; rows of a table that no input
    has indexed yet count as rows that have none, and are told apart by `probe.met`.
    """
    largest = {n: torch.zeros(s, dtype=torch.float64) for n, s in probe.shapes.items()}
    for k in range(max(10, _draws(probe, 1))):
        probe.fresh(seed + k)
        for g in probe.gradients(seed + 7000 + k, min(each, probe.rank)):
            norm = _norms(g)
            for n, values in g.items():
                size = (values.abs() / norm.reshape(-1, *[1] * (values.ndim - 1))).amax(0)
                torch.maximum(largest[n], size, out=largest[n])
    masks = {n: (m < _NOISE).numpy() for n, m in largest.items()}
    return {n: m for n, m in masks.items() if m.any()}


def _draws(probe: Probe, times: int) -> int:
    """Sets of inputs that index every row of every table so many times; at most 100, what they miss is left out."""
    needed = [-(-times * rows // probe.inputs[place].numel()) for place, rows in probe.vocabulary.items()]
    return min(100, max(needed, default=0))


def _points(probe: Probe, blocks: list[Block], parts: list[set[str]], dead: dict[str, np.ndarray], seed: int) -> int:
    """How many sets of parameters are needed. One gives as many independent rows as signals pass: of the first tensors
    of a window no more than pass the narrowest layer behind them, whatever the window has beyond it.
    """
    theta = probe.fresh(seed + 99)
    buffers = dict(probe.module.named_buffers())
    grams: dict[str, Tensor] = {}
    sizes: dict[str, int] = {}
    rows = [_living(g, dead) for g in probe.gradients(seed + 99, probe.rank)]
    norms = [_norms(g) for g in rows]
    for name in probe.parameters:
        own = [b for b in blocks if b.parameter == name]
        found = torch.cat([columns(own, g, theta, buffers) / n[:, None] for g, n in zip(rows, norms, strict=True)])
        grams[name], sizes[name] = found @ found.T, found.shape[1]
    needed = 1
    for part in parts:
        names = [n for n in probe.parameters if n in part]
        sets = [[n] for n in names] + [names[:k] for k in range(2, len(names) + 1)]
        for chosen in sets:
            values = torch.linalg.eigvalsh(torch.stack([grams[n] for n in chosen]).sum(0))
            if values[-1] > _NOISE:
                rank = int((values > _RANK * values[-1]).sum())
                needed = max(needed, -(-int(1.05 * sum(sizes[n] for n in chosen) + SPARE) // rank))
    return needed


def _rows(
    probe: Probe, blocks: list[Block], dead: dict[str, np.ndarray], count: int, points: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """At least `count` rows, at ten parameters or more, each of a gradient of norm one, the first of each set of
    parameters before the second; how large they could be."""
    thetas = max(12, _draws(probe, 2), -(-count // probe.rank), points)
    each = -(-count // thetas)
    found, most = [], torch.zeros(starts_of(blocks)[-1], dtype=torch.float64)
    for k in range(thetas):
        theta = probe.fresh(seed + 100 + k)
        buffers = dict(probe.module.named_buffers())
        for g in (_living(g, dead) for g in probe.gradients(seed + 9000 + k, each)):
            norms = _norms(g)
            most += largest(blocks, {n: v[0] / norms[0] for n, v in g.items()}, theta, buffers) / thetas
            found.append((columns(blocks, g, theta, buffers) / norms[:, None]).numpy())
    rows = np.concatenate(found)
    within = np.arange(len(rows)) % each
    return rows[np.lexsort((np.random.default_rng(seed).permutation(len(rows)), within))], most.numpy()


def _living(gradients: dict[str, Tensor], dead: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """With what is rounding in entries that have no gradient set to 0."""
    for n, mask in dead.items():
        gradients[n][:, torch.as_tensor(mask)] = 0.0
    return gradients


def _norms(gradients: dict[str, Tensor]) -> Tensor:
    squares = [g.reshape(len(g), -1).square().sum(1) for g in gradients.values()]
    return torch.stack(squares).sum(0).sqrt().clamp_min(1e-300)


def _windows(probe: Probe, blocks: list[Block]) -> list[set[str]]:
    """Names of the tensors that are solved for together: all, or overlapping runs of layers."""
    sizes: dict[str, int] = {}
    for b in blocks:
        sizes[b.parameter] = sizes.get(b.parameter, 0) + len(b)
    if sum(sizes.values()) <= WHOLE:
        return [set(sizes)]
    layers: dict[str, list[str]] = {}
    for name in probe.parameters:
        head = re.match(r"(?:[^.]*\.)*?\d+(?=\.)", name)
        layers.setdefault(head[0] if head else name.rsplit(".", 1)[0], []).append(name)
    groups = list(layers.values())
    costs = [sum(sizes[n] for n in g) for g in groups]
    found: list[set[str]] = []
    start = 0
    while start < len(groups):
        stop, total = start, 0
        while stop < len(groups) and (stop < start + 2 or total + costs[stop] <= WINDOW):
            total += costs[stop]
            stop += 1
        found.append({n for g in groups[start:stop] for n in g})
        if stop == len(groups):
            break
        start += max(1, (stop - start) // 2)
    return found
