"""Units that every invertible matrix mixes, as heads' queries against keys are: where their norms or noise balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sde.networks.charges import Charges
from sde.networks.family import Family
from sde.networks.slice_products import SliceProducts

SINGULAR = 1e-10
"""Least over largest eigenvalue of a Gram matrix below which no finite place on the orbit is the zero."""

Slice = tuple[str, tuple[int, ...], int]
"""Tensor, axes held fixed, number."""


@dataclass(frozen=True, eq=False)
class Factor:
    """A matrix of h slices, one of each unit, that e^{weight S} multiplies; places (h, h) of its Gram matrix."""

    weight: float
    rows: tuple[Slice, ...]
    places: np.ndarray


@dataclass(frozen=True, eq=False)
class Mixing:
    """h units; charges (h,): of their rescalings."""

    parts: tuple[Factor, ...]
    charges: np.ndarray

    @property
    def parameters(self) -> frozenset[str]:
        """Names of the tensors that it moves."""
        return frozenset(name for p in self.parts for name, _, _ in p.rows)

    def equilibrium(self, form: np.ndarray) -> np.ndarray | None:
        """S (h, h) at which sum_k w_k e^{-w_k S} F_k e^{-w_k S} is zero, P = e^{2wS} the geometric mean of
        docs/theory.md eq. (4.9); None where there is no finite one. form: products (products,), F_k their matrices.
        """
        size = abs(self.parts[0].weight)
        plus, minus = (
            sum((form[p.places] for p in self.parts if p.weight * sign > 0), np.zeros((len(self.charges),) * 2))
            for sign in (1, -1)
        )
        if any((e := np.linalg.eigvalsh(m))[0] <= SINGULAR * abs(e[-1]) for m in (plus, minus)):
            return None
        root = _power(minus, 0.5)
        inverse = np.linalg.inv(root)
        mean = inverse @ _power(root @ plus @ root, 0.5) @ inverse
        values, turn = np.linalg.eigh((mean + mean.T) / 2)
        return (turn * (np.log(values) / (2 * size))) @ turn.T

    def move(self, parameters: dict[str, Tensor], by: np.ndarray, farthest: float) -> None:
        """theta to e^{wS} theta on every part; eigenvalues of S beyond `farthest` are cut there."""
        values, turn = np.linalg.eigh(by)
        values = np.clip(values, -farthest, farthest)
        for part in self.parts:
            change = torch.as_tensor((turn * np.expm1(part.weight * values)) @ turn.T)
            views = [_slice(parameters[name].data, axes, k) for name, axes, k in part.rows]
            whole = torch.stack([v.reshape(-1) for v in views])
            for view, row in zip(views, change.to(whole) @ whole, strict=True):
                view += row.reshape(view.shape)


def mixings(charges: Charges, products: SliceProducts) -> list[Mixing]:
    """The largest sets of units all of whose pairs mix, each on matrices of two weights w and -w."""
    number: dict[tuple[tuple[Slice, ...], ...], int] = {}
    own: list[int] = []
    weights: list[np.ndarray] = []
    for k, f in enumerate(charges.families):
        if f.slots and all(s.diagonal for s in f.slots):
            for c, key in enumerate(_keys(f, left=True)):
                number[key] = len(own)
                own.append(charges.slice_of(k).start + c)
                weights.append(np.concatenate([s.weights for s in f.slots]))
    ends: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for k, f in enumerate(charges.families):
        if f.slots and not any(s.diagonal for s in f.slots):
            both = zip(_keys(f, left=True), _keys(f, left=False), strict=True)
            pairs = np.array([[number.get(key, -1) for key in pair] for pair in both])
            here = np.concatenate([products.pair_places[k, j] for j in range(len(f.slots))], axis=1)
            known = (pairs >= 0).all(1)
            ends.append(pairs[known])
            places += list(here[known])
    if not places:
        return []
    pairs = np.concatenate(ends)
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(own), len(own)))
    label = connected_components(links, directed=False)[1]
    names = list(number)
    found = []
    for group in np.unique(label[pairs[:, 0]]):
        units = np.flatnonzero(label == group)
        inside = np.flatnonzero(label[pairs[:, 0]] == group)
        w = weights[units[0]]
        if len(inside) != len(units) * (len(units) - 1) // 2 or np.ptp(np.abs(w)) > 0:
            continue
        place = {int(u): i for i, u in enumerate(units)}
        grams = np.zeros((len(w), len(units), len(units)), dtype=int)
        for i, u in enumerate(units):
            flat = [s for part in names[u] for s in part]
            grams[:, i, i] = [products.squares[name, axes].start + k for name, axes, k in flat]
        for e in inside:
            i, j = (place[int(u)] for u in pairs[e])
            grams[:, i, j] = grams[:, j, i] = places[e]
        rows = zip(*([s for part in names[u] for s in part] for u in units), strict=True)
        parts = tuple(Factor(float(v), tuple(r), g) for v, r, g in zip(w, rows, grams, strict=True))
        found.append(Mixing(parts, np.array([own[u] for u in units])))
    return found


def _keys(family: Family, *, left: bool) -> list[tuple[tuple[Slice, ...], ...]]:
    """The slices of every charge, slot by slot: of one side of its blocks."""
    sides = [(s.left, s.left_axes, s.rows) if left else (s.right, s.right_axes, s.columns) for s in family.slots]
    return [
        tuple(tuple((name, axes, int(i)) for i in index[c]) for name, axes, index in sides) for c in range(len(family))
    ]


def _slice(tensor: Tensor, axes: Sequence[int], number: int) -> Tensor:
    """A view of the slice that holds `axes` fixed."""
    rest = [a for a in range(tensor.ndim) if a not in axes]
    return tensor.permute(*axes, *rest)[np.unravel_index(number, [tensor.shape[a] for a in axes])] if axes else tensor


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, turn = np.linalg.eigh((matrix + matrix.T) / 2)
    return (turn * np.maximum(values, 0.0) ** exponent) @ turn.T
