"""Sums of squares over slices of tensors on the CPU, all of a step by one compiled pass, in float64."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sde.kernels.slice_sums import COLUMNS, slice_sums

Axes = tuple[int, ...]
WIDTHS = {torch.float32: 4, torch.float64: 8}
"""Bytes of a number."""
COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


class Squares(NamedTuple):
    """|slice|^2 of every slice of a tensor, `size` numbers at `start` of all products."""

    name: str
    axes: Axes
    start: int
    size: int


class _Fold(NamedTuple):
    """Products at `start` are sums over all axes but `axes` of what stands at `place` with `shape`."""

    start: int
    size: int
    place: int
    shape: Axes
    axes: Axes


class _Matrix(NamedTuple):
    """A tensor as a matrix with `rows` rows: where its sums along rows and, unless negative, columns stand."""

    rows: int
    length: int
    along_rows: int
    columns: int
    folds: tuple[_Fold, ...]
    end: int


class SquareSums:
    """The squares of tensors of these shapes that sums along rows or columns of a matrix make; left: the others.

    What is taken stands in one array, which the next call overwrites: first the products, then what they are made of.
    """

    def __init__(self, groups: Sequence[Sequence[Squares]], shapes: Mapping[str, Axes], size: int) -> None:
        self.size, self.left = size, [g for g in groups if _split(shapes[g[0].name], g) is None]
        self._matrices: dict[str, _Matrix] = {}
        self._groups = {g[0].name: (shapes[g[0].name], tuple(g)) for g in groups}
        self._inner: dict[str, _Matrix | None] = {}
        spare = size
        for name, (shape, group) in self._groups.items():
            found = _matrix(shape, group, spare)
            if found is not None:
                self._matrices[name] = found
                spare = max(spare, found.end)
        self._sums = torch.zeros(spare, dtype=torch.float64)
        self._table = np.zeros((len(self._matrices), COLUMNS), dtype=np.int64)
        base = self._sums.data_ptr()
        for t, m in enumerate(self._matrices.values()):
            columns = base + 8 * m.columns if m.columns >= 0 else 0
            self._table[t, 2:6] = m.rows, m.length, base + 8 * m.along_rows, columns
        self.names = tuple(self._matrices)
        self._folded = [m for m in self._matrices.values() if m.folds]
        self._array, self._address = self._sums.numpy(), self._table.ctypes.data
        self._seen: list[tuple[int, torch.dtype, bool]] = []

    def take(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Tensor | None:
        """(products,) of the products of two tensors each, those of `left` still open; None where tensors are not plain
        numbers on the CPU."""
        one = [first[n] for n in self.names]
        two = one if first is second else [second[n] for n in self.names]
        if not self._point(one, two):
            return None
        if one:
            slice_sums()(self._address, len(one))
        self._fold()
        return torch.from_numpy(self._array[: self.size].copy())

    def again(self, tensors: Sequence[Tensor]) -> Callable[[], np.ndarray | None] | None:
        """What takes those of the same tensors (one for each name, in order) once more, whatever numbers they hold by
        then, at the least cost; None from it where they have moved. None where they are not all plain."""
        if self.left or not tensors or not self._point(list(tensors), list(tensors)):
            return None
        table, held, folded = self._table.copy(), [(t, t.data_ptr()) for t in tensors], self._folded
        address, count, call, array = table.ctypes.data, len(tensors), slice_sums(), self._array[: self.size]

        def take(table: np.ndarray = table) -> np.ndarray | None:
            for t, place in held:
                if t.data_ptr() != place:
                    return None
            call(address, count)
            if folded:
                self._fold()
            return array.copy()

        return take

    def add_samples(self, out: Tensor, name: str, each: Tensor, sign: float = 1.0) -> bool:
        """Add those of one tensor's (samples, *shape) with themselves, summed over samples; whether it could be."""
        m, samples = self._matrices.get(name), each.shape[0]
        if not plain(each) and each.ndim > 3:
            each = each.permute(*range(3, each.ndim), 0, 1, 2).reshape(-1, *each.shape[1:3])
            m, samples = self._of_two_axes(name), each.shape[0]
        if m is None or not plain(each):
            return False
        sums = torch.empty(samples * m.rows + m.length, dtype=torch.float64)
        first, wanted = sums.data_ptr(), m.columns >= 0
        rows, columns = sums[: samples * m.rows].reshape(samples, m.rows), sums[samples * m.rows :]
        where = (each.data_ptr(), each.data_ptr(), samples * m.rows, m.length, first, columns.data_ptr() * wanted)
        table = np.array([*where, WIDTHS[each.dtype]], dtype=np.int64)
        slice_sums()(table.ctypes.data, 1)
        found = {m.along_rows: rows.sum(0) if samples > 1 else rows[0], m.columns: columns}
        for place, part in found.items():
            if 0 <= place < self.size:
                out[place : place + len(part)].add_(part, alpha=sign)
        for f in m.folds:
            out[f.start : f.start + f.size].add_(summed(found[f.place].reshape(f.shape), f.axes), alpha=sign)
        return True

    def _of_two_axes(self, name: str) -> _Matrix | None:
        """For a tensor as many that have its first two axes alone; None where slices need the others."""
        if name not in self._inner:
            shape, group = self._groups[name]
            inside = all(a < 2 for q in group for a in q.axes)
            self._inner[name] = _matrix(shape[:2], group, self.size) if inside else None
        return self._inner[name]

    def _fold(self) -> None:
        for m in self._folded:
            for f in m.folds:
                found = self._sums[f.place : f.place + math.prod(f.shape)].reshape(f.shape)
                self._sums[f.start : f.start + f.size] = summed(found, f.axes)

    def _point(self, left: list[Tensor], right: list[Tensor]) -> bool:
        """Have the table point to these tensors; whether it can."""
        seen = [(t.data_ptr(), t.dtype, t.is_contiguous()) for t in left]
        seen += seen if left is right else [(t.data_ptr(), t.dtype, t.is_contiguous()) for t in right]
        if seen != self._seen:
            kinds = [t.dtype for t in left]
            if not (all(map(plain, left)) and all(map(plain, right)) and kinds == [t.dtype for t in right]):
                return False
            places = [place for place, _, _ in seen]
            self._table[:, 0], self._table[:, 1] = places[: len(left)], places[len(left) :]
            self._table[:, 6] = [WIDTHS[kind] for kind in kinds]
            self._seen = seen
        return True


def _matrix(shape: Axes, group: Sequence[Squares], spare: int) -> _Matrix | None:
    """What is no product is put behind `spare`, up to `end`; None where no matrix has all of them."""
    if (lead := _split(shape, group)) is None:
        return None
    halves = shape[:lead], shape[lead:]
    counts, places, folds = [math.prod(h) for h in halves], [-1, -1], []
    for q in group:
        side = 0 if set(q.axes) <= set(range(lead)) else 1
        axes = tuple(a - lead * side for a in q.axes)
        if axes == tuple(range(len(halves[side]))):
            places[side] = q.start
        else:
            folds.append((q, side, axes))
    for side in {0} | {side for _, side, _ in folds}:
        if places[side] < 0:
            places[side], spare = spare, spare + counts[side]
    made = [_Fold(q.start, q.size, places[side], halves[side], axes) for q, side, axes in folds]
    return _Matrix(*counts, *places, tuple(made), spare)


def summed(tensor: Tensor, axes: Axes) -> Tensor:
    """Sums over the slices that hold `axes` fixed, in the order of `slices`."""
    rest = [a for a in range(tensor.ndim) if a not in axes]
    out = tensor.sum(rest) if rest else tensor
    if list(axes) != sorted(axes):
        kept = sorted(axes)
        out = out.permute([kept.index(a) for a in axes])
    return out.reshape(-1)


def plain(tensor: Tensor) -> bool:
    """Whether compiled code can read it."""
    return COMPILED and tensor.is_cpu and tensor.dtype in WIDTHS and tensor.is_contiguous()


def _split(shape: Axes, group: Sequence[Squares]) -> int | None:
    """How many axes make the rows of a matrix whose sums along rows or columns hold every slice's; None: no number."""
    best: tuple[int, int] | None = None
    for lead in range(len(shape) + 1):
        rows, columns = set(range(lead)), set(range(lead, len(shape)))
        if all(set(q.axes) <= rows or set(q.axes) <= columns for q in group):
            kept = math.prod(shape[:lead])
            kept += 0 if all(set(q.axes) <= rows for q in group) else math.prod(shape[lead:])
            best = min(best or (kept, lead), (kept, lead))
    return None if best is None else best[1]
