"""log: the exponent from the integer bits, the rest by fdlibm's polynomial (float32: its shorter twin), as in
`normal`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..options import inlined
from ..random.normal import L32, L64
from .arithmetic import F32, Real, fma, polynomial
from .exponential import LN2, LN2_32

SERIES_32, SERIES_64 = polynomial(*map(float, L32)), polynomial(*L64)


def make_log(R: Real) -> Callable[..., Any]:
    """ln x: -inf at 0, NaN below. x = 2**e (1 + f) with 1 + f in [sqrt(1/2), sqrt 2)."""
    real, uint, as_real, as_uint = R.real, R.uint, R.as_real, R.as_uint
    mantissa, anchor = R.uint(R.mantissa), real(2.0**R.mantissa)
    series = SERIES_32 if R is F32 else SERIES_64
    root_half = uint(np.array(np.sqrt(0.5), real).view(uint))
    one_bits, anchor_bits = uint(R.bias << R.mantissa), uint(np.array(anchor, real).view(uint))
    lift = 2 * (R.mantissa // 2) + 2
    least, lifting, lifted = real(2.0 ** (1 - R.bias)), real(2.0**lift), real(lift)
    bias, zero, half, one, two = anchor + real(R.bias), real(0), real(0.5), real(1), real(2)
    high, low = (real(v) for v in (LN2_32 if R is F32 else LN2))
    infinite, nan = real(np.inf), real(np.nan)

    @inlined
    def log(x):
        subnormal = x < least
        bits = as_uint(x * lifting if subnormal else x)
        exponent = uint(uint(uint(bits - root_half) + one_bits) >> mantissa)
        f = as_real(uint(uint(bits - uint(exponent << mantissa)) + one_bits)) - one
        e = (as_real(uint(exponent | anchor_bits)) - bias) - (lifted if subnormal else zero)
        s = f / (two + f)
        z = s * s
        h = half * f * f
        value = fma(e, high, f - (h - fma(s, h + z * series(z), e * low)))
        value = value if x > zero else (-infinite if x == zero else nan)
        return infinite if x == infinite else value

    return log


MAKERS: dict[str, Callable[[Real], Callable[..., Any]]] = {"log": make_log}
