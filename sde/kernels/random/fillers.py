"""Random fills as C functions (out, words, spare, rows, lanes, seed, first_path, step, stream, block), see
`shared_functions`.

They fill rows (row j of lane i at out[j * lanes + i]) from draw block `block` on; words is scratch of SCRATCH * lanes
uint32, spare a row. `words` fills only its first 4 * lanes, with one draw block.
"""

from typing import Any

import numpy as np
from numba import from_dtype, types
from numba.np.numpy_support import carray

from .normal import SCRATCH, normals32, normals64, uniforms32, uniforms64
from .philox import fill_words


def _normals32(out, words, spare, rows, lanes, seed, first_path, step, stream, block):
    normals32(
        carray(out, rows * lanes),
        carray(words, SCRATCH * lanes),
        carray(spare, lanes),
        rows,
        lanes,
        seed,
        first_path,
        step,
        stream,
        block,
    )


def _normals64(out, words, spare, rows, lanes, seed, first_path, step, stream, block):
    normals64(
        carray(out, rows * lanes),
        carray(words, SCRATCH * lanes),
        carray(spare, lanes),
        rows,
        lanes,
        seed,
        first_path,
        step,
        stream,
        block,
    )


def _uniforms32(out, words, spare, rows, lanes, seed, first_path, step, stream, block):
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


def _uniforms64(out, words, spare, rows, lanes, seed, first_path, step, stream, block):
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


def _words(out, words, spare, rows, lanes, seed, first_path, step, stream, block):
    fill_words(carray(words, SCRATCH * lanes), lanes, seed, first_path, step, stream, block)


FUNCTIONS = {
    "float32": {"normals": _normals32, "uniforms": _uniforms32, "words": _words},
    "float64": {"normals": _normals64, "uniforms": _uniforms64, "words": _words},
}


def signature(dtype: Any) -> Any:
    """Numba signature of a filler."""
    i64 = types.int64
    rows = types.CPointer(from_dtype(np.dtype(dtype)))
    return types.void(rows, types.CPointer(types.uint32), rows, i64, i64, types.uint64, i64, i64, i64, i64)
