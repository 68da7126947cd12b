"""Arithmetic whose functions and roots are off by a little, at random: digits that a number has only by chance change.

cosh(q)**2 - sinh(q)**2 is 1 at small q, and rounding at large ones; what is rounding moves by more than itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symbolic.evaluation.tape import Arithmetic
from symbolic.functions.registry import Elementary


class Shaken(Arithmetic):
    """Numbers whose functions are off by up to `by`, relative to themselves."""

    def __init__(self, by: Any, digits: int | None = None) -> None:
        super().__init__(digits)
        self.by, self.rng = by, np.random.default_rng(29)

    def _off(self, y: Any) -> Any:
        return y + y * self.by * self.rng.uniform(-1, 1, np.shape(y))

    def call(self, row: Elementary, x: Any) -> Any:
        """A function of one argument; kinked ones are not off."""
        y = super().call(row, x)
        return y if row.kinked else self._off(y)

    def sqrt(self, x: Any) -> Any:
        """The positive root."""
        return self._off(super().sqrt(x))
