"""Gradients of one sample after another: for layers that torch.func.vmap does not take, such as recurrent ones; and
whether the first axis is the samples'."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sde.networks.outputs import tensors_in
from sde.networks.untouched import untouched
from symbolic.errors import InputError


def single_gradients(
    model: nn.Module, names: Sequence[str], samples: int, loss_of: Callable[[int], Tensor]
) -> dict[str, Tensor]:
    """{name: (samples, *shape)} of the gradients of loss_of(0), loss_of(1), ..."""
    own = dict(model.named_parameters())
    tensors, found = [own[n] for n in names], []
    frozen = [p for p in tensors if not p.requires_grad]
    try:
        for p in frozen:
            p.requires_grad_(True)
        with torch.enable_grad():
            for k in range(samples):
                each = torch.autograd.grad(loss_of(k), tensors, allow_unused=True)
                found.append([dense(g, p) for g, p in zip(each, tensors, strict=True)])
    finally:
        for p in frozen:
            p.requires_grad_(False)
    return {n: torch.stack(g) for n, g in zip(names, zip(*found, strict=True), strict=True)}


def dense(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    """A gradient as a tensor of entries."""
    if gradient is None:
        return torch.zeros_like(parameter)
    return gradient.to_dense() if gradient.is_sparse else gradient


@torch.no_grad()
def refuse_other_axis(model: nn.Module, inputs: tuple[Tensor, ...], where: str) -> None:
    """Raise InputError where a layer takes sequences first and the last sample by itself has another output than in its
    batch: then the first axis counts time."""
    first = next((n for n, m in model.named_modules() if getattr(m, "batch_first", True) is False), None)
    if first is None:
        return
    with untouched(model):
        model.eval()
        whole, alone = (next(tensors_in(model(*x)), None) for x in (inputs, tuple(t[-1:] for t in inputs)))
    if whole is None or alone is None or whole.ndim == 0 or len(whole) != len(inputs[0]) or len(alone) != 1:
        return
    change, size = float((whole[-1:] - alone).abs().max()), float(whole.abs().max())
    if change > 1e3 * torch.finfo(whole.dtype).eps * size:
        raise InputError(
            f"{where}.batch: its first axis must be the samples'; {first or 'the model'} takes sequences first"
            " (batch_first=False), and the last sample's output depends on the others. Build the layer with"
            " batch_first=True, or wrap the model in one that transposes."
        )
