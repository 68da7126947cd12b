"""Arguments of a compiled function as 64-bit words: numbers as they are, arrays in C order as address and shape,
NamedTuples as their members.
"""

import ctypes
import struct
from typing import Any

import numpy as np

FORMATS = {bool: "q", int: "q", np.int64: "q", np.uint64: "Q", float: "d", np.float64: "d"}


def leaves(values: Any) -> list[Any]:
    """Numbers and arrays, in order."""
    found: list[Any] = []
    for value in values:
        if isinstance(value, tuple):
            found += leaves(value)
        else:
            found.append(value)
    return found


class Words:
    """Packs arguments of the types that `prototypes` have."""

    def __init__(self, prototypes: Any) -> None:
        self.kinds: list[Any] = []
        form = ""
        for value in leaves(prototypes):
            array = isinstance(value, np.ndarray)
            self.kinds.append((value.dtype, value.ndim) if array else None)
            form += "q" * (1 + value.ndim) if array else FORMATS[type(value)]
        self.struct = struct.Struct(f"={form}")
        self.type = ctypes.c_int64 * len(form)

    def pack(self, values: Any) -> Any:
        """The words, valid while the arrays are. Raises TypeError for what is not of the types."""
        words: list[Any] = []
        byte: Any = ctypes.c_char.from_buffer  # four times as fast as an array's own `.ctypes`
        found, addressof = leaves(values), ctypes.addressof
        if len(found) != len(self.kinds):
            raise TypeError(f"kernels.arguments: {len(self.kinds)} values are needed; got {len(found)} (int).")
        for value, kind in zip(found, self.kinds, strict=True):
            if kind is None:
                words.append(value)
                continue
            dtype, ndim = kind
            array = isinstance(value, np.ndarray)
            if not (array and value.dtype == dtype and value.ndim == ndim and value.flags.carray):
                got = (value.dtype, value.shape) if array else value
                raise TypeError(
                    f"kernels.arguments: needs a writable array in C order of {dtype} with {ndim} axes; got {got}"
                    f" ({type(value).__name__}). Copy it into one."
                )
            words.append(addressof(byte(value)) if value.size else 0)
            words += value.shape
        try:
            return self.type.from_buffer_copy(self.struct.pack(*words))
        except struct.error as error:
            raise TypeError(f"kernels.arguments: {error}; got {words} (list).") from error
