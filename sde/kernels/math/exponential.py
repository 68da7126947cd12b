"""exp, tanh, sinh, cosh and erf: x = k ln 2 + r with |r| <= ln(2)/2, and e**r = 1 + r + r**2 q(r) with a near-minimax
q.

The product k ln 2 is subtracted in two fused steps: the first is exact, the rounding of the second is kept. Errors:
tests/sde/test_functions.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..options import inlined
from .arithmetic import F32, Real, fma, polynomial, power, signed, size

TAIL_32 = polynomial(5.0e-01, 1.666652e-01, 4.1666184e-02, 8.368881e-03, 1.3951778e-03)
TAIL_64 = polynomial(
    0.5000000000000013, 0.1666666666666669, 0.04166666666651463, 0.008333333333312461, 0.0013888888947230554,
    0.0001984126990685364, 2.480148969837066e-05, 2.755722511305107e-06, 2.763137651385086e-07, 2.5115222935230976e-08,
)  # fmt: skip
NEAR_32 = polynomial(0.12837917, -0.37612626, 0.112835996, -0.026854428, 0.0051895054, -8.020589e-04, 7.888318e-05)
NEAR_64 = polynomial(
    0.12837916709551257, -0.3761263890318375, 0.11283791670954885, -0.026866170645077788, 0.005223977624827613,
    -0.0008548326981380584, 0.0001205533113138528, -1.4925595735968503e-05, 1.6461007919510427e-06,
    -1.6350390526071145e-07, 1.4660291791887842e-08, -1.1374817979125128e-09, 5.960460199623276e-11,
)  # fmt: skip
"""erf(x) / x - 1 in z = x**2 below 1."""
FAR_32 = polynomial(
    -3.7338558e-04, -1.1269588, -0.6383626, -0.10291706, 0.021747272, -2.9250481e-03, 1.8409219e-04
)  # fmt: skip
FAR_64 = polynomial(
    -5.219920179770797e-07, -1.1283739073048538, -0.6366444329923218, -0.10270124715864544, 0.018986056967340847,
    0.00041630347320944497, -0.0019218687479878806, 0.0007754334122328485, -0.00013808564758001644,
    -1.8750769665352653e-05, 2.22258593162141e-05, -8.483158634100908e-06, 2.0917590384094717e-06,
    -3.6536056092401723e-07, 4.537193238370114e-08, -3.8383731696699885e-09, 1.991102208181617e-10,
    -4.788368483917429e-12,
)  # fmt: skip
"""ln erfc(x) from 1 to 6 (float32: 4)."""
LN2 = 0.6931471805599453, 2.3190468138462996e-17
LN2_32 = 0.6931471824645996, -1.9046542121259336e-09


def make_reduced(R: Real) -> Callable[..., Any]:
    """reduced(x) = k, r, q: x = k ln 2 + r + l with l the rounding of r, and 1 + r + q = e**(r + l)."""
    real, rounder, tail = R.real, R.rounder, TAIL_32 if R is F32 else TAIL_64
    per, high, low = (real(v) for v in (1 / np.log(2), *(LN2_32 if R is F32 else LN2)))

    @inlined
    def reduced(x):
        k = fma(x, per, rounder) - rounder
        coarse = fma(-k, high, x)
        r = fma(-k, low, coarse)
        return k, r, fma(r * r, tail(r), fma(-k, low, coarse - r))

    return reduced


def make_exp(R: Real) -> Callable[..., Any]:
    """e**x; the scale 2**k is applied in two halves, so that overflow and subnormals come out by themselves."""
    real, rounder, reduced = R.real, R.rounder, make_reduced(R)
    half, one, least, most = (real(v) for v in (0.5, 1, *((-104, 89) if R is F32 else (-746, 710))))

    @inlined
    def exp(x):
        inside = least if x < least else (most if x > most else x)
        k, r, q = reduced(inside)
        first = fma(k, half, rounder)
        return (one + (r + q)) * power(first) * power((k - (first - rounder)) + rounder)

    return exp


def make_shifted(R: Real) -> Callable[..., Any]:
    """s (1 + r + q) - c where s = 2**k c, so that s - c is exact or all of it: the sum's largest rounding is kept."""

    @inlined
    def shifted(s, r, q, c):
        whole = s - c
        large = fma(s, r, whole)
        return large + fma(s, q, fma(s, r, whole - large))

    return shifted


def make_tanh(R: Real) -> Callable[..., Any]:
    """With E = e**(2|x|) - 1: E/2 - (E**2/2) / (E + 2) while E < 2, then 1 - 2 / (E + 2); odd by its sign bit."""
    real, rounder, reduced, shifted = R.real, R.rounder, make_reduced(R), make_shifted(R)
    half, one, two, most = (real(v) for v in (0.5, 1, 2, 10 if R is F32 else 20))

    @inlined
    def tanh(x):
        a = size(x)
        a = most if a > most else a
        k, r, q = reduced(a + a)
        grown = shifted(power(k + rounder), r, q, one)
        near, h = grown < two, half * grown
        base = h if near else one
        above = h * grown if near else two
        return signed(base - above / (grown + two), x)

    return tanh


def make_sinh(R: Real) -> Callable[..., Any]:
    """With E = e**|x| - 1: E - (E**2/2) / (E + 1) while E < 1/2, then (E + E / (E + 1)) / 2, both from E / 4, which
    does not overflow before sinh does; |x| itself where that is it; odd by its sign bit.
    """
    real, rounder, reduced, shifted = R.real, R.rounder, make_reduced(R), make_shifted(R)
    eighth, quarter, one, two, four = (real(v) for v in (0.125, 0.25, 1, 2, 4))
    most, huge, tiny = (real(v) for v in (89.5 if R is F32 else 710.5, 2.0**60, 1e-4 if R is F32 else 1e-9))

    @inlined
    def sinh(x):
        a = size(x)
        a = most if a > most else a
        k, r, q = reduced(a)
        e = shifted(power((k - two) + rounder), r, q, quarter)
        near, d = e < eighth, huge if e > huge else e
        base = four * e if near else two * e
        above = -four * d if near else one
        value = base + (two * d * above) / fma(four, d, one)
        return signed(a if a < tiny else value, x)

    return sinh


def make_cosh(R: Real) -> Callable[..., Any]:
    """(E + 1 / E) / 2 from E / 4 = e**|x| / 4; even, because |x| is all it sees."""
    real, rounder, reduced = R.real, R.rounder, make_reduced(R)
    eighth, two, most = (real(v) for v in (0.125, 2, 89.5 if R is F32 else 710.5))

    @inlined
    def cosh(x):
        a = size(x)
        a = most if a > most else a
        k, r, q = reduced(a)
        s = power((k - two) + rounder)
        g = fma(s, r + q, s)
        return two * g + eighth / g

    return cosh


def make_erf(R: Real) -> Callable[..., Any]:
    """x times a polynomial in x**2 below 1; beyond, 1 - exp of a polynomial that is ln erfc; odd by its sign bit."""
    real, rounder, reduced = R.real, R.rounder, make_reduced(R)
    near, far = (NEAR_32, FAR_32) if R is F32 else (NEAR_64, FAR_64)
    one, most = real(1), real(4 if R is F32 else 6)

    @inlined
    def erf(x):
        a = size(x)
        a = most if a > most else a
        k, r, q = reduced(far(a))
        s = power(k + rounder)
        outer = one - fma(s, r + q, s)
        inner = fma(a, near(a * a), a)
        return signed(inner if a < one else outer, x)

    return erf


MAKERS: dict[str, Callable[[Real], Callable[..., Any]]] = {
    "exp": make_exp,
    "tanh": make_tanh,
    "sinh": make_sinh,
    "cosh": make_cosh,
    "erf": make_erf,
}
