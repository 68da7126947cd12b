"""The exact change of charges over steps of SGD, from the products of gradients and momentum alone: docs/theory.md
eqs. (11.1) to (11.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from sde.kernels import momentum_recurrence as recurrence
from sde.networks.optimiser_rules import Rule
from sde.networks.slice_products import SliceProducts


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
        self._state = np.zeros((4, len(parts)))

    def anchor(self, square: np.ndarray, line: np.ndarray, momentum: np.ndarray, line_momentum: np.ndarray) -> None:
        """Begin at products of theta with itself, its sums, products of theta and v, and the sums of v."""
        self._state[:2] = self._form @ square, self._form @ momentum
        self._state[2:] = self._linear @ line, self._linear @ line_momentum

    @property
    def value(self) -> np.ndarray:
        """The charges (charges,) as the identity has them."""
        return self.total(self._state[0] + 2 * self._state[2])

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

    def advance(self, rules: Sequence[tuple[Rule, ...]], taken: Mapping[str, np.ndarray]) -> None:
        """Go on by these steps: the rules of the blocks at each, and what it left behind, (steps, products) or (steps,
        sums).

        vv, gg, gv: products of momentum (of the gradient, where there is none) and gradients; xg: products of
        parameters and gradients before the step, xg_sums: sums of gradients; those that are needed.
        """
        none = np.zeros((len(rules), len(self.charge)))

        def of(key: str, matrix: Any) -> np.ndarray:
            return np.ascontiguousarray((matrix @ taken[key].T).T) if key in taken else none

        kept: list[Any] = []
        for last, each in zip([None, *rules], rules, strict=False):
            kept.append(kept[-1] if each is last else [_settings(r) for r in each])
        settings = np.array(kept)
        products = (of("vv", self._form), of("gg", self._form), of("gv", self._form))
        x, y = none, none
        if self.mixed:
            sign = settings[:, :, recurrence.SIGN][:, self.block]
            x, y = (np.where(self._open, sign * of(*k), 0.0) for k in (("xg", self._form), ("xg_sums", self._linear)))
            x[:, self._first] -= np.add.reduceat(x + y, self._first, axis=1)
        recurrence.advance(settings, self.block, products, (x, y), self._state)


def _settings(rule: Rule) -> tuple[float, ...]:
    """In the order of the recurrence's columns."""
    kept = (rule.lr, rule.momentum, rule.dampening, rule.coupled, rule.shrink, rule.sign)
    return (*kept, float(not rule.buffered), float(rule.nesterov))


def _csr(data: np.ndarray, rows: np.ndarray, columns: np.ndarray, *shape: int) -> Any:
    return sparse.csr_array((data, (rows, columns)), shape=shape)
