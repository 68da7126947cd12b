"""Sums and extremes over a row of lanes, in packed code. What is plain Python here is what they mean; kernels take the
other form, whose order, and so whose bits, no vector width changes."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ..math.bits import as_float32, as_float64, as_int32, as_int64
from ..options import INLINED

SIDE = 4
"""Sums side by side: over every fourth lane."""
CONTRACT = ("contract",)
i32, i64, u32, u64 = np.int32, np.int64, np.uint32, np.uint64


def deviations(row: Any, shift: Any) -> tuple[Any, Any]:
    """Sums of row - shift and of its square, float64; len(row) a multiple of SIDE."""
    total, square = np.zeros(SIDE), np.zeros(SIDE)
    for i in range(0, len(row), SIDE):
        d = row[i : i + SIDE].astype(np.float64) - shift
        total, square = total + d, square + d * d
    return (total[0] + total[1]) + (total[2] + total[3]), (square[0] + square[1]) + (square[2] + square[3])


def extremes(row: Any) -> tuple[Any, Any]:
    """Least and greatest, of the row's own type; where some are not finite, one of them is not."""
    low, high = row.min(), row.max()
    return (low, high) if np.isfinite(row).all() else (low, low.dtype.type(np.nan))


def _splat(builder: Any, value: Any) -> Any:
    out = ir.Constant(ir.VectorType(value.type, SIDE), ir.Undefined)
    for i in range(SIDE):
        out = builder.insert_element(out, value, ir.Constant(ir.IntType(32), i))
    return out


def _packed_deviations(typing_context, row, shift):
    """`deviations`, the SIDE sums in one register."""

    def emit(context, builder, signature, arguments):
        array = context.make_array(row)(context, builder, arguments[0])
        real, double = context.get_value_type(row.dtype), ir.DoubleType()
        narrow, wide = ir.VectorType(real, SIDE), ir.VectorType(double, SIDE)
        count, shifts = builder.extract_value(array.shape, 0), _splat(builder, arguments[1])
        total, square = (cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * SIDE)) for _ in range(2))
        first, stride = ir.Constant(count.type, 0), ir.Constant(count.type, SIDE)
        with cgutils.for_range_slice(builder, first, count, stride, inc=True) as (i, _):
            place = builder.bitcast(builder.gep(array.data, [i]), narrow.as_pointer())
            values = builder.load(place, align=row.dtype.bitwidth // 8)
            d = builder.fsub(values if real == double else builder.fpext(values, wide), shifts, flags=CONTRACT)
            for sums, term in ((total, d), (square, builder.fmul(d, d, flags=CONTRACT))):
                builder.store(builder.fadd(builder.load(sums), term, flags=CONTRACT), sums)

        def added(sums):
            parts = [builder.extract_element(builder.load(sums), ir.Constant(ir.IntType(32), i)) for i in range(SIDE)]
            halves = (builder.fadd(a, b, flags=CONTRACT) for a, b in (parts[:2], parts[2:]))
            return builder.fadd(*halves, flags=CONTRACT)

        return context.make_tuple(builder, signature.return_type, [added(total), added(square)])

    return types.UniTuple(types.float64, 2)(row, types.float64), emit


packed_deviations: Any = intrinsic(_packed_deviations)


@overload(deviations, jit_options=INLINED)
def _deviations(row, shift):
    return lambda row, shift: packed_deviations(row, np.float64(shift))


def _extremes32(row):
    """In integers of the order of the floats, which may be compared in any order; NaN lies beyond the infinities."""
    low, high = i32(0x7FFFFFFF), i32(-0x80000000)
    for i in range(len(row)):
        bits = as_int32(row[i])
        order = i32(bits ^ i32(u32(i32(bits >> i32(31))) >> u32(1)))
        low, high = min(low, order), max(high, order)
    return (
        as_float32(i32(low ^ i32(u32(i32(low >> i32(31))) >> u32(1)))),
        as_float32(i32(high ^ i32(u32(i32(high >> i32(31))) >> u32(1)))),
    )


def _extremes64(row):
    low, high = i64(0x7FFFFFFFFFFFFFFF), i64(-0x8000000000000000)
    for i in range(len(row)):
        bits = as_int64(row[i])
        order = i64(bits ^ i64(u64(i64(bits >> i64(63))) >> u64(1)))
        low, high = min(low, order), max(high, order)
    return (
        as_float64(i64(low ^ i64(u64(i64(low >> i64(63))) >> u64(1)))),
        as_float64(i64(high ^ i64(u64(i64(high >> i64(63))) >> u64(1)))),
    )


@overload(extremes, jit_options=INLINED, strict=False)
def _extremes(row):
    return _extremes32 if row.dtype == types.float32 else _extremes64
