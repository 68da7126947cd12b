"""The axes of a loss's parameters: which entries of theta share an index along each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from symbolic.problem.loss import Loss
from symbolic.problem.parameter import Parameter


@dataclass(frozen=True)
class Axis:
    """One axis of a parameter. lines[a]: the entries of theta with index a along it, the other indices row-major.

    axis is None for the whole parameter as a single line.
    """

    parameter: Parameter
    axis: int | None
    lines: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of indices along it."""
        return len(self.lines)

    @property
    def rest(self) -> tuple[int, ...]:
        """The parameter's shape without this axis."""
        shape = self.parameter.shape
        return () if self.axis is None else shape[: self.axis] + shape[self.axis + 1 :]

    def line(self, index: str = "i") -> str:
        """One line as a text: W[i], U[:, i], or the whole parameter."""
        if self.axis is None:
            return self.parameter.name
        return f"{self.parameter.name}[{', '.join([':'] * self.axis + [index])}]"


def _numbered(loss: Loss) -> Iterator[tuple[Parameter, np.ndarray]]:
    at = 0
    for p in loss.parameters:
        yield p, np.arange(at, at + len(p.symbols)).reshape(p.shape)
        at += len(p.symbols)


def axes(loss: Loss) -> list[Axis]:
    """Every axis of every parameter, in order."""
    found = []
    for p, numbers in _numbered(loss):
        for k, n in enumerate(p.shape):
            lines = np.moveaxis(numbers, k, 0).reshape(n, -1).tolist()
            found.append(Axis(p, k, tuple(map(tuple, lines))))
    return found


def wholes(loss: Loss) -> list[Axis]:
    """Every parameter as one line."""
    return [Axis(p, None, (tuple(numbers.ravel().tolist()),)) for p, numbers in _numbered(loss)]
