"""Arrays over bare pointers, inside kernels: they own nothing, so slices of them cost nothing."""

from typing import Any

from .options import intrinsic, types


def c_array(context: Any, builder: Any, kind: Any, data: Any, shape: list[Any]) -> Any:
    """The array in C order at the address `data`."""
    from numba.np.arrayobj import populate_array

    item = context.get_constant(types.intp, getattr(kind.dtype, "bitwidth", 8) // 8)
    strides = [item]
    for length in shape[:0:-1]:
        strides.insert(0, builder.mul(strides[0], length))
    array = context.make_array(kind)(context, builder)
    if data.type != array.data.type:
        data = builder.inttoptr(data, array.data.type)
    populate_array(array, data, shape, strides, item, None)
    return array._getvalue()


def _view(typing_context, pointer, count):
    """The `count` entries at `pointer` as an array."""
    kind = types.Array(pointer.dtype, 1, "C")

    def emit(context, builder, signature, arguments):
        return c_array(context, builder, kind, arguments[0], [arguments[1]])

    return kind(pointer, types.intp), emit


view: Any = intrinsic(_view)


def _at(dtype: str) -> Any:
    """The `count` numbers at an address, an integer, as an array."""

    def numbers(typing_context, address, count):
        kind = types.Array(getattr(types, dtype), 1, "C")

        def emit(context, builder, signature, arguments):
            return c_array(context, builder, kind, arguments[0], [arguments[1]])

        return kind(types.int64, types.int64), emit

    return intrinsic(numbers)


singles: Any = _at("float32")
doubles: Any = _at("float64")
