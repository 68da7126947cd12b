"""What makes "at or above" of "above": a number that is 0 becomes the number type's smallest normal one."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

TEXT = "(TINY if {0} == 0 else {0})"
"""Plain Python on a module's TINY: no sum, as compilers may turn sums of several terms around."""


class Reached(sp.Function):
    """x itself, and where x is 0 the smallest normal number of a run's type: positive where x >= 0. Its slope is 1."""

    nargs = 1

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        """Of what is never 0, that itself; of 0, what is normal in float32 too."""
        if x.is_zero:
            return sp.Rational(1, 2**126)
        return x if x.is_number or isinstance(x, cls) or isinstance(-x, cls) else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Almost everywhere."""
        return sp.S.One

    def _eval_is_extended_real(self) -> bool | None:
        return self.args[0].is_extended_real

    def _sympystr(self, printer: Any) -> str:
        return f"({printer._print(self.args[0])} >= 0)"


def smallest(dtype: Any) -> float:
    """The smallest normal number of a type."""
    return float(np.finfo(dtype).tiny)


def reached(x: Any) -> np.ndarray:
    """The same of NumPy's arrays."""
    x = np.asarray(x, dtype=float)
    return np.where(x == 0, smallest(x.dtype), x)
