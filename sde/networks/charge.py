"""A charge of a network: C = theta^T A theta + 2 b^T theta on named tensors, A symmetric and sparse by slices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from symbolic.errors import InputError, instance

Tensors = Mapping[str, Tensor]
FROZEN, CONVERGENT, DIVERGENT = "frozen", "convergent", "divergent"


def named(parameters: Any) -> Tensors:
    """{name: tensor}, of a model too. Raises InputError."""
    found = dict(parameters.named_parameters()) if isinstance(parameters, nn.Module) else parameters
    advice = "Give dict(model.named_parameters()), or the model."
    return instance("value.parameters", found, Mapping, "must be a mapping {name: tensor}", advice)


@dataclass(frozen=True)
class Term:
    """Blocks of A: slice `rows[k]` of `left` is coupled with slice `columns[k]` of `right` by `weights[k]`.

    A slice is what is left of a tensor where the axes `left_axes` (`right_axes`) are held fixed; its number counts
    these axes row by row; no axes: the whole tensor is slice 0. A row that is its own column is a block w I on the
    diagonal of A; any other is two blocks, w I and its transpose.
    """

    left: str
    right: str
    left_axes: tuple[int, ...]
    right_axes: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def parameter(self) -> str:
        """The tensor that the rows are slices of."""
        return self.left

    def blocks(self) -> list[tuple[int, int, float, bool]]:
        """(row, column, weight, whether the block lies on the diagonal of A)."""
        own = (self.left, self.left_axes) == (self.right, self.right_axes)
        return [(i, j, w, own and i == j) for i, j, w in zip(self.rows, self.columns, self.weights, strict=True)]


@dataclass(frozen=True)
class Shift:
    """Entries of b: `weights[k]` on all of slice `index[k]` of `parameter`, slices as in `Term`."""

    parameter: str
    axes: tuple[int, ...]
    index: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Charge:
    """One charge, its generator A theta + b, and what noise does to it.

    Attributes
    ----------
    name : str
        In the model's own words, such as ``fc1.weight[3,:]^2 + fc1.bias[3]^2 - fc2.weight[:,3]^2``.
    terms : tuple of Term
        A.
    shift : tuple of Shift
        b; empty unless the symmetry translates.
    kind : str
        "rescaling", "scale", "GL pair", "translation", "affine" or "no gradient".
    noise : str
        "convergent" (noise on both signs of A: it stops), "divergent" (on one), "frozen" (on none).
    status : str
        "exact", or "broken": not a law of this model, with the `size` of what breaks it.
    size : float
        Largest |<g, A theta + b>| / (|g| |A theta + b|) seen; of broken ones at the model's own parameters.
    """

    name: str
    terms: tuple[Term, ...]
    shift: tuple[Shift, ...]
    kind: str
    noise: str
    status: str
    size: float

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the tensors that it ties, in order of appearance."""
        names = [n for t in self.terms for n in (t.left, t.right)] + [s.parameter for s in self.shift]
        return tuple(dict.fromkeys(names))

    @torch.no_grad()
    def value(self, parameters: Tensors) -> Tensor:
        """C at {name: tensor}, or at a model's parameters. Raises InputError."""
        parameters = named(parameters)
        return self.form(parameters, parameters) + 2 * self.linear(parameters)

    @torch.no_grad()
    def linear(self, parameters: Tensors) -> Tensor:
        """b^T theta, or b^T of another {name: tensor}."""
        total = torch.zeros(())
        for s in self.shift:
            sums = slices(tensor_of(parameters, s.parameter), s.axes).sum(1)
            total = total + sum(w * sums[i] for i, w in zip(s.index, s.weights, strict=True))
        return total

    @torch.no_grad()
    def form(self, first: Tensors, second: Tensors) -> Tensor:
        """d1^T A d2."""
        total = torch.zeros(())
        for t in self.terms:
            left, right = (slices(tensor_of(d, t.left), t.left_axes) for d in (first, second))
            left_, right_ = (slices(tensor_of(d, t.right), t.right_axes) for d in (first, second))
            for i, j, w, diagonal in t.blocks():
                total = total + w * (left[i] @ right_[j] + (0.0 if diagonal else left_[j] @ right[i]))
        return total

    @torch.no_grad()
    def field(self, parameters: Tensors) -> dict[str, Tensor]:
        """A theta + b on the tensors that it ties: the direction that the loss does not see."""
        moved = {n: torch.zeros(parameters[n].shape).to(tensor_of(parameters, n)) for n in self.parameters}
        for t in self.terms:
            left, right = slices(tensor_of(parameters, t.left), t.left_axes), tensor_of(parameters, t.right)
            right = slices(right, t.right_axes)
            for i, j, w, diagonal in t.blocks():
                add(moved[t.left], t.left_axes, torch.tensor([i]), w * right[j : j + 1])
                if not diagonal:
                    add(moved[t.right], t.right_axes, torch.tensor([j]), w * left[i : i + 1])
        for s in self.shift:
            entries = moved[s.parameter]
            weights = torch.tensor(s.weights).to(entries)[:, None]
            add(entries, s.axes, torch.tensor(s.index), weights.expand(-1, slices(entries, s.axes).shape[1]))
        return moved

    def record(self) -> dict[str, object]:
        """The charge as JSON's types."""
        return {
            "name": self.name,
            "kind": self.kind,
            "noise": self.noise,
            "status": self.status,
            "size": self.size if math.isfinite(self.size) else None,
            "A": [
                {
                    "tensors": [t.left, t.right],
                    "axes": [list(t.left_axes), list(t.right_axes)],
                    "entries": [list(e) for e in zip(t.rows, t.columns, t.weights, strict=True)],
                }
                for t in self.terms
            ],
            "b": [
                {
                    "tensor": s.parameter,
                    "axes": list(s.axes),
                    "entries": [list(e) for e in zip(s.index, s.weights, strict=True)],
                }
                for s in self.shift
            ],
        }


def slices(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """(number of slices, entries of each): the slices that hold `axes` fixed."""
    rest = [a for a in range(tensor.ndim) if a not in axes]
    return tensor.permute((*axes, *rest)).reshape(math.prod(tensor.shape[a] for a in axes), -1)


def add(target: Tensor, axes: tuple[int, ...], index: Tensor, values: Tensor) -> None:
    """Add to the slices `index` of a tensor, in place."""
    rest = [a for a in range(target.ndim) if a not in axes]
    moved = target.permute((*axes, *rest))
    full = torch.zeros_like(slices(target, axes))
    full.index_add_(0, index.to(full.device), values)
    moved += full.reshape(moved.shape)


def tensor_of(tensors: Tensors, name: str) -> Tensor:
    """A tensor by its name. Raises InputError where there is none."""
    if name not in tensors:
        advice = "Give dict(model.named_parameters())."
        raise InputError.of("parameters", f"must hold the tensor {name!r}", sorted(tensors)[:8], advice)
    return tensors[name]
