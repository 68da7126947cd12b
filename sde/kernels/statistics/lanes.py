"""Sums and extremes over a row of lanes in packed code, which Numba makes of no loop that fixes an order of adding."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir

from ..options import intrinsic, overloaded, types

SIDE = 8
"""Lanes side by side: every eighth is added to, and compared with, what came before it."""
CONTRACT = ("contract",)


def summary(row: Any, shift: Any, target: Any) -> tuple[Any, Any, Any, Any]:
    """Sums of row - shift and of its square, least and greatest, in float64 and in one order whatever the width of
    vectors; len(row) a multiple of SIDE. Where some are not finite the second is not. row goes into target meanwhile,
    as every sum waits for the one before."""
    target[: len(row)] = row
    total, square = np.zeros(SIDE), np.zeros(SIDE)
    low = high = np.full(SIDE, np.float64(shift))
    for i in range(0, len(row), SIDE):
        v = row[i : i + SIDE].astype(np.float64)
        d = v - shift
        total, square = total + d, square + d * d
        low, high = np.where(low < v, low, v), np.where(high > v, high, v)
    steps = (np.add, np.add, lambda a, b: np.where(a < b, a, b), lambda a, b: np.where(a > b, a, b))
    return tuple(_in_pairs(list(a), step) for a, step in zip((total, square, low, high), steps, strict=True))  # type: ignore[return-value]


def _in_pairs(values: list[Any], step: Callable[[Any, Any], Any]) -> Any:
    """One value of many: neighbours first, then what they gave."""
    while len(values) > 1:
        values = [step(a, b) for a, b in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def _chosen(relation: str) -> Any:
    """(builder, a, b) -> a where it stands in this relation to b, else b: one instruction, for less and for more."""
    return lambda builder, a, b: builder.select(builder.fcmp_ordered(relation, a, b), a, b)


def _added(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b, flags=CONTRACT)


def _packed_summary(typing_context, row, shift, target):
    """`summary`, each of the four kept in one register."""

    def emit(context, builder, signature, arguments):
        from numba.core import cgutils

        array = context.make_array(row)(context, builder, arguments[0])
        written, align = context.make_array(target)(context, builder, arguments[2]).data, row.dtype.bitwidth // 8
        real, double, place = context.get_value_type(row.dtype), ir.DoubleType(), ir.IntType(32)
        narrow, wide = ir.VectorType(real, SIDE), ir.VectorType(double, SIDE)
        shifts, zeros = ir.Constant(wide, ir.Undefined), ir.Constant(wide, [0.0] * SIDE)
        for i in range(SIDE):
            shifts = builder.insert_element(shifts, arguments[1], place(i))
        steps = (_added, _added, _chosen("<"), _chosen(">"))
        kept = [cgutils.alloca_once_value(builder, start) for start in (zeros, zeros, shifts, shifts)]
        count = builder.extract_value(array.shape, 0)
        with cgutils.for_range_slice(builder, count.type(0), count, count.type(SIDE), inc=True) as (i, _):
            source, goal = (
                builder.bitcast(builder.gep(data, [i]), narrow.as_pointer()) for data in (array.data, written)
            )
            beside = builder.load(source, align=align)
            builder.store(beside, goal, align=align)
            v = beside if real == double else builder.fpext(beside, wide)
            d = builder.fsub(v, shifts, flags=CONTRACT)
            for own, step, term in zip(kept, steps, (d, builder.fmul(d, d, flags=CONTRACT), v, v), strict=True):
                builder.store(step(builder, builder.load(own), term), own)
        found = []
        for own, step in zip(kept, steps, strict=True):
            values = [builder.extract_element(builder.load(own), place(i)) for i in range(SIDE)]
            found.append(_in_pairs(values, partial(step, builder)))
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(types.float64, 4)(row, types.float64, target), emit


packed_summary: Any = intrinsic(_packed_summary)


overloaded(summary, lambda row, shift, target: lambda row, shift, target: packed_summary(row, shift, target))
