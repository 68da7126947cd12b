"""The exact change of charges over steps of SGD, from the products of gradients and momentum alone: docs/theory.md
eqs. (11.1) to (11.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sde.networks.optimiser_rules import Rule
from sde.networks.slice_products import SliceProducts


@dataclass
class Taken:
    """What one step left behind, in float64 (products,) or (sums,).

    rules: of the blocks; vv, gg, gv: products of momentum (of the gradient, where there is none) and gradients; xg:
    products of parameters and gradients before the step, xg_sums: sums of gradients; None where nothing needs them.
    """

    rules: tuple[Rule, ...]
    vv: np.ndarray
    gg: np.ndarray | None = None
    gv: np.ndarray | None = None
    xg: np.ndarray | None = None
    xg_sums: np.ndarray | None = None


class Identity:
    """Charges whose tensors lie in `blocks` (of each tensor of `products.names`, the number of its rule).

    A part is what a charge has in one block. Of a charge in one block the symmetry removes what is linear in the
    gradient; of one in several it removes only the sum over blocks, and each block's own is measured (`mixed`).
    """

    def __init__(self, products: SliceProducts, blocks: Sequence[int]) -> None:
        self.products, self.blocks = products, tuple(blocks)
        of_tensor, count = np.array(self.blocks), max(self.blocks, default=0) + 1
        form, linear = sparse.coo_array(products.form), sparse.coo_array(products.linear)
        ends = of_tensor[products.tensors]
        coupled = (ends[0] != ends[1])[form.col]
        self.apart = np.unique(form.row[coupled])
        square_part = form.row * count + ends[0][form.col]
        linear_part = linear.row * count + of_tensor[products.sum_tensors][linear.col]
        parts = np.unique(np.concatenate([square_part, linear_part]))
        self.charge, self.block = parts // count, parts % count
        self._form = _csr(form.data, np.searchsorted(parts, square_part), form.col, len(parts), products.size)
        self._linear = _csr(
            linear.data, np.searchsorted(parts, linear_part), linear.col, len(parts), products.sums_size
        )
        number = np.bincount(self.charge, minlength=products.count)
        affine = np.zeros(products.count, bool)
        affine[np.intersect1d(form.row, linear.row)] = True
        self._open = ((number > 1) | affine)[self.charge]
        self._first = np.unique(self.charge, return_index=True)[1]
        self.mixed = bool(self._open.any())
        self.square = self.momentum = np.zeros(len(parts))
        self.line = self.line_momentum = np.zeros(len(parts))

    def anchor(self, square: np.ndarray, line: np.ndarray, momentum: np.ndarray, line_momentum: np.ndarray) -> None:
        """Begin at products of theta with itself, its sums, products of theta and v, and the sums of v."""
        self.square, self.momentum = self._form @ square, self._form @ momentum
        self.line, self.line_momentum = self._linear @ line, self._linear @ line_momentum

    @property
    def value(self) -> np.ndarray:
        """The charges (charges,) as the identity has them."""
        return self.total(self.square + 2 * self.line)

    def of_parts(self, products: np.ndarray) -> np.ndarray:
        """A form on every part, from products."""
        return self._form @ products

    def lines_of_parts(self, sums: np.ndarray) -> np.ndarray:
        """b^T of every part, from sums."""
        return self._linear @ sums

    def total(self, parts: np.ndarray) -> np.ndarray:
        """Sums over the parts of each charge; NaN where a block is coupled with another."""
        out = np.bincount(self.charge, parts, minlength=self.products.count)
        out[self.apart] = np.nan
        return out

    def advance(self, steps: Sequence[Taken]) -> None:
        """Go on by these steps."""
        if not steps:
            return
        of = {
            key: (self._form @ np.stack([getattr(s, key) for s in steps], axis=1)).T
            for key in ("vv", "gg", "gv", "xg")
            if all(getattr(s, key) is not None for s in steps)
        }
        for k, step in enumerate(steps):
            sums = None if step.xg_sums is None else self._linear @ step.xg_sums
            self._step(step.rules, {key: found[k] for key, found in of.items()}, sums)

    def _step(self, rules: Sequence[Rule], of: dict[str, np.ndarray], sums: np.ndarray | None) -> None:
        lr, beta, damping, lam, rho, sign = (
            np.array([f(r) for r in rules])[self.block]
            for f in (
                lambda r: r.lr,
                lambda r: r.momentum,
                lambda r: r.dampening,
                lambda r: r.coupled,
                lambda r: r.shrink,
                lambda r: r.sign,
            )
        )
        x, y = self._linear_in_gradient(of.get("xg"), sums, sign)
        a, b = x + lam * self.square, y + lam * self.line
        m = beta * self.momentum + (1 - damping) * a
        n = beta * self.line_momentum + (1 - damping) * b
        along, along_line, outer, inner_ = m, n, of["vv"], of["vv"]
        loose = np.array([not r.buffered for r in rules])[self.block]
        if loose.any():
            outer = inner_ = np.where(loose, of["vv"] + 2 * lam * x + lam**2 * self.square, of["vv"])
        ahead = np.array([r.nesterov for r in rules])[self.block]
        if ahead.any():
            hh = of["gg"] + 2 * lam * x + lam**2 * self.square
            hv, vv = sign * of["gv"] + lam * m, of["vv"]
            along = np.where(ahead, a + beta * m, along)
            along_line = np.where(ahead, b + beta * n, along_line)
            outer = np.where(ahead, hh + 2 * beta * hv + beta**2 * vv, outer)
            inner_ = np.where(ahead, hv + beta * vv, inner_)
        self.square = rho**2 * self.square - 2 * lr * rho * along + lr**2 * outer
        self.momentum = rho * m - lr * inner_
        self.line = rho * self.line - lr * along_line
        self.line_momentum = n

    def _linear_in_gradient(self, xg: np.ndarray | None, sums: np.ndarray | None, sign: np.ndarray) -> tuple[Any, Any]:
        """theta^T A g and b^T g of every part, with what the symmetry says of their sum put in."""
        if xg is None or not self.mixed:
            return 0.0, 0.0
        y = np.zeros(len(self.charge)) if sums is None else sums
        x, y = np.where(self._open, sign * xg, 0.0), np.where(self._open, sign * y, 0.0)
        x[self._first] -= np.bincount(self.charge, x + y, minlength=self.products.count)[self.charge[self._first]]
        return x, y


def _csr(data: np.ndarray, rows: np.ndarray, columns: np.ndarray, *shape: int) -> Any:
    return sparse.csr_array((data, (rows, columns)), shape=shape)
