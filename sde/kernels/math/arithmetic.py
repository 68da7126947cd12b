"""What elementary functions are built from, free of branches and of calls, so that a loop over lanes becomes packed
code.

A function is written once for both widths: `make(R)` closes over the facts of a float type R. Fused multiply-adds are
asked for, not left to the compiler: reductions rest on their single rounding, and every machine then gives the same
bits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from ..options import intrinsic, types
from .bits import as_float32, as_float64, as_uint32, as_uint64


class Real(NamedTuple):
    """A float type and its unsigned twin. rounder: added and taken away again it rounds to an integer, which then
    stands in the lowest bits."""

    real: Any
    uint: Any
    as_real: Any
    as_uint: Any
    mantissa: int
    bias: int
    rounder: Any


F32 = Real(np.float32, np.uint32, as_float32, as_uint32, 23, 127, np.float32(1.5 * 2**23))
F64 = Real(np.float64, np.uint64, as_float64, as_uint64, 52, 1023, np.float64(1.5 * 2**52))


def _fma(typing_context, a, b, c):
    """a * b + c with one rounding, all of one float type."""
    if not (isinstance(a, types.Float) and a == b == c):
        raise TypeError(f"kernels.arithmetic: fma takes one float type; got {a}, {b}, {c}. Cast them first.")

    def emit(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, b, c), emit


fma: Any = intrinsic(_fma)


def polynomial(*coefficients: float) -> Any:
    """c_0 + c_1 z + c_2 z**2 + ... in z's own type, by Horner's scheme of fused multiply-adds."""

    def evaluate(typing_context, z):
        def emit(context, builder, signature, arguments):
            kind = context.get_value_type(z)
            rounded = [float(np.float32(c)) if z == types.float32 else float(c) for c in coefficients]
            value = ir.Constant(kind, rounded[-1])
            for c in rounded[-2::-1]:
                value = builder.fma(value, arguments[0], ir.Constant(kind, c))
            return value

        return z(z), emit

    return intrinsic(evaluate)


def _bitwise(rule: Callable[..., Any]) -> Any:
    """An intrinsic on the bits of floats of one type: rule(builder, integer type, mantissa bits, bits of the arguments)
    -> bits."""

    def emit(context, builder, signature, arguments):
        width = signature.return_type.bitwidth
        whole, mantissa = ir.IntType(width), 23 if width == 32 else 52
        bits = [v if isinstance(v.type, ir.IntType) else builder.bitcast(v, whole) for v in arguments]
        return builder.bitcast(rule(builder, whole, mantissa, *bits), context.get_value_type(signature.return_type))

    return emit


def _power(typing_context, shifted):
    """2**k for k = shifted - rounder, an integer between -bias and bias; 0 at -bias."""

    def rule(b, whole, mantissa, bits):
        bias = ir.Constant(whole, 127 if mantissa == 23 else 1023)
        return b.shl(b.add(bits, bias), ir.Constant(whole, mantissa))

    return shifted(shifted), _bitwise(rule)


def _size(typing_context, x):
    """|x|."""

    def rule(b, whole, mantissa, bits):
        return b.and_(bits, ir.Constant(whole, (1 << (whole.width - 1)) - 1))

    return x(x), _bitwise(rule)


def _signed(typing_context, y, x):
    """y with its sign flipped where x is negative."""

    def rule(b, whole, mantissa, y, x):
        return b.xor(y, b.and_(x, ir.Constant(whole, 1 << (whole.width - 1))))

    return y(y, x), _bitwise(rule)


def _turned(typing_context, y, n):
    """y with its sign flipped where bit 1 of the unsigned n is set."""

    def rule(b, whole, mantissa, y, n):
        top = ir.Constant(whole, 1 << (whole.width - 1))
        return b.xor(y, b.and_(b.shl(n, ir.Constant(whole, whole.width - 2)), top))

    return y(y, n), _bitwise(rule)


power: Any = intrinsic(_power)
size: Any = intrinsic(_size)
signed: Any = intrinsic(_signed)
turned: Any = intrinsic(_turned)
