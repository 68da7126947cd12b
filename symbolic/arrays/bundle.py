"""Arrays that belong together, one per part of the state, as schemes see them: they add and multiply part by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symbolic.arrays.building import array, elementwise, mapped, reduced
from symbolic.arrays.expression import Array


class Bundle:
    """One array per part of the state; numbers and SymPy's scalars act on all of them.

    A diagonal noise is a bundle of strengths and its increments another, each of one column that is all of it:
    formulas that go over columns (`len(dW)`, `b[:, k]`, `dW[k]`) go over that one.
    """

    __array_ufunc__ = None

    def __init__(self, parts: Sequence[Array]) -> None:
        self.parts = tuple(parts)

    def _with(self, name: str, other: Any, swapped: bool = False) -> Bundle:
        if isinstance(other, Strengths):
            return NotImplemented
        others = other.parts if isinstance(other, Bundle) else [array(other)] * len(self.parts)
        pairs = zip(self.parts, others, strict=True)
        return Bundle([elementwise(name, *((b, a) if swapped else (a, b))) for a, b in pairs])

    def __add__(self, other: Any) -> Bundle:
        return self if isinstance(other, int) and other == 0 else self._with("add", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Bundle:
        return self._with("subtract", other)

    def __rsub__(self, other: Any) -> Bundle:
        return self._with("subtract", other, swapped=True)

    def __mul__(self, other: Any) -> Bundle:
        return self._with("multiply", other)

    def __rmul__(self, other: Any) -> Bundle:
        return self._with("multiply", other, swapped=True)

    def __truediv__(self, other: Any) -> Bundle:
        return self._with("divide", other)

    def __pow__(self, other: Any) -> Bundle:
        return self._with("power", other)

    def __neg__(self) -> Bundle:
        return Bundle([elementwise("negative", a) for a in self.parts])

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: Any) -> Bundle:
        return self

    def xreplace(self, instead: Mapping[Array, Array]) -> Bundle:
        """With something in the place of some of its nodes."""
        return Bundle(mapped(self.parts, instead.get))

    def length(self) -> Array:
        """The Euclidean norm of all parts together."""
        squares = [reduced("sum", elementwise("multiply", a, a)) for a in self.parts]
        total = squares[0]
        for s in squares[1:]:
            total = elementwise("add", total, s)
        return np.sqrt(total)  # type: ignore[return-value, call-overload]


class Strengths:
    """A general noise: per part an array (*shape, J), which takes increments (J,) to a bundle."""

    def __init__(self, parts: Sequence[Array]) -> None:
        self.parts = tuple(parts)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Bundle):
            (increments,) = other.parts
            return Bundle([reduced("sum", elementwise("multiply", b, increments), -1) for b in self.parts])
        return self._each(lambda b: elementwise("multiply", b, other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Strengths:
        return self._each(lambda b: elementwise("divide", b, other))

    def __add__(self, other: Strengths) -> Strengths:
        return Strengths([elementwise("add", a, b) for a, b in zip(self.parts, other.parts, strict=True)])

    def __sub__(self, other: Strengths) -> Strengths:
        return Strengths([elementwise("subtract", a, b) for a, b in zip(self.parts, other.parts, strict=True)])

    def _each(self, function: Callable[[Array], Array]) -> Strengths:
        return Strengths([function(b) for b in self.parts])
