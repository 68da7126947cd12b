"""What rounding can do to a charge in a step: docs/theory.md eq. (11.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from sde.networks.forecast import Start
from sde.networks.optimiser_rules import BUFFER
from sde.networks.slice_products import SliceProducts, in_single


class Reading(NamedTuple):
    """The charges (charges,) as measured, as the identity has them, theta^T |A| theta + 2|b|^T |theta|; reach: what the
    longest step could change each by; where the next window starts."""

    value: np.ndarray
    expected: np.ndarray
    size: np.ndarray
    reach: np.ndarray
    start: Start


def step_length(optimizer: Optimizer) -> float:
    """lr (|g| + |v|) over all of an optimiser's tensors, an upper bound of a step's length, from the gradients and the
    momentum that it used."""
    parts: list[Tensor] = []
    for group in optimizer.param_groups:
        for p in group["params"]:
            kept = [p.grad, optimizer.state[p].get(BUFFER) if p in optimizer.state else None]
            norms = [float(group["lr"]) * in_single(t).norm().double() for t in kept if isinstance(t, Tensor)]
            if norms:
                parts.append(torch.stack(norms).sum().cpu())
    return float(torch.stack(parts).norm()) if parts else 0.0


def steepness(products: SliceProducts, theta: np.ndarray, parameters: Mapping[str, Tensor]) -> np.ndarray:
    """2 |A theta| + 2 |b|, by charge: what a step of length 1 can change each by; theta: the parameters' products."""
    entries = [np.full(q.size, parameters[q.name].numel() // max(q.size, 1)) for q in products.sums.values()]
    shift = products.linear.power(2) @ np.concatenate([*entries, np.zeros(0)])
    return 2 * np.sqrt(np.maximum(products.squared @ theta, 0.0)) + 2 * np.sqrt(shift)


def residuals(read: Reading, own: float, made: float) -> dict[str, np.ndarray]:
    """Of the identity, over what it is measured by; and what rounding a step adds to it. own, made: eps of the
    parameters, and of the least precise numbers that gradients were made with."""
    over = read.size + read.reach
    over = np.where(over > 0, over, 1.0)
    blur = max(own, made) * read.reach
    found = {"residual": (read.value - read.expected) / over, "rounding": (own * read.size + blur) / over}
    return {**found, "scale": read.size, "reach": read.reach, "blur": blur}


def touching(products: SliceProducts, names: set[str]) -> np.ndarray:
    """Which charges (charges,) have one of these tensors."""
    at = [i for i, n in enumerate(products.names) if n in names]
    square = abs(products.form) @ np.isin(products.tensors, at).any(0).astype(float)
    return (square + abs(products.linear) @ np.isin(products.sum_tensors, at).astype(float)) > 0
