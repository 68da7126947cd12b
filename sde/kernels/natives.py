"""C functions that all loops share: compiled once per dtype, cached, called by address. A loop is compiled without them, which
saves most of its compile time; Python calls the same machine code through ctypes, so a start law or an oracle sees the loop's own numbers.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype

from . import fillers, records
from .options import native


class Natives(NamedTuple):
    """Addresses: of random fills (see `fillers`) and of what is done with rows (see `records`)."""

    normals: int
    uniforms: int
    words: int
    combine: int
    record: int
    bury: int
    date: int


RECORDS = ("combine", "record", "bury", "date")


@cache
def compiled(name: str, which: str) -> Any:
    """The function `which` for dtype `name`, "float32" or "float64"."""
    if which in RECORDS:
        return native(getattr(records, which), records.signatures(from_dtype(np.dtype(name)))[which])
    return native(fillers.FUNCTIONS[name][which], fillers.signature(name))


def addresses(dtype: Any, needed: Iterable[str]) -> Natives:
    """Addresses of those needed, valid for the life of the process; 0 for the others."""
    name, wanted = np.dtype(dtype).name, set(needed)
    return Natives(*(compiled(name, which).address if which in wanted else 0 for which in Natives._fields))
