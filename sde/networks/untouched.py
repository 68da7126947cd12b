"""Passes that leave no trace: buffers, modes and random numbers are afterwards what they were before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sde.networks.outputs import tensors_in


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Buffers, training flags and torch's random numbers are set back at the end."""
    buffers = [(m, k, b, b.clone()) for m in model.modules() for k, b in m._buffers.items() if b is not None]
    modes = [(m, m.training) for m in model.modules()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                module._buffers[name] = buffer
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


@torch.no_grad()
def outputs_by_mode(model: nn.Module, inputs: tuple[Any, ...]) -> list[list[Tensor]]:
    """All outputs in the model's own mode, and in that of evaluation where it is training; with the random numbers that
    come next, dropout masks among them."""
    found = []
    for mode in [model.training, *([False] if model.training else [])]:
        with untouched(model):
            if mode != model.training:
                model.eval()
            found.append([o.clone() for o in tensors_in(model(*inputs))])
    return found


def largest_change(before: list[list[Tensor]], after: list[list[Tensor]]) -> float:
    """Of outputs, over the largest of their mode."""
    found = [0.0]
    for one, two in zip(before, after, strict=True):
        size = max((float(a.abs().max()) for a in one if a.numel()), default=0.0)
        change = max((float((b - a).abs().max()) for a, b in zip(one, two, strict=True) if a.numel()), default=0.0)
        found.append(change / size if size else change)
    return max(found)
