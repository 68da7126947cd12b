"""Products of the slices of per-sample gradients, summed over samples, from a layer's factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from sde.networks.compiled_sums import OuterTable
from sde.networks.layer_gradients import Gradient, Outer, Rows
from sde.networks.slice_products import SHORT, Axes, Pairs, SliceProducts, Squares, pair_products, summed

ROUNDED = 0.25
"""Of a gradient's size, beyond which a part of it is missing, not rounded to 16 bits."""
BUDGET = 2**18
"""Numbers that a chunk of per-sample gradients may hold: a core's cache holds them too."""


class Direction(NamedTuple):
    """A random direction left right^T in a tensor, viewed as a matrix: what lies along it shows whether gradients of
    samples make up the whole."""

    left: Tensor
    right: Tensor

    @classmethod
    def of(cls, total: Tensor) -> Direction:
        """The same for all tensors of a shape."""
        return _direction(total.shape, torch.float32 if total.dtype in SHORT else total.dtype, total.device)

    def of_whole(self, total: Tensor) -> Tensor:
        """left^T G right."""
        return self.left @ (total.reshape(len(self.left), -1) @ self.right)

    def agree(self, found: float, wanted: float, square: float, *, short: bool = False) -> bool:
        """Whether two are the same to rounding, for a gradient G with |G|^2 = square; short: each of its entries was
        rounded to 16 bits."""
        rounding = 1e3 * torch.finfo(self.left.dtype).eps * (len(self.left) * len(self.right)) ** 0.5
        return abs(found - wanted) <= square**0.5 * (max(rounding, ROUNDED) if short else rounding)


@cache
def _direction(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Direction:
    rows, columns = shape[0] if shape else 1, math.prod(shape[1:])
    return Direction(*(signs(n, dtype, device) for n in (rows, columns)))


@cache
def signs(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n,) random signs, always the same."""
    found = torch.randint(0, 2, (n,), generator=torch.Generator().manual_seed(n)) * 2 - 1
    return found.to(device=device, dtype=dtype)


def add_products(
    out: Tensor,
    products: SliceProducts,
    name: str,
    shape: Axes,
    uses: Sequence[Gradient],
    along: Direction,
    seen: Tensor,
    *,
    sign: float = 1.0,
    table: OuterTable | None = None,
) -> None:
    """Add those of one tensor to `out` (products,), float64: of all its uses in one pass together, sample by sample;
    to `seen`, float64, their sum over samples in a direction. sign: -1 takes them away. table: where some may wait."""
    squares, pairs = products.of_one(name)
    if not uses or not (squares or pairs):
        if uses:
            seen += projected(uses, along.left, along.right)
        return
    if len(uses) == 1 and isinstance(uses[0], Rows) and all(p.axes == ((1,), (1,)) for p in pairs):
        _add_sparse(out, squares, pairs, uses[0], shape, sign)
        seen += projected(uses, along.left, along.right)
        return
    narrow = _narrow(uses, squares, pairs, shape)
    if not pairs and len(uses) == 1 and (factors := _one_place(uses[0], shape, narrow)) is not None:
        wait = table if table is not None and sign == 1.0 else OuterTable()
        if not wait.add(out, squares, *factors, along, seen):
            _add_one_place(out, squares, factors, along, seen, sign)
        elif wait is not table:
            wait.run(sign)
    elif narrow:
        _add_grams(out, squares, pairs, uses, sign)
        seen += projected(uses, along.left, along.right)
    else:
        samples, chunk = sample_count(uses), chunk_of(shape, uses)
        for first in range(0, samples, chunk):
            dense = dense_gradients(uses, shape, first, min(first + chunk, samples))
            seen += along.of_whole(dense.sum(0))
            products.add_own(out, name, dense, sign)


def _one_place(use: Gradient, shape: Axes, narrow: bool) -> tuple[Tensor, Tensor] | None:
    """left (samples, rows), right (samples, columns) of gradients that are outer products of two vectors; those of a
    vector are products with 1."""
    if isinstance(use, Tensor):
        return (use, _ones(use.shape[0], use.dtype, use.device)) if len(shape) == 1 else None
    return use.vectors if narrow and isinstance(use, Outer) else None


@lru_cache(maxsize=16)
def _ones(samples: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones(samples, 1, dtype=dtype, device=device)


def sample_count(uses: Sequence[Gradient]) -> int:
    """Samples behind a tensor's gradients. Raises ValueError where its uses differ."""
    found = {u.shape[0] if isinstance(u, Tensor) else u.samples for u in uses}
    if len(found) > 1:
        raise ValueError(f"a tensor that is used for batches of {sorted(found)} samples in one pass")
    return found.pop()


def chunk_of(shape: Axes, uses: Sequence[Gradient]) -> int:
    """Samples whose gradients, and what these are made from, fit in the budget."""
    size = torch.Size(shape).numel()
    for u in uses:
        if isinstance(u, Outer):
            size += u.places * u.blocks * u.columns if u.whole is None else 2 * u.places * u.rows
    return max(1, BUDGET // size)


def dense_gradients(uses: Sequence[Gradient], shape: Axes, first: int, last: int) -> Tensor:
    """(samples, *shape): the gradients of some samples, whole."""
    total: Tensor | None = None
    for u in uses:
        if isinstance(u, Outer) and u.whole is not None:
            g = u.whole(first, last)
        elif isinstance(u, Outer):
            left, right = u.factors(first, last)
            g = (left.transpose(-1, -2) @ right).reshape(last - first, *shape)
        elif isinstance(u, Rows):
            kept = (u.sample >= first) & (u.sample < last)
            g = u.values.new_zeros(last - first, *shape)
            g[u.sample[kept] - first, u.row[kept]] = u.values[kept]
        else:
            g = u[first:last].reshape(last - first, *shape)
        total = g if total is None else total + g
    assert total is not None
    return total


def projected(uses: Sequence[Gradient], left: Tensor, right: Tensor) -> Tensor:
    """left^T G right of the sum over samples G, viewed as (len(left), len(right)), at little cost."""
    total = left.new_zeros(())
    for u in uses:
        if isinstance(u, Outer):
            chunk = max(1, BUDGET // max(u.places * u.blocks * u.columns, 1))
            rows = left.reshape(u.blocks, u.rows, 1)
            for first in range(0, u.samples, chunk):
                b, a = u.factors(first, min(first + chunk, u.samples))
                total = total + ((b @ rows) * (a @ right.reshape(-1, 1))).sum()
        elif isinstance(u, Rows):
            total = total + (left[u.row] * (u.values @ right)).sum()
        else:
            total = total + (u.sum(0).reshape(len(left), len(right)) @ right) @ left
    return total


def _narrow(uses: Sequence[Gradient], squares: Sequence[Squares], pairs: Sequence[Pairs], shape: Axes) -> bool:
    """Whether products of places with places cost less than the gradients themselves."""
    outer = [u for u in uses if isinstance(u, Outer) and u.blocks == 1]
    if len(outer) < len(uses):
        return False
    axes = {q.axes for q in squares} | {a for p in pairs for a in p.axes}
    if any(p.axes[0] != p.axes[1] for p in pairs) or not axes <= ({(), (0,), (1,)} if len(shape) == 2 else {(), (0,)}):
        return False
    places, rows, columns = sum(u.places for u in outer), outer[0].rows, outer[0].columns
    return places == 1 or places * (rows + columns) <= rows * columns


def _add_one_place(
    out: Tensor,
    squares: Sequence[Squares],
    factors: tuple[Tensor, Tensor],
    along: Direction,
    seen: Tensor,
    sign: float,
) -> None:
    """As `add_products` for G_i = left_i^T right_i with one place: |G_i[r, :]|^2 = left_ir^2 |right_i|^2."""
    left, right = factors
    whole = (torch.linalg.vecdot(left, left), torch.linalg.vecdot(right, right))
    for q in squares:
        if not q.axes:
            out[q.start] += sign * (whole[0] @ whole[1]).to(out)
        else:
            own = left if q.axes == (0,) else right
            out[q.start : q.start + q.size].add_(torch.mv(own.square().T, whole[1 - q.axes[0]]).to(out), alpha=sign)
    seen += (left @ along.left) @ (right @ along.right)


def _add_grams(
    out: Tensor, squares: Sequence[Squares], pairs: Sequence[Pairs], uses: Sequence[Gradient], sign: float
) -> None:
    outer = [u for u in uses if isinstance(u, Outer)]
    places = sum(u.places for u in outer)
    samples = sample_count(uses)
    chunk = max(1, 16 * BUDGET // (places * (places + outer[0].rows + outer[0].columns)))
    for first in range(0, samples, chunk):
        factors = [u.factors(first, min(first + chunk, samples)) for u in outer]
        left, right = (
            (factors[0][side] if len(factors) == 1 else torch.cat([f[side] for f in factors], 2))[:, 0]
            for side in (0, 1)
        )
        sides = {0: (left, right), 1: (right, left)}
        weighed: dict[int, Tensor] = {}

        def through(side: int) -> Tensor:
            """K B: this side's factor times the other's products of places with places."""
            if side not in weighed:  # noqa: B023
                own, other = sides[side]  # noqa: B023
                if places == 1:
                    weighed[side] = other.square().sum(-1, keepdim=True) * own  # noqa: B023
                else:
                    weighed[side] = (other @ other.transpose(1, 2)) @ own  # noqa: B023
            return weighed[side]  # noqa: B023

        for q in squares:
            side = next(iter(q.axes), 0)
            each = (sides[side][0] * through(side)).sum((0, 1))
            out[q.start : q.start + q.size] += sign * (each if q.axes else each.sum().reshape(1)).to(out)
        for p in pairs:
            side = p.axes[0][0]
            own, other = sides[side][0].flatten(0, 1), through(side).flatten(0, 1)
            gram = own[:, p.left.to(own.device)].T @ other[:, p.right.to(own.device)]
            out[p.start : p.start + p.size] += sign * gram[p.rows.to(own.device), p.columns.to(own.device)].to(out)


def _add_sparse(
    out: Tensor, squares: Sequence[Squares], pairs: Sequence[Pairs], rows: Rows, shape: Axes, sign: float
) -> None:
    each = rows.values.square()
    for q in squares:
        if q.axes == (0,):
            found = each.new_zeros(shape[0]).index_add_(0, rows.row, each.sum(1))
        elif q.axes == (0, 1):
            found = each.new_zeros(shape).index_add_(0, rows.row, each).reshape(-1)
        else:
            found = summed(each, q.axes)
        out[q.start : q.start + q.size] += sign * found.to(out)
    for p in pairs:
        out[p.start : p.start + p.size] += sign * pair_products(p, rows.values, rows.values).to(out)
