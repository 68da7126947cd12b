"""The inner products between slices of tensors that a set of charges is made of, taken once for all of them.

Every d1^T A d2 of a charge is a fixed sparse combination of them, and so is every Tr[S A] of the sum over samples of
their products: a hook takes products alone, and charges are combined later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sde.networks.charge import slices
from sde.networks.charges import Charges

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Squares:
    """|slice|^2 of every slice of a tensor."""

    name: str
    axes: Axes
    start: int
    size: int


@dataclass(frozen=True, eq=False)
class Pairs:
    """<slice, slice> for the pairs (rows[k], columns[k]) into the slices `left`, `right` that occur."""

    names: tuple[str, str]
    axes: tuple[Axes, Axes]
    start: int
    left: Tensor
    right: Tensor
    rows: Tensor
    columns: Tensor

    @property
    def size(self) -> int:
        """How many pairs."""
        return len(self.rows)


class SliceProducts:
    """What products `charges` need of tensors of these shapes, and how charges are combined from them.

    form, absolute, squared (charges, products): of A, |A| and A^2; the latter two are upper bounds where blocks of one
    charge overlap. linear (charges, sums): of b. tensors: of each product, the one or two tensors; -1: none.
    """

    def __init__(self, charges: Charges, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.names = charges.parameters
        self.count, self._shapes = len(charges), shapes
        self.squares: dict[tuple[str, Axes], Squares] = {}
        self.pairs: list[Pairs] = []
        self.pair_places: dict[tuple[int, int], np.ndarray] = {}
        self.sums: dict[tuple[str, Axes], Squares] = {}
        self.size = self.sums_size = 0
        form, absolute, squared, linear = _Entries(), _Entries(), _Entries(), _Entries()
        for k, f in enumerate(charges.families):
            first = charges.slice_of(k).start
            for j, s in enumerate(f.slots):
                number = np.broadcast_to(np.arange(len(f))[:, None] + first, s.rows.shape)
                weights = np.broadcast_to(s.weights, s.rows.shape)
                if s.diagonal:
                    index = s.rows + self._square(s.left, s.left_axes).start
                    form.add(number, index, weights)
                    ends = [index]
                else:
                    self.pair_places[k, j] = self._pair(s)
                    form.add(number, self.pair_places[k, j], 2 * weights)
                    ends = [
                        s.rows + self._square(s.left, s.left_axes).start,
                        s.columns + self._square(s.right, s.right_axes).start,
                    ]
                for index in ends:
                    absolute.add(number, index, np.abs(weights))
                    squared.add(number, index, weights**2)
            for s in f.shifts:
                number = np.broadcast_to(np.arange(len(f))[:, None] + first, s.index.shape)
                index = s.index + self._sum(s.parameter, s.axes).start
                linear.add(number, index, np.broadcast_to(s.weights, s.index.shape))
        self.form, self.absolute, self.squared = (e.matrix(self.count, self.size) for e in (form, absolute, squared))
        self.linear = linear.matrix(self.count, self.sums_size)
        self.tensors = np.full((2, self.size), -1)
        self.sum_tensors = np.full(self.sums_size, -1)
        place = {n: i for i, n in enumerate(self.names)}
        for q in self.squares.values():
            self.tensors[:, q.start : q.start + q.size] = place[q.name]
        for p in self.pairs:
            self.tensors[:, p.start : p.start + p.size] = [[place[n]] for n in p.names]
        for q in self.sums.values():
            self.sum_tensors[q.start : q.start + q.size] = place[q.name]
        by_name: dict[str, list[Squares]] = {}
        for q in self.squares.values():
            by_name.setdefault(q.name, []).append(q)
        self._by_name = [(n, tuple(group)) for n, group in by_name.items()]
        starts = [q.start for _, group in self._by_name for q in group] + [p.start for p in self.pairs]
        self._order = [int(i) for i in np.argsort(starts)]

    def take(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor] | None = None) -> Tensor:
        """(products,): symmetric in the two sets of tensors; of one with itself without a second."""
        parts: list[Tensor] = []
        for name, group in self._by_name:
            if second is None:
                parts += own_squares(first[name], group)
            else:
                product = first[name] * second[name]
                parts += [summed(product, q.axes) for q in group]
        for p in self.pairs:
            found = pair_products(p, first[p.names[0]], (second or first)[p.names[1]])
            if second is not None:
                found = (found + pair_products(p, second[p.names[0]], first[p.names[1]])) / 2
            parts.append(found)
        return torch.cat([parts[i] for i in self._order]) if parts else next(iter(first.values())).new_zeros(0)

    def take_own(self, out: Tensor, name: str, tensor: Tensor) -> None:
        """Put those of one tensor with itself into `out`."""
        for n, group in self._by_name:
            if n == name:
                for q, found in zip(group, own_squares(tensor, group), strict=True):
                    out[q.start : q.start + q.size] = found.to(out)
        for p in self.pairs:
            if p.names == (name, name):
                out[p.start : p.start + p.size] = pair_products(p, tensor, tensor).to(out)

    def take_sums(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """(sums,): sums over slices, for b."""
        parts = [summed(tensors[q.name], q.axes) for q in self.sums.values()]
        return torch.cat(parts) if parts else next(iter(tensors.values())).new_zeros(0)

    def of_samples(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """(products,): summed over samples; gradients: (samples, *shape) each. Tensors that are left out give 0."""
        out = next(iter(gradients.values())).new_zeros(self.size)
        for q in self.squares.values():
            if q.name in gradients:
                squares = gradients[q.name].square().sum(0)
                out[q.start : q.start + q.size] = summed(squares, q.axes)
        for p in self.pairs:
            if set(p.names) <= gradients.keys():
                one, two = (_of_each(gradients[n], a) for n, a in zip(p.names, p.axes, strict=True))
                gram = torch.einsum("sra,sca->rc", one[:, p.left.to(one.device)], two[:, p.right.to(two.device)])
                out[p.start : p.start + p.size] = gram[p.rows.to(out.device), p.columns.to(out.device)]
        return out

    def crossing(self) -> set[str]:
        """Tensors whose slices are multiplied with another tensor's."""
        return {n for p in self.pairs if p.names[0] != p.names[1] for n in p.names}

    def _square(self, name: str, axes: Axes) -> Squares:
        if (name, axes) not in self.squares:
            size = math.prod(self._shapes[name][a] for a in axes)
            self.squares[name, axes] = Squares(name, axes, self.size, size)
            self.size += size
        return self.squares[name, axes]

    def _sum(self, name: str, axes: Axes) -> Squares:
        if (name, axes) not in self.sums:
            size = math.prod(self._shapes[name][a] for a in axes)
            self.sums[name, axes] = Squares(name, axes, self.sums_size, size)
            self.sums_size += size
        return self.sums[name, axes]

    def _pair(self, slot: Any) -> np.ndarray:
        """Products of a slot's pairs, of its rows' shape."""
        both = np.stack([slot.rows.ravel(), slot.columns.ravel()])
        kept, place = np.unique(both, axis=1, return_inverse=True)
        left, rows = np.unique(kept[0], return_inverse=True)
        right, columns = np.unique(kept[1], return_inverse=True)
        arrays = map(torch.as_tensor, (left, right, rows, columns))
        names, axes = (slot.left, slot.right), (slot.left_axes, slot.right_axes)
        found = Pairs(names, axes, self.size, *arrays)
        self.pairs.append(found)
        self.size += found.size
        return place.reshape(slot.rows.shape) + found.start


class _Entries:
    """A sparse matrix, block by block."""

    def __init__(self) -> None:
        self._blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        self._blocks.append((rows.ravel(), columns.ravel(), values.ravel()))

    def matrix(self, rows: int, columns: int) -> Any:
        empty = (np.zeros(0, int), np.zeros(0, int), np.zeros(0))
        i, j, w = (np.concatenate(x) for x in zip(empty, *self._blocks, strict=True))
        return sparse.csr_array((w.astype(float), (i, j)), shape=(rows, columns))


def own_squares(tensor: Tensor, group: Sequence[Squares]) -> list[Tensor]:
    """|slice|^2, for each of several ways to slice one tensor."""
    if len(group) == 1 and tensor.ndim > 1 and group[0].axes in ((), (0,)) and tensor.is_contiguous():
        rows = tensor.reshape(tensor.shape[0] if group[0].axes else 1, -1)
        return [torch.linalg.vector_norm(rows, dim=1).square_()]
    squares = tensor * tensor
    return [summed(squares, q.axes) for q in group]


def summed(tensor: Tensor, axes: Axes) -> Tensor:
    """Sums over the slices that hold `axes` fixed, in the order of `slices`."""
    rest = [a for a in range(tensor.ndim) if a not in axes]
    out = tensor.sum(rest) if rest else tensor
    if list(axes) != sorted(axes):
        kept = sorted(axes)
        out = out.permute([kept.index(a) for a in axes])
    return out.reshape(-1)


def pair_products(pairs: Pairs, left: Tensor, right: Tensor) -> Tensor:
    """The products of one set of pairs."""
    one, two = slices(left, pairs.axes[0]), slices(right, pairs.axes[1])
    gram = one[pairs.left.to(one.device)] @ two[pairs.right.to(two.device)].T
    return gram[pairs.rows.to(gram.device), pairs.columns.to(gram.device)]


def in_double(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Those tensors in float64, without their graphs."""
    return {n: tensors[n].detach().double() for n in names}


def in_single(tensor: Tensor) -> Tensor:
    """Detached, and no shorter than float32."""
    found = tensor.detach()
    return found.float() if found.dtype in (torch.bfloat16, torch.float16) else found


def _of_each(batch: Tensor, axes: Axes) -> Tensor:
    """(samples, slices, entries)."""
    each: Callable[[Tensor], Tensor] = lambda g: slices(g, axes)  # noqa: E731
    return torch.vmap(each)(batch)
