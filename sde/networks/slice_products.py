"""The inner products between slices of tensors that a set of charges is made of, taken once for all of them.

Every d1^T A d2 of a charge is a fixed sparse combination of them, and so is every Tr[S A] of the sum over samples of
their products: a hook takes products alone, and charges are combined later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor

from sde.networks.charge import slices
from sde.networks.charges import Charges
from sde.networks.square_sums import Axes, Squares, SquareSums, summed

SHORT = (torch.bfloat16, torch.float16)
MOST_BLOCKS = 64
"""Of the pairs of a slot: of each block a product of matrices is taken."""


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
        self._by_name, self._own_pairs = by_name, dict[str, list[Pairs]]()
        for p in self.pairs:
            if p.names[0] == p.names[1]:
                self._own_pairs.setdefault(p.names[0], []).append(p)
        self.square_sums = SquareSums(list(by_name.values()), shapes, self.size)

    def take(
        self, first: Mapping[str, Tensor], second: Mapping[str, Tensor] | None = None, *, double: bool = False
    ) -> Tensor:
        """(products,): symmetric in the two sets of tensors; of one with itself without a second. double: in float64,
        as they always are for tensors that compiled code can read, but for pairs."""
        second = first if second is None else second
        out, groups = self.square_sums.take(first, second), self.square_sums.left
        if out is None:
            kind = torch.float64 if double else None
            out = next(iter(first.values())).new_empty(self.size, dtype=kind)
            groups = list(self._by_name.values())
        kept: Callable[[Tensor], Tensor] = Tensor.double if double else lambda t: t
        for group in groups:
            product = kept(first[group[0].name]) * kept(second[group[0].name])
            for q in group:
                out[q.start : q.start + q.size] = summed(product, q.axes)
        for p in self.pairs:
            found = pair_products(p, kept(first[p.names[0]]), kept(second[p.names[1]]))
            if second is not first:
                found = (found + pair_products(p, kept(second[p.names[0]]), kept(first[p.names[1]]))) / 2
            out[p.start : p.start + p.size] = found
        return out

    def of_one(self, name: str) -> tuple[list[Squares], list[Pairs]]:
        """What is taken of a tensor with itself."""
        return self._by_name.get(name, []), self._own_pairs.get(name, [])

    def add_own(self, out: Tensor, name: str, each: Tensor, sign: float = 1.0) -> None:
        """Add those of one tensor with itself, summed over the samples (samples, *shape), to `out`."""
        group = self._by_name.get(name, [])
        if group and not self.square_sums.add_samples(out, name, each, sign):
            squares = each.square().sum(0)
            for q in group:
                out[q.start : q.start + q.size] += sign * summed(squares, q.axes).to(out)
        for p in self.pairs:
            if p.names == (name, name):
                out[p.start : p.start + p.size] += sign * of_pairs(p, each, each).to(out)

    def take_sums(self, tensors: Mapping[str, Tensor], *, double: bool = False) -> Tensor:
        """(sums,): sums over slices, for b."""
        parts = [summed(tensors[q.name].double() if double else tensors[q.name], q.axes) for q in self.sums.values()]
        return torch.cat(parts) if parts else next(iter(tensors.values())).new_zeros(0)

    @cached_property
    def totals(self) -> Any:
        """(names, products): what sums up to the square of each tensor; a row of zeros where nothing does."""
        found = _Entries()
        for k, name in enumerate(self.names):
            for q in self._by_name.get(name, [])[:1]:
                found.add(np.full(q.size, k), np.arange(q.start, q.start + q.size), np.ones(q.size))
        return found.matrix(len(self.names), self.size)

    def add_samples(self, out: Tensor, gradients: Mapping[str, Tensor]) -> None:
        """Add those of several tensors, with themselves and each other, summed over samples; gradients: (samples,
        *shape) each."""
        for name, each in gradients.items():
            self.add_own(out, name, each)
        for p in self.pairs:
            if p.names[0] != p.names[1] and set(p.names) <= gradients.keys():
                found = of_pairs(p, gradients[p.names[0]], gradients[p.names[1]])
                out[p.start : p.start + p.size] += found.to(out)

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
        wide = int(slot.columns.max(initial=0)) + 1
        kept, place = np.unique(slot.rows.ravel() * wide + slot.columns.ravel(), return_inverse=True)
        names, axes, start = (slot.left, slot.right), (slot.left_axes, slot.right_axes), self.size
        at = np.empty(len(kept), int)
        for block in _blocks(kept // wide, kept % wide):
            left, rows = np.unique(kept[block] // wide, return_inverse=True)
            right, columns = np.unique(kept[block] % wide, return_inverse=True)
            arrays = map(torch.as_tensor, (left, right, rows, columns))
            at[block] = self.size + np.arange(len(block))
            self.pairs.append(Pairs(names, axes, self.size, *arrays))
            self.size += len(block)
        assert self.size == start + len(kept)
        return at[place].reshape(slot.rows.shape)


def _blocks(left: np.ndarray, right: np.ndarray) -> list[np.ndarray]:
    """Which pairs to take together: those that share slices, such as one head's; all where they are of many small
    parts."""
    if not len(left):
        return []
    shape = int(left.max()) + 1, int(right.max()) + 1
    graph = sparse.csr_array((np.ones(len(left), bool), (left, right + shape[0])), shape=(sum(shape), sum(shape)))
    part = csgraph.connected_components(graph, directed=False)[1][left]
    found = [np.flatnonzero(part == k) for k in np.unique(part)[: MOST_BLOCKS + 1]]
    return found if len(found) <= MOST_BLOCKS else [np.arange(len(left))]


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


def pair_products(pairs: Pairs, left: Tensor, right: Tensor) -> Tensor:
    """The products of one set of pairs."""
    one, two = slices(left, pairs.axes[0]), slices(right, pairs.axes[1])
    gram = one[pairs.left.to(one.device)] @ two[pairs.right.to(two.device)].T
    return gram[pairs.rows.to(gram.device), pairs.columns.to(gram.device)]


def in_double(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Those tensors in float64, without their graphs."""
    return {n: tensors[n].detach().double() for n in names}


def in_single(tensor: Tensor) -> Tensor:
    """No shorter than float32."""
    return tensor.float() if tensor.dtype in SHORT else tensor


def of_pairs(p: Pairs, left: Tensor, right: Tensor) -> Tensor:
    """Their products, summed over samples."""
    one, two = (torch.vmap(lambda g, a=a: slices(g, a))(t) for t, a in zip((left, right), p.axes, strict=True))
    gram = torch.einsum("sra,sca->rc", one[:, p.left.to(one.device)], two[:, p.right.to(two.device)])
    return gram[p.rows.to(gram.device), p.columns.to(gram.device)]
