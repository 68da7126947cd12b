"""Finite moves along a symmetry: theta to e^{lA} theta."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sde.networks.charge import add, slices
from sde.networks.family import Family


def scales(family: Family) -> bool:
    """Whether its charges scale slices, and do nothing else."""
    return not family.shifts and all(s.diagonal for s in family.slots)


def carry(parameters: Mapping[str, Tensor], family: Family, there: np.ndarray) -> None:
    """theta to e^{lA} theta in place, of all charges of a family that scales; there: l of each."""
    for s in family.slots:
        p = parameters[s.left]
        power = torch.zeros(slices(p, s.left_axes).shape[0], dtype=torch.float64)
        values = torch.as_tensor(np.multiply.outer(there, s.weights).reshape(-1))
        power.index_add_(0, torch.as_tensor(s.rows.reshape(-1)), values)
        factor = torch.expm1(power).to(p)[:, None]
        add(p.data, s.left_axes, torch.arange(len(power)), factor * slices(p.data, s.left_axes))
