"""Standard normals and uniforms over lanes, from Philox words, written so that LLVM vectorises them.

Box-Muller: r = sqrt(-2 ln u), (r cos 2 pi v, r sin 2 pi v). The logarithm takes its exponent from the integer
bits and the rest from fdlibm's polynomial; the angle is reduced to |angle| <= pi/4 in integers, exactly, then
fdlibm's and Cephes' polynomials. No libm call is left, so a loop over lanes becomes packed code. Error: a few
units in the last place (tests/sde/test_normal.py).

float32: draw block q gives rows 4q..4q+3; u = (word + 1/2) / 2**32, so |normal| reaches sqrt(2 ln 2**33) =
6.76.
float64: draw block q gives rows 2q, 2q+1; u = (2k + 1) / 2**53 from 52 bits, so |normal| reaches 8.57.
"""

import numpy as np

from ..math.bits import as_float32, as_float64, as_int32, as_uint32, as_uint64
from ..options import inlined, inner
from .philox import fill_words

f32, f64, i32, u32, u64 = np.float32, np.float64, np.int32, np.uint32, np.uint64

SCRATCH = 4
"""Scratch of a fill, in rows of uint32."""

SQRT_HALF_32 = i32(0x3F3504F3)
SQRT_HALF_64 = u64(0x3FE6A09E667F3BCD)
BITS_TWO_52 = u64(0x4330000000000000)
TWO_52 = 4503599627370496.0
LN2 = 0.6931471805599453
L32 = tuple(f32(c) for c in (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841))
L64 = (6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
       1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01)  # fmt: skip
S32 = tuple(f32(c) for c in (-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4))
C32 = tuple(f32(c) for c in (4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5))
S64 = (-1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
       2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10)  # fmt: skip
C64 = (4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
       -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11)  # fmt: skip
ANGLE_32 = f32(2 * np.pi / 2.0**32)
ANGLE_64 = 2 * np.pi / 2.0**52


@inlined
def split32(word):
    """f and e with (word + 1/2) / 2**32 = (1 + f) 2**e to float32's rounding, 1 + f in [sqrt(1/2), sqrt 2)."""
    bits = as_int32(f32(f32(word) + f32(0.5)))
    exponent = i32(i32(bits - SQRT_HALF_32) >> i32(23))
    return as_float32(i32(bits - i32(exponent << i32(23)))) - f32(1), f32(i32(exponent - i32(32)))


@inlined
def root32(f, e):
    """sqrt(-2 ln((1 + f) 2**e)) in float32."""
    s = f / (f32(2) + f)
    z = s * s
    series = z * (L32[0] + z * (L32[1] + z * (L32[2] + z * L32[3])))
    half = f32(0.5) * f * f
    return f32(np.sqrt(f32(-2) * (e * f32(LN2) - (half - s * (half + series) - f))))


@inlined
def circle32(word):
    """cos and sin of 2 pi word / 2**32 in float32 for a uint32 word."""
    quadrant = u32(u32(word + u32(0x20000000)) >> u32(30))
    a = f32(as_int32(u32(word - u32(quadrant << u32(30))))) * ANGLE_32
    z = a * a
    sine = a + a * (z * (S32[0] + z * (S32[1] + z * S32[2])))
    cosine = f32(1) - f32(0.5) * z + z * z * (C32[0] + z * (C32[1] + z * C32[2]))
    odd = u32(quadrant & u32(1)) != u32(0)
    c = sine if odd else cosine
    s = cosine if odd else sine
    c_sign = u32(u32(u32(quadrant + u32(1)) & u32(2)) << u32(30))
    s_sign = u32(u32(quadrant & u32(2)) << u32(30))
    return as_float32(u32(as_uint32(c) ^ c_sign)), as_float32(u32(as_uint32(s) ^ s_sign))


@inlined
def split64(k):
    """f and e with (2k + 1) / 2**53 = (1 + f) 2**e, 1 + f in [sqrt(1/2), sqrt 2), for a uint64 k below 2**52."""
    u = as_float64(u64(k | BITS_TWO_52)) - (TWO_52 - 0.5)
    shifted = u64(as_uint64(u) - SQRT_HALF_64 + (u64(1) << u64(52)))
    exponent = u64(shifted >> u64(52))
    f = as_float64(u64(as_uint64(u) - u64(exponent << u64(52)) + (u64(1) << u64(52)))) - 1.0
    return f, as_float64(u64(exponent | BITS_TWO_52)) - (TWO_52 + 53.0)


@inlined
def root64(f, e):
    """sqrt(-2 ln((1 + f) 2**e))."""
    s = f / (2.0 + f)
    z = s * s
    high = L64[3] + z * (L64[4] + z * (L64[5] + z * L64[6]))
    series = z * (L64[0] + z * (L64[1] + z * (L64[2] + z * high)))
    half = 0.5 * f * f
    return np.sqrt(-2.0 * (e * LN2 - (half - s * (half + series) - f)))


@inlined
def circle64(k):
    """cos and sin of 2 pi k / 2**52 for a uint64 k below 2**52."""
    shifted = u64(k + (u64(1) << u64(49)))
    quadrant = u64(u64(shifted >> u64(50)) & u64(3))
    rest = u64(shifted & u64((1 << 50) - 1))
    a = (as_float64(u64(rest | BITS_TWO_52)) - (TWO_52 + 562949953421312.0)) * ANGLE_64
    z = a * a
    sine = a + a * (z * (S64[0] + z * (S64[1] + z * (S64[2] + z * (S64[3] + z * (S64[4] + z * S64[5]))))))
    tail = C64[0] + z * (C64[1] + z * (C64[2] + z * (C64[3] + z * (C64[4] + z * C64[5]))))
    cosine = 1.0 - 0.5 * z + z * z * tail
    odd = u64(quadrant & u64(1)) != u64(0)
    c = sine if odd else cosine
    s = cosine if odd else sine
    c_sign = u64(u64(u64(quadrant + u64(1)) & u64(2)) << u64(62))
    s_sign = u64(u64(quadrant & u64(2)) << u64(62))
    return as_float64(u64(as_uint64(c) ^ c_sign)), as_float64(u64(as_uint64(s) ^ s_sign))


@inlined
def join(high, low):
    """52 bits from two uint32 words, as uint64."""
    return u64(u64(u64(high) << u64(20)) | u64(u64(low) >> u64(12)))


@inner
def pair32(words, at, lanes, first, second):
    """Normals of word rows at, at + 1. Several passes here and below: in one, the constants do not fit the
    vector registers.
    """
    a, b = words[at * lanes : (at + 1) * lanes], words[(at + 1) * lanes : (at + 2) * lanes]
    for i in range(lanes):
        first[i], second[i] = split32(a[i])
    for i in range(lanes):
        first[i] = root32(first[i], second[i])
    for i in range(lanes):
        c, s = circle32(b[i])
        r = first[i]
        first[i], second[i] = r * c, r * s


@inner
def pair64(words, lanes, first, second):
    """Normals of the four word rows."""
    a, b = words[:lanes], words[lanes : 2 * lanes]
    for i in range(lanes):
        first[i], second[i] = split64(join(a[i], b[i]))
    for i in range(lanes):
        first[i] = root64(first[i], second[i])
    a, b = words[2 * lanes : 3 * lanes], words[3 * lanes : 4 * lanes]
    for i in range(lanes):
        c, s = circle64(join(a[i], b[i]))
        r = first[i]
        first[i], second[i] = r * c, r * s


@inner
def normals32(out, words, spare, rows, lanes, seed, first_path, step, stream, block):
    for row in range(0, rows, 4):
        fill_words(words, lanes, seed, first_path, step, stream, block + row // 4)
        for at in range(row, min(row + 4, rows), 2):
            second = out[(at + 1) * lanes : (at + 2) * lanes] if at + 1 < rows else spare
            pair32(words, at - row, lanes, out[at * lanes : (at + 1) * lanes], second)


@inner
def normals64(out, words, spare, rows, lanes, seed, first_path, step, stream, block):
    for row in range(0, rows, 2):
        fill_words(words, lanes, seed, first_path, step, stream, block + row // 2)
        second = out[(row + 1) * lanes : (row + 2) * lanes] if row + 1 < rows else spare
        pair64(words, lanes, out[row * lanes : (row + 1) * lanes], second)


@inner
def uniforms32(out, words, rows, lanes, seed, first_path, step, stream, block):
    for row in range(rows):
        if row % 4 == 0:
            fill_words(words, lanes, seed, first_path, step, stream, block + row // 4)
        at = (row % 4) * lanes
        for i in range(lanes):
            out[row * lanes + i] = (f32(i32(words[at + i] >> u32(9))) + f32(0.5)) * f32(2.0**-23)


@inner
def uniforms64(out, words, rows, lanes, seed, first_path, step, stream, block):
    for row in range(rows):
        if row % 2 == 0:
            fill_words(words, lanes, seed, first_path, step, stream, block + row // 2)
        at = (row % 2) * 2 * lanes
        for i in range(lanes):
            k = join(words[at + i], words[at + lanes + i])
            out[row * lanes + i] = (as_float64(u64(k | BITS_TWO_52)) - (TWO_52 - 0.5)) * 2.0**-52
