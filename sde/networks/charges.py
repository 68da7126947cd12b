"""Many charges at once: a sequence of `Charge` whose values, forms and fields cost a few tensor operations a tensor."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from sde.networks.charge import Charge, Tensors, add, named, slices, tensor_of
from sde.networks.family import Family


class _Entries(NamedTuple):
    """Sparse rows: `weights[e]` on slice `index[e]` for charge `charge[e]`."""

    charge: Tensor
    index: Tensor
    weights: Tensor


class _Pairs(NamedTuple):
    """Coupled slices of one family's slot: positions in `left` (`right`), the slices that occur."""

    charges: slice
    tensors: tuple[str, str]
    axes: tuple[tuple[int, ...], tuple[int, ...]]
    left: Tensor
    right: Tensor
    rows: Tensor
    columns: Tensor
    weights: Tensor


class Charges(Sequence[Charge]):
    """All charges of `families`, in order; those of a list with `Charges.of`.

    Every slice of a tensor is squared once, whatever the number of charges.
    """

    def __init__(self, families: Iterable[Family]) -> None:
        self.families = tuple(f for f in families if len(f))
        self._starts = [0, *accumulate(len(f) for f in self.families)]
        squares: dict[tuple[str, tuple[int, ...]], list[_Entries]] = {}
        sums: dict[tuple[str, tuple[int, ...]], list[_Entries]] = {}
        self._pairs: list[_Pairs] = []
        for k, f in enumerate(self.families):
            for s in f.slots:
                if s.diagonal:
                    squares.setdefault((s.left, s.left_axes), []).append(
                        self._entries(k, s.rows, np.tile(s.weights, (len(f), 1)))
                    )
                else:
                    left, rows = np.unique(s.rows, return_inverse=True)
                    right, columns = np.unique(s.columns, return_inverse=True)
                    arrays = (left, right, rows.reshape(s.rows.shape), columns.reshape(s.columns.shape), s.weights)
                    axes = (s.left_axes, s.right_axes)
                    self._pairs.append(_Pairs(self.slice_of(k), (s.left, s.right), axes, *map(torch.as_tensor, arrays)))
            for s in f.shifts:
                sums.setdefault((s.parameter, s.axes), []).append(self._entries(k, s.index, s.weights))
        self._squares = {key: _Entries(*map(torch.cat, zip(*squares[key], strict=True))) for key in sorted(squares)}
        self._sums = {key: _Entries(*map(torch.cat, zip(*e, strict=True))) for key, e in sums.items()}

    @classmethod
    def of(cls, charges: Iterable[Charge], parameters: Tensors) -> Charges:
        """Charges one by one, on the given tensors."""
        shapes = {name: tuple(p.shape) for name, p in parameters.items()}
        return cls(Family.of(c, shapes) for c in charges)

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, k: int) -> Charge: ...
    @overload
    def __getitem__(self, k: slice) -> Sequence[Charge]: ...
    def __getitem__(self, k: int | slice) -> Charge | Sequence[Charge]:
        if isinstance(k, slice):
            return tuple(self[i] for i in range(*k.indices(len(self))))
        k = k + len(self) if k < 0 else k
        if not 0 <= k < len(self):
            raise IndexError(k)
        f = bisect_right(self._starts, k) - 1
        return self.families[f].charge(k - self._starts[f])

    def __iter__(self) -> Iterator[Charge]:
        for f in self.families:
            for k in range(len(f)):
                yield f.charge(k)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the tensors that they tie."""
        return tuple(dict.fromkeys(n for f in self.families for n in f.parameters))

    def slice_of(self, family: int) -> slice:
        """Where a family's charges stand."""
        return slice(self._starts[family], self._starts[family + 1])

    @torch.no_grad()
    def value(self, parameters: Tensors) -> Tensor:
        """C = theta^T A theta + 2 b^T theta of every charge, at {name: tensor} or a model's. Raises InputError."""
        parameters = named(parameters)
        return self._form(parameters, parameters) + 2 * self._linear(parameters)

    def jacobian(self, parameters: Tensors) -> Tensor:
        """Their fields, A theta + b on all entries of the tensors they tie, one row a charge: for few of them."""
        theta = {n: parameters[n].detach().clone().requires_grad_() for n in self.parameters}
        value = self._form(theta, theta) + 2 * self._linear(theta)
        each = torch.autograd.grad(value, list(theta.values()), torch.eye(len(self)).to(value), is_grads_batched=True)
        return torch.cat([e.reshape(len(self), -1) for e in each], 1) / 2

    @torch.no_grad()
    def linear(self, parameters: Tensors) -> Tensor:
        """b^T theta of every charge; with another {name: tensor}, b^T of that."""
        return self._linear(parameters)

    def _linear(self, parameters: Tensors) -> Tensor:
        out = self._zeros(parameters)
        for (name, axes), (charge, index, weights) in self._sums.items():
            sums = _sums(tensor_of(parameters, name), axes)
            out.index_add_(0, charge.to(out.device), sums[index.to(out.device)] * weights.to(sums))
        return out

    @torch.no_grad()
    def form(self, first: Tensors, second: Tensors) -> Tensor:
        """d1^T A d2 of every charge."""
        return self._form(first, second)

    def _form(self, first: Tensors, second: Tensors) -> Tensor:
        out = self._zeros(first)
        cache: dict[str, Tensor] = {}
        for (name, axes), (charge, index, weights) in self._squares.items():
            if name not in cache:
                cache = {name: tensor_of(first, name) * tensor_of(second, name)}
            products = _sums(cache[name], axes)
            out.index_add_(0, charge.to(out.device), products[index.to(out.device)] * weights.to(products))
        for p in self._pairs:
            gram = self._gram(p, first, second)
            gram = gram + (gram if first is second else self._gram(p, second, first))
            found = gram[p.rows.to(out.device), p.columns.to(out.device)]
            out[p.charges] += found @ p.weights.to(found)
        return out

    @torch.no_grad()
    def shift_norms(self, parameters: Tensors) -> Tensor:
        """|b|^2 of every charge."""
        out = self._zeros(parameters)
        for (name, axes), (charge, _, weights) in self._sums.items():
            size = math.prod(n for a, n in enumerate(parameters[name].shape) if a not in axes)
            out.index_add_(0, charge, size * weights.to(out).square())
        return out

    @torch.no_grad()
    def touched(self, gradient: Tensors) -> Tensor:
        """The gradient's norm on the entries that each charge moves; those that two parts move count twice."""
        out = self._zeros(gradient)
        cache: dict[str, Tensor] = {}

        def squares(name: str, axes: tuple[int, ...]) -> Tensor:
            nonlocal cache
            if name not in cache:
                cache = {name: tensor_of(gradient, name).square()}
            return _sums(cache[name], axes)

        for entries in (self._squares, self._sums):
            for (name, axes), (charge, index, _) in entries.items():
                out.index_add_(0, charge, squares(name, axes)[index])
        for p in self._pairs:
            for side, kept, own, place in zip(p.tensors, p.axes, (p.left, p.right), (p.rows, p.columns), strict=True):
                out[p.charges] += squares(side, kept)[own][place].sum(1)
        return out.sqrt()

    @torch.no_grad()
    def field(self, parameters: Tensors, coefficients: Tensor) -> dict[str, Tensor]:
        """Sum over charges of c_k (A_k theta + b_k), {name: tensor}; tensors that nothing moves are left out."""
        moved: dict[str, Tensor] = {}

        def onto(name: str) -> Tensor:
            if name not in moved:
                moved[name] = torch.zeros_like(tensor_of(parameters, name), memory_format=torch.contiguous_format)
            return moved[name]

        for entries, square in ((self._squares, True), (self._sums, False)):
            for (name, axes), (charge, index, weights) in entries.items():
                theta, target = tensor_of(parameters, name), onto(name)
                scale = target.new_zeros(slices(theta, axes).shape[0])
                scale.index_add_(0, index.to(scale.device), coefficients[charge.to(scale.device)] * weights.to(scale))
                shape = [n if a in axes else 1 for a, n in enumerate(theta.shape)]
                target += scale.reshape(shape) * theta if square else scale.reshape(shape)
        for p in self._pairs:
            (left, right), (first, second) = p.tensors, p.axes
            matrix = coefficients.new_zeros(len(p.left), len(p.right))
            values = coefficients[p.charges, None] * p.weights.to(matrix)
            matrix.index_put_((p.rows, p.columns), values, accumulate=True)
            one, two = slices(tensor_of(parameters, left), first), slices(tensor_of(parameters, right), second)
            add(onto(left), first, p.left, matrix @ two[p.right])
            add(onto(right), second, p.right, matrix.T @ one[p.left])
        return moved

    def _gram(self, p: _Pairs, left: Tensors, right: Tensors) -> Tensor:
        one = slices(tensor_of(left, p.tensors[0]), p.axes[0])[p.left.to(_device(left))]
        two = slices(tensor_of(right, p.tensors[1]), p.axes[1])[p.right.to(_device(right))]
        return one @ two.T

    def _entries(self, family: int, index: np.ndarray, weights: np.ndarray) -> _Entries:
        n, m = index.shape
        charge = np.repeat(np.arange(n) + self._starts[family], m)
        return _Entries(*map(torch.as_tensor, (charge, index.reshape(-1), weights.reshape(-1))))

    def _zeros(self, parameters: Tensors) -> Tensor:
        like = tensor_of(parameters, self.parameters[0]) if self.families else torch.zeros(0)
        return like.new_zeros(len(self))


def _sums(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Of each slice that holds `axes` fixed."""
    rest = [a for a in range(tensor.ndim) if a not in axes]
    return (tensor.sum(rest) if rest else tensor).reshape(-1)


def _device(parameters: Tensors) -> torch.device:
    return next(iter(parameters.values())).device
