"""How many of a network's charges are independent: the rank of their fields at a generic point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
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
    itself, the slices independent, is independent of all others; without it others have theirs, and so on. What is left
    falls into blocks again, each of which takes the rank of a matrix, if it is not too large. Entries without gradient
    are charges by themselves: the others' fields count without them.
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
