"""Reinterpret the bits of a scalar, float as integer and back. Works on vector lanes: LLVM's bitcast is
free.
"""

from collections.abc import Callable
from typing import Any

from ..options import intrinsic, types


def _reinterpret(name: str) -> Callable[..., Any]:
    def reinterpret(typing_context, value):
        target = getattr(types, name)
        if value.bitwidth != target.bitwidth:
            raise TypeError(f"kernels.bits: widths must agree; got {value} for {target}. Cast the value first.")

        def emit(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(value), emit

    return intrinsic(reinterpret)


as_float32 = _reinterpret("float32")
as_float64 = _reinterpret("float64")
as_int32 = _reinterpret("int32")
as_uint32 = _reinterpret("uint32")
as_uint64 = _reinterpret("uint64")
