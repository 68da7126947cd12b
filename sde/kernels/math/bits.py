"""Reinterpret the bits of a scalar, float as integer and back. Works on vector lanes: LLVM's bitcast is
free.
"""

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic


def _reinterpret(target: Any) -> Callable[..., Any]:
    def reinterpret(typing_context, value):
        if value.bitwidth != target.bitwidth:
            raise TypeError(f"kernels.bits: widths must agree; got {value} for {target}. Cast the value first.")

        def emit(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(value), emit

    return intrinsic(reinterpret)


as_float32 = _reinterpret(types.float32)
as_float64 = _reinterpret(types.float64)
as_int32 = _reinterpret(types.int32)
as_uint32 = _reinterpret(types.uint32)
as_uint64 = _reinterpret(types.uint64)
