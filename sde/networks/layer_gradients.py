"""The gradient of every sample on a layer's own parameters, as factors: from what entered the layer and from the
gradient of what left it. Nothing of the size samples x parameters is stored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Outer:
    """G_i = left_i^T right_i, viewed as the parameter's shape: left (samples, T, rows), right (samples, T, columns).

    factors(first, last): those of some samples, made when they are asked for; blocks: groups of a convolution, each
    with an outer product of its own: left, right are (samples, blocks, T, .) then. whole(first, last): the G_i of a
    convolution, where they cost less than the factors; vectors: left and right (samples, .) where there is one place.
    """

    samples: int
    places: int
    rows: int
    columns: int
    blocks: int
    factors: Callable[[int, int], tuple[Tensor, Tensor]]
    whole: Callable[[int, int], Tensor] | None = None
    vectors: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """Sparse in rows: sample `sample[u]` has `values[u]` in row `row[u]`, each pair once."""

    samples: int
    sample: Tensor
    row: Tensor
    values: Tensor


Gradient = Outer | Rows | Tensor
"""A tensor: (samples, *shape)."""

WIDE = 8
"""Channels from which on a product for each place of the kernel costs less than one with patches."""

Reader = Callable[[Any, Tensor, Tensor, int], dict[str, Gradient]]


def reader_of(module: nn.Module) -> Reader | None:
    """What reads the gradients of a module's own parameters; None where only the whole model can tell."""
    for kind, reader in READERS:
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return reader if _plain(module) else None
    return None


def ties_samples(module: nn.Module) -> bool:
    """Whether it lets the samples of a batch act on each other."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None)


def _plain(module: nn.Module) -> bool:
    if isinstance(module, nn.Embedding):
        return module.max_norm is None and not module.scale_grad_by_freq and not module.sparse
    return not ties_samples(module)


def by_sample(tensor: Tensor, samples: int) -> Tensor:
    """(samples, ...) of a tensor whose first axis is the samples', or holds several rows of each in turn. Raises
    ValueError for others."""
    if samples < 1 or tensor.ndim == 0 or tensor.shape[0] % samples:
        raise ValueError(f"first axis of {tuple(tensor.shape)} is not that of {samples} samples")
    return tensor if tensor.shape[0] == samples else tensor.unflatten(0, (samples, -1))


def _matrix(tensor: Tensor, samples: int) -> Tensor:
    """(samples, T, features)."""
    found = by_sample(tensor, samples)
    return found.reshape(samples, -1, found.shape[-1]) if found.ndim > 2 else found[:, None]


def _linear(module: nn.Linear, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    if g.ndim == x.ndim == 2 and len(g) == samples:
        rows, columns = g.shape[1], x.shape[1]
        outer = Outer(samples, 1, rows, columns, 1, lambda i, j: (g[i:j, None, None], x[i:j, None, None]), None, (g, x))
        return {"weight": outer} if module.bias is None else {"weight": outer, "bias": g}
    right, left = _matrix(x, samples), _matrix(g, samples)
    outer = Outer(
        samples, left.shape[1], left.shape[2], right.shape[2], 1, lambda i, j: (left[i:j, None], right[i:j, None])
    )
    return {"weight": outer} if module.bias is None else {"weight": outer, "bias": left.sum(1)}


def _convolution(module: Any, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    _same_batch(x, g, samples)
    n, k = module.groups, module.kernel_size
    padding = module._reversed_padding_repeated_twice
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode

    def factors(i: int, j: int) -> tuple[Tensor, Tensor]:
        padded = F.pad(x[i:j], padding, mode=mode) if any(padding) else x[i:j]
        right = _patches(padded, k, module.stride, module.dilation, n)
        return g[i:j].reshape(j - i, n, g.shape[1] // n, -1).transpose(2, 3), right

    places, columns = math.prod(g.shape[2:]), x.shape[1] // n * math.prod(k)
    whole = None
    if n == 1 and set(module.stride) == {1} and x.shape[1] >= WIDE:
        whole = _by_shifts(module, x, g, list(zip(padding[::2], padding[1::2], strict=True))[::-1], mode)
    outer = Outer(samples, places, g.shape[1] // n, columns, n, factors, whole)
    return {"weight": outer, **({"bias": g.flatten(2).sum(2)} if module.bias is not None else {})}


def _by_shifts(
    module: Any, x: Tensor, g: Tensor, padding: Sequence[tuple[int, int]], mode: str
) -> Callable[[int, int], Tensor]:
    """(first, last) -> their gradients: at each place of the kernel one product of what left with what entered, shifted
    in memory: no patches are written down. padding: of each axis."""
    k, kept, grid = module.kernel_size, g.shape[2:], [s + sum(p) for s, p in zip(x.shape[2:], padding, strict=True)]
    steps = [math.prod(grid[d + 1 :]) for d in range(len(grid))]
    shifts = [
        sum(a * d * s for a, d, s in zip(at, module.dilation, steps, strict=True))
        for at in itertools.product(*map(range, k))
    ]
    length = kept[0] * steps[0]
    room = max(shifts[-1] + length, math.prod(grid))
    flat = [p for pair in reversed(padding) for p in pair]
    missing = [p for whole, part in zip(grid[:0:-1], kept[:0:-1], strict=True) for p in (0, whole - part)]

    def whole(first: int, last: int) -> Tensor:
        entered = x.new_zeros(last - first, room, x.shape[1])
        padded = F.pad(x[first:last], flat, mode=mode) if any(flat) else x[first:last]
        entered[:, : math.prod(grid)] = padded.flatten(2).transpose(1, 2)
        left = F.pad(g[first:last], missing).flatten(2)
        out = g.new_empty(len(shifts), last - first, g.shape[1], x.shape[1])
        for i, shift in enumerate(shifts):
            torch.bmm(left, entered[:, shift : shift + length], out=out[i])
        return out.permute(1, 2, 3, 0).unflatten(3, k)

    return whole


def _transposed(module: Any, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    _same_batch(x, g, samples)
    n, k = module.groups, module.kernel_size
    padding = [p for q in reversed(module.padding) for p in (q, q)]

    def factors(i: int, j: int) -> tuple[Tensor, Tensor]:
        padded = F.pad(g[i:j], padding)
        right = _patches(padded, k, module.stride, module.dilation, n, tuple(x.shape[2:]))
        return x[i:j].reshape(j - i, n, x.shape[1] // n, -1).transpose(2, 3), right

    places = math.prod(x.shape[2:])
    outer = Outer(samples, places, x.shape[1] // n, g.shape[1] // n * math.prod(k), n, factors)
    return {"weight": outer, **({"bias": g.flatten(2).sum(2)} if module.bias is not None else {})}


def _patches(
    x: Tensor, kernel: Any, stride: Any, dilation: Any, groups: int, most: tuple[int, ...] | None = None
) -> Tensor:
    """(samples, groups, places, channels of the group x kernel)."""
    axes = x.ndim - 2
    for d, (k, s, dil) in enumerate(zip(kernel, stride, dilation, strict=True)):
        x = x.unfold(2 + d, dil * (k - 1) + 1, s)[..., ::dil]
        if most is not None:
            x = x.narrow(2 + d, 0, most[d])
    x = x.unflatten(1, (groups, -1))
    where, inside = range(3, 3 + axes), range(3 + axes, 3 + 2 * axes)
    places = math.prod(x.shape[d] for d in where)
    return x.permute(0, 1, 2, *inside, *where).reshape(x.shape[0], groups, -1, places).transpose(2, 3)


def _embedding(module: nn.Embedding, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    tokens = by_sample(x, samples).reshape(samples, -1)
    values = g.reshape(-1, g.shape[-1])
    sample = torch.arange(samples, device=x.device)[:, None].expand_as(tokens).reshape(-1)
    key, place = torch.unique(sample * module.num_embeddings + tokens.reshape(-1), return_inverse=True)
    sums = values.new_zeros(len(key), values.shape[1]).index_add_(0, place, values)
    row = key % module.num_embeddings
    if module.padding_idx is not None:
        sums = sums * (row != module.padding_idx)[:, None]
    return {"weight": Rows(samples, key // module.num_embeddings, row, sums)}


def _last_axes(module: Any, normal: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    shape = tuple(module.normalized_shape)

    def summed(t: Tensor) -> Tensor:
        return by_sample(t, samples).reshape(samples, -1, *shape).sum(1)

    bias = getattr(module, "bias", None)
    return {"weight": summed(normal * g), **({"bias": summed(g)} if bias is not None else {})}


def _layer_norm(module: nn.LayerNorm, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    return _last_axes(module, F.layer_norm(x, module.normalized_shape, eps=module.eps), g, samples)


def _rms_norm(module: nn.RMSNorm, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    return _last_axes(module, F.rms_norm(x, list(module.normalized_shape), eps=module.eps), g, samples)


def _channels(module: Any, normal: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    def summed(t: Tensor) -> Tensor:
        each = t.reshape(t.shape[0], t.shape[1], -1).sum(2)
        found = by_sample(each, samples)
        return found if found.ndim == 2 else found.sum(1)

    return {"weight": summed(normal * g), **({"bias": summed(g)} if module.bias is not None else {})}


def _group_norm(module: nn.GroupNorm, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    return _channels(module, F.group_norm(x, module.num_groups, eps=module.eps), g, samples)


def _batch_norm(module: Any, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    normal = F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps)
    return _channels(module, normal, g, samples)


def _instance_norm(module: Any, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    own = module.training or not module.track_running_stats
    mean, variance = (None, None) if own else (module.running_mean, module.running_var)
    return _channels(module, F.instance_norm(x, mean, variance, use_input_stats=own, eps=module.eps), g, samples)


def _prelu(module: nn.PReLU, x: Tensor, g: Tensor, samples: int) -> dict[str, Gradient]:
    product = by_sample(x.clamp(max=0) * g, samples)
    if module.num_parameters == 1:
        return {"weight": product.reshape(samples, -1).sum(1, keepdim=True)}
    return {"weight": product.reshape(samples, module.num_parameters, -1).sum(2)}


def _same_batch(x: Tensor, g: Tensor, samples: int) -> None:
    if x.shape[0] != samples or g.ndim != x.ndim:
        raise ValueError(f"first axis of {tuple(x.shape)} is not that of {samples} samples")


READERS: tuple[tuple[type[nn.Module], Any], ...] = (
    (nn.Linear, _linear),
    (nn.Conv1d, _convolution),
    (nn.Conv2d, _convolution),
    (nn.Conv3d, _convolution),
    (nn.ConvTranspose1d, _transposed),
    (nn.ConvTranspose2d, _transposed),
    (nn.ConvTranspose3d, _transposed),
    (nn.Embedding, _embedding),
    (nn.LayerNorm, _layer_norm),
    (nn.RMSNorm, _rms_norm),
    (nn.GroupNorm, _group_norm),
    (nn.modules.batchnorm._BatchNorm, _batch_norm),
    (nn.modules.instancenorm._InstanceNorm, _instance_norm),
    (nn.PReLU, _prelu),
)
"""Layers whose gradients are known in closed form."""
