"""Charges of one pattern as arrays: hundreds of thousands of them, each a record only when it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sde.networks.charge import Charge, Shift, Term
from sde.networks.wording import charge_name


@dataclass(frozen=True, eq=False)
class Slot:
    """One tensor's (or two tensors') part of n charges: rows, columns (n, m) of slice numbers, weights (m,)."""

    left: str
    right: str
    left_axes: tuple[int, ...]
    right_axes: tuple[int, ...]
    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray

    @property
    def diagonal(self) -> bool:
        """Whether every block lies on the diagonal of A."""
        return self.rows is self.columns

    @classmethod
    def on(cls, parameter: str, axes: tuple[int, ...], index: np.ndarray, weights: np.ndarray) -> Slot:
        """Diagonal blocks."""
        return cls(parameter, parameter, axes, axes, index, index, weights)


@dataclass(frozen=True, eq=False)
class ShiftSlot:
    """One tensor's part of b for n charges: slice numbers (n, m), weights (n, m).

    statistic: the running statistic that the weights are `factor` times, "" where they are plain numbers.
    """

    parameter: str
    axes: tuple[int, ...]
    index: np.ndarray
    weights: np.ndarray
    statistic: str = ""
    factor: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def taken(self, chosen: np.ndarray) -> ShiftSlot:
        """Of some charges."""
        factor = self.factor[chosen] if self.statistic else self.factor
        return replace(self, index=self.index[chosen], weights=self.weights[chosen], factor=factor)


@dataclass(frozen=True, eq=False)
class Family:
    """n charges of one pattern: the same tensors, axes and weights, other slices.

    shapes: {parameter: shape}, for the charges' names. size: (n,), see `Charge.size`.
    """

    kind: str
    noise: str
    status: str
    size: np.ndarray
    slots: tuple[Slot, ...]
    shifts: tuple[ShiftSlot, ...]
    shapes: dict[str, tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.size)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the tensors that it ties."""
        names = [n for s in self.slots for n in (s.left, s.right)] + [s.parameter for s in self.shifts]
        return tuple(dict.fromkeys(names))

    def charge(self, k: int) -> Charge:
        """Its k-th charge."""
        terms = tuple(
            Term(s.left, s.right, s.left_axes, s.right_axes, _ints(s.rows[k]), _ints(s.columns[k]), _floats(s.weights))
            for s in self.slots
        )
        shift = tuple(Shift(s.parameter, s.axes, _ints(s.index[k]), _floats(s.weights[k])) for s in self.shifts)
        name = charge_name(terms, shift, self.shapes)
        return Charge(name, terms, shift, self.kind, self.noise, self.status, float(self.size[k]))

    def taken(self, chosen: np.ndarray, *, status: str, size: np.ndarray) -> Family:
        """Some of its charges, with what was found out about them."""
        slots = tuple(
            replace(s, rows=(rows := s.rows[chosen]), columns=rows if s.diagonal else s.columns[chosen])
            for s in self.slots
        )
        shifts = tuple(s.taken(chosen) for s in self.shifts)
        return replace(self, slots=slots, shifts=shifts, status=status, size=size[chosen])

    @classmethod
    def of(cls, charge: Charge, shapes: dict[str, tuple[int, ...]]) -> Family:
        """A single charge as a family."""
        slots = []
        for t in charge.terms:
            for diagonal in (True, False):
                blocks = [(i, j, w) for i, j, w, own in t.blocks() if own == diagonal]
                if blocks:
                    i, j, w = zip(*blocks, strict=True)
                    rows = np.array([i])
                    columns = rows if diagonal else np.array([j])
                    slots.append(Slot(t.left, t.right, t.left_axes, t.right_axes, rows, columns, np.array(w)))
        shifts = tuple(ShiftSlot(s.parameter, s.axes, np.array([s.index]), np.array([s.weights])) for s in charge.shift)
        size = np.array([charge.size])
        return cls(charge.kind, charge.noise, charge.status, size, tuple(slots), shifts, shapes)


def _ints(values: Sequence[int] | np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


def _floats(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
