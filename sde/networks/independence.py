"""How many of a network's charges are independent: the rank of their fields at a generic point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sde.networks.charge import slices
from sde.networks.charges import Charges
from sde.networks.family import Family, Slot
from sde.networks.probe import Probe

MOST = 1500
"""Fields whose rank is computed at once."""
ENTRIES = 2**27
_DEAD = "no gradient"


def independent(probe: Probe, families: Sequence[Family], seed: int) -> int | None:
    """The rank, None where it is not decided.

    Families that share no tensor are independent. In a block of families, one that has a tensor, or slices of it, to
    itself, the slices independent, is independent of all others, and so are several whose charges are different entries
    of one symmetric matrix on such slices; without them others have theirs, and so on. What is left falls into blocks
    again, each of which takes the rank of a matrix, if it is not too large. Entries without gradient are charges by
    themselves: the others' fields count without them.
    """
    theta = probe.fresh(seed)
    dead = {f.shifts[0].parameter: torch.as_tensor(f.shifts[0].index[:, 0]) for f in families if f.kind == _DEAD}
    counts = [_block(b, theta, dead) for b in _connected([f for f in families if f.kind != _DEAD])]
    known = [c for c in counts if c is not None]
    return sum(map(len, dead.values())) + sum(known) if len(known) == len(counts) else None


def _connected(families: Sequence[Family]) -> list[list[Family]]:
    """Blocks of families that share no tensor: the rank is the sum of theirs."""
    blocks: list[tuple[set[str], list[Family]]] = []
    for f in families:
        met = [b for b in blocks if not b[0].isdisjoint(f.parameters)]
        blocks = [b for b in blocks if b[0].isdisjoint(f.parameters)]
        blocks.append((set(f.parameters).union(*(b[0] for b in met)), [*(g for b in met for g in b[1]), f]))
    return [b for _, b in blocks]


def _block(families: Sequence[Family], theta: dict[str, Tensor], dead: Mapping[str, Tensor]) -> int | None:
    groups: dict[object, list[Family]] = {}
    for f in families:
        groups.setdefault(_signature(f), []).append(f)
    waiting, count = list(groups.values()), 0
    while waiting:
        alone = next((g for g in waiting if _alone(g, [o for o in waiting if o is not g], theta, dead)), None)
        if alone is None and (alone := _together([f for g in waiting for f in g], theta, dead)):
            gone = {id(f) for f in alone}
            count += sum(len(f) for f in alone)
            waiting = [kept for g in waiting if (kept := [f for f in g if id(f) not in gone])]
            continue
        if alone is None:
            left = [_rank(b, theta, dead) for b in _connected([f for g in waiting for f in g])]
            return None if None in left else count + sum(c for c in left if c is not None)
        count += sum(len(f) for f in alone)
        waiting = [g for g in waiting if g is not alone]
    return count


def _signature(family: Family) -> object:
    slots = tuple((s.left, s.left_axes, s.right, s.right_axes, s.weights.tobytes()) for s in family.slots)
    return slots, tuple((s.parameter, s.axes) for s in family.shifts)


def _rank(families: Sequence[Family], theta: dict[str, Tensor], dead: Mapping[str, Tensor]) -> int | None:
    charges = Charges(families)
    if not len(charges):
        return 0
    width = sum(theta[n].numel() for n in charges.parameters)
    if len(charges) > MOST or len(charges) * width > ENTRIES:
        return None
    fields = charges.jacobian(theta)
    norms = fields.norm(dim=1, keepdim=True)
    start = 0
    for name in charges.parameters:
        if name in dead:
            fields[:, start + dead[name]] = 0.0
        start += theta[name].numel()
    fields = fields / norms
    return int((torch.linalg.eigvalsh(fields @ fields.T) > 1e-10).sum())


def _alone(
    group: Sequence[Family], others: Sequence[Sequence[Family]], theta: dict[str, Tensor], dead: Mapping[str, Tensor]
) -> bool:
    """Whether some slot's slices are this group's only, and independent of one another."""
    for k in range(len(group[0].slots)):
        slots = [f.slots[k] for f in group]
        own = _slices(slots)
        first = slots[0]
        if (
            own is None
            or first.left in dead
            or any(_meets(first.left, first.left_axes, own, f) for g in others for f in g)
        ):
            continue
        if all(s.diagonal for s in slots):
            if sum(s.rows.size for s in slots) == len(own):
                return True
            continue
        chosen = slices(theta[slots[0].left], slots[0].left_axes)[torch.as_tensor(own)]
        if slots[0].rows.shape[1] == 1 and int(torch.linalg.matrix_rank(chosen)) == len(own):
            return True
    for k, first in enumerate(group[0].shifts):
        index = np.concatenate([f.shifts[k].index.reshape(-1) for f in group])
        own = np.unique(index)
        met = any(_meets(first.parameter, first.axes, own, f) for g in others for f in g)
        if len(own) == len(index) and not met and not group[0].slots and first.parameter not in dead:
            return True
    return False


def _together(families: Sequence[Family], theta: dict[str, Tensor], dead: Mapping[str, Tensor]) -> list[Family] | None:
    """Families that move some slices of a tensor by A alone, each charge by an entry that no other has: A = 0 where no
    slice moves, block by block, if the slices of a block are independent."""
    on: dict[str, list[Family]] = {}
    for f in families:
        for name in f.parameters:
            if name not in dead:
                on.setdefault(name, []).append(f)
    for name, met in on.items():
        waiting = list(met)
        while waiting:
            chosen, entries = [first := waiting.pop(0)], [_entries(first, name)]
            for f in chosen:
                own = _entries(f, name)
                more = [g for g in met if g not in chosen and own and _meets(name, own[0], np.unique(own[1]), g)]
                chosen += more
                entries += [_entries(g, name) for g in more]
            known = [e for e in entries if e is not None]
            waiting = [f for f in waiting if f not in chosen]
            if len(known) == len(entries) and len({axes for axes, _ in known}) == 1:
                axes = known[0][0]
                if _each_has_its_own([e for _, e in known], slices(theta[name], axes)):
                    return chosen
    return None


def _entries(family: Family, name: str) -> tuple[tuple[int, ...], np.ndarray] | None:
    """(axes, (charges, m, 2)): which entries of A on the slices of a tensor each charge is; None where it is more."""
    met = [s for s in family.slots if name in (s.left, s.right)]
    if any(s.parameter == name for s in family.shifts) or len({s.left_axes for s in met}) != 1:
        return None
    if any((s.left, s.left_axes) != (s.right, s.right_axes) for s in met):
        return None
    pairs = [np.sort(np.stack([s.rows, s.columns], 2), 2) for s in met]
    return met[0].left_axes, np.concatenate(pairs, 1)


def _each_has_its_own(entries: Sequence[np.ndarray], rows: Tensor) -> bool:
    """Whether every charge has an entry that no other has, in a block of A whose slices are independent."""
    flat = np.concatenate([e.reshape(-1, 2) for e in entries])
    sizes = np.concatenate([np.full(len(e), e.shape[1]) for e in entries])
    owner = np.repeat(np.arange(len(sizes)), sizes)
    links = sparse.coo_array((np.ones(len(flat)), (flat[:, 0], flat[:, 1])), shape=(len(rows), len(rows)))
    block = connected_components(links, directed=False)[1]
    free = np.zeros(len(rows), bool)
    for b in np.unique(block[flat[:, 0]]):
        held = np.flatnonzero(block == b)
        free[held] = int(torch.linalg.matrix_rank(rows[torch.as_tensor(held)])) == len(held)
    place, count = np.unique(flat, axis=0, return_inverse=True, return_counts=True)[1:]
    alone = (count[place.reshape(-1)] == 1) & free[flat[:, 0]]
    return bool(np.isin(np.arange(len(sizes)), owner[alone]).all())


def _slices(slots: Sequence[Slot]) -> np.ndarray | None:
    if any((s.left, s.left_axes) != (s.right, s.right_axes) for s in slots):
        return None
    return np.unique(np.concatenate([np.concatenate([s.rows.reshape(-1), s.columns.reshape(-1)]) for s in slots]))


def _meets(parameter: str, held: tuple[int, ...], own: np.ndarray, other: Family) -> bool:
    for s in other.slots:
        for name, axes, index in ((s.left, s.left_axes, s.rows), (s.right, s.right_axes, s.columns)):
            if name == parameter and (axes != held or np.intersect1d(index, own).size):
                return True
    return any(s.parameter == parameter and (s.axes != held or np.intersect1d(s.index, own).size) for s in other.shifts)
