"""C functions that all loops share: compiled once per dtype, cached, called by address. A loop is compiled without
them, which saves most of its compile time; Python calls the same machine code through ctypes, so a start law or an
oracle sees the loop's own numbers.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.ctypeslib import as_ctypes_type

from . import records
from .machine_code import native
from .random import fillers, nodes, scattered, variates


class SharedFunctions(NamedTuple):
    """Addresses: of random fills (see `fillers`) of what is done with rows (see `records`), and of random
    numbers of single lanes (see `random.variates`)."""

    normals: int
    uniforms: int
    words: int
    combine: int
    record: int
    mark_exploded: int
    date: int
    normals_of: int
    words_of: int
    normals_at: int
    passage: int
    wait: int
    size: int


RECORDS = ("combine", "record", "mark_exploded", "date")


@cache
def compiled(name: str, which: str) -> Any:
    """The function `which` for dtype `name`, "float32" or "float64"."""
    if which in RECORDS:
        return native(getattr(records, which), records.signatures(as_ctypes_type(np.dtype(name)))[which])
    if which in variates.FUNCTIONS:
        function, signature = variates.FUNCTIONS[which]
        return native(function, signature)
    if which in scattered.FUNCTIONS[name]:
        return native(scattered.FUNCTIONS[name][which], scattered.signature(name))
    if which in nodes.FUNCTIONS[name]:
        return native(nodes.FUNCTIONS[name][which], nodes.signature(name))
    return native(fillers.FUNCTIONS[name][which], fillers.signature(name))


def addresses(dtype: Any, needed: Iterable[str]) -> SharedFunctions:
    """Addresses of those needed, valid for the life of the process; 0 for the others."""
    name, requested = np.dtype(dtype).name, set(needed)
    return SharedFunctions(
        *(compiled(name, which).address if which in requested else 0 for which in SharedFunctions._fields)
    )
