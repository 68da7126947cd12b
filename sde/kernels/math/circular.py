"""sin, cos, tan and atan. |x| = k pi/2 + (r + l), |r| <= pi/4 and a little, by three fused subtractions (the first is
exact) whose rounding is kept, by Knuth's two-sum and the final l: the result's error does not grow with x. Beyond
FARTHEST, where that ends, the value is NaN: a path there counts as exploded, it never runs on wrong numbers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..options import inlined
from .arithmetic import F32, Real, fma, polynomial, signed, size, turned

FARTHEST = {"float32": 2.0**20, "float64": 2.0**45}
"""Largest |x| of sin, cos and tan."""

SINE_32 = polynomial(-1.6666667e-01, 8.333328e-03, -1.983898e-04, 2.71502e-06)
SINE_64 = polynomial(
    -0.1666666666666663, 0.008333333333322078, -0.00019841269829519242, 2.7557313587066433e-06, -2.5050741116591627e-08,
    1.5895781300949687e-10,
)  # fmt: skip
COSINE_32 = polynomial(4.166664e-02, -1.3887095e-03, 2.4407198e-05)
COSINE_64 = polynomial(
    0.041666666666666595, -0.0013888888888873663, 2.4801587289184117e-05, -2.755731426297281e-07, 2.087571066660602e-09,
    -1.1358971595216309e-11,
)  # fmt: skip
ARC_32 = polynomial(-0.33333316, 0.19998495, -0.14243978, 0.10596972, -0.06085889)
ARC_64 = polynomial(
    -0.333333333333332, 0.19999999999954093, -0.1428571428024952, 0.1111111078614306, -0.09090897835239749,
    0.07692061593570985, -0.066631196666816, 0.0584800226357087, -0.0503980976457429, 0.038077280621542066,
    -0.01792100848757545,
)  # fmt: skip
QUARTER = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33
QUARTER_32 = 1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15


def make_reduction(R: Real) -> Callable[..., Any]:
    """turn(a) = n, sine, cosine of what remains of a >= 0 after n quarter turns; n as an unsigned integer, right in its
    lowest bits."""
    real, as_uint, rounder = R.real, R.as_uint, R.rounder
    sines, cosines = (SINE_32, COSINE_32) if R is F32 else (SINE_64, COSINE_64)
    per, one, half, nan = real(2 / np.pi), real(1), real(0.5), real(np.nan)
    farthest = real(FARTHEST[np.dtype(real).name])
    first, second, third = (real(v) for v in (QUARTER_32 if R is F32 else QUARTER))

    @inlined
    def reduce(a):
        a = nan if a > farthest else a
        turns = fma(a, per, rounder)
        k = turns - rounder
        coarse = fma(-k, first, a)
        fine = fma(-k, second, coarse)
        d = coarse - fine
        b = d - coarse
        residue = (coarse - (d - b)) - (fine + b)
        rest = fma(-k, third, fma(-k, second, d) + residue)
        r = fine + rest
        l = (fine - r) + rest  # noqa: E741
        z = r * r
        h = half * z
        sine = r + fma(r * z, sines(z), fma(-h, l, l))
        w = one - h
        cosine = w + (((one - w) - h) + fma(z * z, cosines(z), -(r * l)))
        return as_uint(turns), sine, cosine

    return reduce


def make_sin(R: Real) -> Callable[..., Any]:
    """Odd by its sign bit."""
    uint, reduce = R.uint, make_reduction(R)
    none, one = R.uint(0), R.uint(1)

    @inlined
    def sin(x):
        n, sine, cosine = reduce(size(x))
        return signed(turned(cosine if uint(n & one) != none else sine, n), x)

    return sin


def make_cos(R: Real) -> Callable[..., Any]:
    """Even, because |x| is all it sees."""
    uint, reduce = R.uint, make_reduction(R)
    none, one = R.uint(0), R.uint(1)

    @inlined
    def cos(x):
        n, sine, cosine = reduce(size(x))
        return turned(sine if uint(n & one) != none else cosine, uint(n + one))

    return cos


def make_tan(R: Real) -> Callable[..., Any]:
    """Sine over cosine, or minus the inverse of that; odd by its sign bit."""
    uint, reduce = R.uint, make_reduction(R)
    none, one = R.uint(0), R.uint(1)

    @inlined
    def tan(x):
        n, sine, cosine = reduce(size(x))
        odd = uint(n & one) != none
        above = cosine if odd else sine
        below = sine if odd else cosine
        return signed(turned(above / below, uint(n << one)), x)

    return tan


def make_atan(R: Real) -> Callable[..., Any]:
    """|x|, (|x| - 1)/(|x| + 1) or -1/|x|, which is below tan(pi/8), and the angle so left out; odd by its sign bit."""
    real, arc = R.real, ARC_32 if R is F32 else ARC_64
    zero, one, low, high = (real(v) for v in (0, 1, np.tan(np.pi / 8), np.tan(3 * np.pi / 8)))
    q, q_low = (real(v) for v in (QUARTER_32 if R is F32 else QUARTER)[:2])
    e, e_low = q * real(0.5), q_low * real(0.5)

    @inlined
    def atan(x):
        a = size(x)
        far, middle = a > high, a > low
        above = -one if far else (a - one if middle else a)
        below = a if far else (a + one if middle else one)
        base = q if far else (e if middle else zero)
        rest = q_low if far else (e_low if middle else zero)
        t = above / below
        z = t * t
        return signed(base + (t + fma(t * z, arc(z), rest)), x)

    return atan


MAKERS: dict[str, Callable[[Real], Callable[..., Any]]] = {
    "sin": make_sin,
    "cos": make_cos,
    "tan": make_tan,
    "atan": make_atan,
}
