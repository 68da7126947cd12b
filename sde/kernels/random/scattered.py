"""Words and normals for lanes whose paths are no neighbours: each path has the numbers that it has among them too."""

from ctypes import POINTER, c_int64, c_uint32, c_uint64
from typing import Any

import numpy as np
from numpy.ctypeslib import as_ctypes_type

from ..options import inner
from ..views import view
from .normal import SCRATCH, pair32, pair64
from .philox import draw


@inner
def fill_words_of(words, paths, lanes, seed, step, stream, block):
    """Fill `words` (4 * lanes, uint32; word j of lane i at j * lanes + i) with one draw block of each lane's path."""
    for i in range(lanes):
        w0, w1, w2, w3 = draw(
            np.uint64(seed), np.uint64(paths[i]), np.uint64(step), np.uint64(stream), np.uint64(block)
        )
        words[i] = np.uint32(w0)
        words[lanes + i] = np.uint32(w1)
        words[2 * lanes + i] = np.uint32(w2)
        words[3 * lanes + i] = np.uint32(w3)


def _normals32(out, words, spare, paths, rows, lanes, seed, step, stream, block):
    out, words, spare = view(out, rows * lanes), view(words, SCRATCH * lanes), view(spare, lanes)
    paths = view(paths, lanes)
    for row in range(0, rows, 4):
        fill_words_of(words, paths, lanes, seed, step, stream, block + row // 4)
        for at in range(row, min(row + 4, rows), 2):
            second = out[(at + 1) * lanes : (at + 2) * lanes] if at + 1 < rows else spare
            pair32(words, at - row, lanes, out[at * lanes : (at + 1) * lanes], second)


def _normals64(out, words, spare, paths, rows, lanes, seed, step, stream, block):
    out, words, spare = view(out, rows * lanes), view(words, SCRATCH * lanes), view(spare, lanes)
    paths = view(paths, lanes)
    for row in range(0, rows, 2):
        fill_words_of(words, paths, lanes, seed, step, stream, block + row // 2)
        second = out[(row + 1) * lanes : (row + 2) * lanes] if row + 1 < rows else spare
        pair64(words, lanes, out[row * lanes : (row + 1) * lanes], second)


def _words(out, words, spare, paths, rows, lanes, seed, step, stream, block):
    fill_words_of(view(words, SCRATCH * lanes), view(paths, lanes), lanes, seed, step, stream, block)


FUNCTIONS = {
    "float32": {"normals_of": _normals32, "words_of": _words},
    "float64": {"normals_of": _normals64, "words_of": _words},
}


def signature(dtype: Any) -> tuple[Any, ...]:
    """Signature of a filler of scattered paths, of ctypes."""
    i64, rows = c_int64, POINTER(as_ctypes_type(np.dtype(dtype)))
    return None, rows, POINTER(c_uint32), rows, POINTER(i64), i64, i64, c_uint64, i64, i64, i64
