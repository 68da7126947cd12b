"""The `math` of compiled emitted code: exp, log, tanh, sinh, cosh, erf, sin, cos, tan and atan that vectorise, in
float32 and float64.

`compiled_program.compile_emitted` puts this module in `math`'s place, so the text itself stays plain Python on `math`
and remains the oracle. Errors are below 1 to 2 units in the last place (tests/sde/test_functions.py), NaN and
infinities come out as in C, and where `math` raises, the value is NaN or infinite. Only what a problem uses is
compiled. Inverse functions other than `atan`, erfc and general powers are still the C library's, lane by lane.
"""

from collections.abc import Callable
from math import acos, asin, asinh, atan2, atanh, erfc, inf, nan, sqrt
from typing import Any

from ..options import overloaded, types
from . import circular, exponential, logarithm, rounding
from .arithmetic import F32, F64

__all__ = [
    "acos", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "cos", "cosh", "erf", "erfc", "exp", "floor", "inf",
    "log", "nan", "sin", "sinh", "sqrt", "tan", "tanh",
]  # fmt: skip


def _declare(name: str, make: Callable[..., Any]) -> Callable[[Any], Any]:
    """A name for compiled code, whose body follows from its argument's type."""

    def function(x: Any) -> Any:
        raise TypeError(f"kernels.math: {name} is for compiled code; got a call from Python. Use math.{name}.")

    narrow, wide = make(F32), make(F64)

    def choose(x):
        if x == types.float32:
            return narrow
        if x == types.float64:
            return wide
        return None

    function.__name__ = function.__qualname__ = name
    return overloaded(function, choose)


exp, tanh, sinh, cosh, erf = (_declare(name, make) for name, make in exponential.MAKERS.items())
(log,) = (_declare(name, make) for name, make in logarithm.MAKERS.items())
sin, cos, tan, atan = (_declare(name, make) for name, make in circular.MAKERS.items())
floor, ceil = (_declare(name, make) for name, make in rounding.MAKERS.items())
