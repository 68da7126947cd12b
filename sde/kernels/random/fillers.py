"""Random fills as C functions (out, words, spare, rows, lanes, seed, first_path, step, stream, block), see
`shared_functions`.

They fill rows (row j of lane i at out[j * lanes + i]) from draw block `block` on; words is scratch of SCRATCH * lanes
uint32, spare a row. `words` fills only its first 4 * lanes, with one draw block.
"""

from ctypes import POINTER, c_int64, c_uint32, c_uint64
from typing import Any

import numpy as np
from numpy.ctypeslib import as_ctypes_type

from ..views import view
from .normal import SCRATCH, normals32, normals64, uniforms32, uniforms64
from .philox import fill_words


def _normals32(out, words, spare, rows, lanes, seed, first_path, step, stream, block):
    normals32(
        view(out, rows * lanes),
        view(words, SCRATCH * lanes),
        view(spare, lanes),
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
        view(out, rows * lanes),
        view(words, SCRATCH * lanes),
        view(spare, lanes),
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
        view(out, rows * lanes),
        view(words, SCRATCH * lanes),
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
        view(out, rows * lanes),
        view(words, SCRATCH * lanes),
        rows,
        lanes,
        seed,
        first_path,
        step,
        stream,
        block,
    )


def _words(out, words, spare, rows, lanes, seed, first_path, step, stream, block):
    fill_words(view(words, SCRATCH * lanes), lanes, seed, first_path, step, stream, block)


FUNCTIONS = {
    "float32": {"normals": _normals32, "uniforms": _uniforms32, "words": _words},
    "float64": {"normals": _normals64, "uniforms": _uniforms64, "words": _words},
}


def signature(dtype: Any) -> tuple[Any, ...]:
    """Signature of a filler, of ctypes."""
    i64, rows = c_int64, POINTER(as_ctypes_type(np.dtype(dtype)))
    return None, rows, POINTER(c_uint32), rows, i64, i64, c_uint64, i64, i64, i64, i64
