"""Random fills as C functions: compiled once per dtype, cached, called by address from the loop and through
ctypes from Python.

The same machine code serves both, so a start law or an oracle sees the loop's own numbers.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, types
from numba.np.numpy_support import carray

from .normal import SCRATCH, normals32, normals64, uniforms32, uniforms64
from .options import native
from .philox import fill_words


class Fillers(NamedTuple):
    """Addresses of C functions (out, words, rows, lanes, seed, first_path, step, stream, block).

    They fill rows (row j of lane i at out[j * lanes + i]) from draw block `block` on; words is scratch of
    SCRATCH * lanes uint32. `words` fills only its first 4 * lanes, with one draw block.
    """

    normals: int
    uniforms: int
    words: int


def _normals32(out, words, rows, lanes, seed, first_path, step, stream, block):
    normals32(
        carray(out, rows * lanes),
        carray(words, SCRATCH * lanes),
        rows,
        lanes,
        seed,
        first_path,
        step,
        stream,
        block,
    )


def _normals64(out, words, rows, lanes, seed, first_path, step, stream, block):
    normals64(
        carray(out, rows * lanes),
        carray(words, SCRATCH * lanes),
        rows,
        lanes,
        seed,
        first_path,
        step,
        stream,
        block,
    )


def _uniforms32(out, words, rows, lanes, seed, first_path, step, stream, block):
    uniforms32(
        carray(out, rows * lanes),
        carray(words, SCRATCH * lanes),
        rows,
        lanes,
        seed,
        first_path,
        step,
        stream,
        block,
    )


def _uniforms64(out, words, rows, lanes, seed, first_path, step, stream, block):
    uniforms64(
        carray(out, rows * lanes),
        carray(words, SCRATCH * lanes),
        rows,
        lanes,
        seed,
        first_path,
        step,
        stream,
        block,
    )


def _words(out, words, rows, lanes, seed, first_path, step, stream, block):
    fill_words(carray(words, SCRATCH * lanes), lanes, seed, first_path, step, stream, block)


FUNCTIONS = {
    "float32": {"normals": _normals32, "uniforms": _uniforms32, "words": _words},
    "float64": {"normals": _normals64, "uniforms": _uniforms64, "words": _words},
}


def signature(dtype: Any) -> Any:
    """Numba signature of a filler."""
    i64 = types.int64
    rows = types.CPointer(from_dtype(np.dtype(dtype)))
    return types.void(rows, types.CPointer(types.uint32), i64, i64, types.uint64, i64, i64, i64, i64)


@cache
def compiled(name: str, which: str) -> Any:
    """The filler `which`, "normals", "uniforms" or "words", for dtype `name`, "float32" or "float64"."""
    return native(FUNCTIONS[name][which], signature(name))


def addresses(dtype: Any, needed: Sequence[str]) -> Fillers:
    """Addresses of those needed, valid for the life of the process; 0 for the others."""
    name = np.dtype(dtype).name
    return Fillers(*(compiled(name, which).address if which in needed else 0 for which in Fillers._fields))
