"""How many of a network's charges are independent: the rank of their fields at a generic point."""

from __future__ import annotations

from collections.abc import Sequence

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


def independent(probe: Probe, families: Sequence[Family], seed: int) -> int | None:
    """The rank, None where it is not decided.

    Where the fields are too many for one matrix: a family that has a tensor, or slices of it, to itself, the slices
    independent, is independent of all others; without it others have theirs, and so on (what is left goes into one
    matrix). Entries without gradient are independent of all.
    """
    theta = probe.fresh(seed)
    dead = sum(len(f) for f in families if f.kind == "no gradient")
    rest = [f for f in families if f.kind != "no gradient"]
    count = _rank(rest, theta)
    if count is not None:
        return dead + count
    groups: dict[object, list[Family]] = {}
    for f in rest:
        groups.setdefault(_signature(f), []).append(f)
    waiting, count = list(groups.values()), 0
    while waiting:
        alone = next((g for g in waiting if _alone(g, [o for o in waiting if o is not g], theta)), None)
        if alone is None:
            left = _rank([f for g in waiting for f in g], theta)
            return None if left is None else dead + count + left
        count += sum(len(f) for f in alone)
        waiting = [g for g in waiting if g is not alone]
    return dead + count


def _signature(family: Family) -> object:
    slots = tuple((s.left, s.left_axes, s.right, s.right_axes, s.weights.tobytes()) for s in family.slots)
    return slots, tuple((s.parameter, s.axes) for s in family.shifts)


def _rank(families: Sequence[Family], theta: dict[str, Tensor]) -> int | None:
    charges = Charges(families)
    if not len(charges):
        return 0
    width = sum(theta[n].numel() for n in charges.parameters)
    if len(charges) > MOST or len(charges) * width > ENTRIES:
        return None
    fields = charges.jacobian(theta)
    fields = fields / fields.norm(dim=1, keepdim=True)
    return int((torch.linalg.eigvalsh(fields @ fields.T) > 1e-10).sum())


def _alone(group: Sequence[Family], others: Sequence[Sequence[Family]], theta: dict[str, Tensor]) -> bool:
    """Whether some slot's slices are this group's only, and independent of one another."""
    for k in range(len(group[0].slots)):
        slots = [f.slots[k] for f in group]
        own = _slices(slots)
        first = slots[0]
        if own is None or any(_meets(first.left, first.left_axes, own, f) for g in others for f in g):
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
        if len(own) == len(index) and not met and not group[0].slots:
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
