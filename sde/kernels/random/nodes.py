"""Normals for lanes that each stand at a node of their own, in the tree of a step's halves."""

from ctypes import POINTER, c_int64, c_uint32, c_uint64
from typing import Any

import numpy as np
from numpy.ctypeslib import as_ctypes_type

from ..options import inner
from ..views import view
from .normal import SCRATCH, pair32, pair64
from .philox import draw


@inner
def fill_words_at(words, nodes, each, lanes, seed, first_path, step, stream, block):
    """Fill `words` (4 * lanes, uint32; word j of lane i at j * lanes + i) with draw block `block` of each lane's node,
    of `each` a node."""
    for i in range(lanes):
        path, at = np.uint64(first_path) + np.uint64(i), np.uint64(nodes[i] * each + block)
        w0, w1, w2, w3 = draw(np.uint64(seed), path, np.uint64(step), np.uint64(stream), at)
        words[i] = np.uint32(w0)
        words[lanes + i] = np.uint32(w1)
        words[2 * lanes + i] = np.uint32(w2)
        words[3 * lanes + i] = np.uint32(w3)


def _normals32(out, words, spare, nodes, rows, lanes, seed, first_path, step, stream):
    out, words, spare = view(out, rows * lanes), view(words, SCRATCH * lanes), view(spare, lanes)
    nodes, each = view(nodes, lanes), (rows + 3) // 4
    for row in range(0, rows, 4):
        fill_words_at(words, nodes, each, lanes, seed, first_path, step, stream, row // 4)
        for at in range(row, min(row + 4, rows), 2):
            second = out[(at + 1) * lanes : (at + 2) * lanes] if at + 1 < rows else spare
            pair32(words, at - row, lanes, out[at * lanes : (at + 1) * lanes], second)


def _normals64(out, words, spare, nodes, rows, lanes, seed, first_path, step, stream):
    out, words, spare = view(out, rows * lanes), view(words, SCRATCH * lanes), view(spare, lanes)
    nodes, each = view(nodes, lanes), (rows + 1) // 2
    for row in range(0, rows, 2):
        fill_words_at(words, nodes, each, lanes, seed, first_path, step, stream, row // 2)
        second = out[(row + 1) * lanes : (row + 2) * lanes] if row + 1 < rows else spare
        pair64(words, lanes, out[row * lanes : (row + 1) * lanes], second)


FUNCTIONS = {"float32": {"normals_at": _normals32}, "float64": {"normals_at": _normals64}}


def signature(dtype: Any) -> tuple[Any, ...]:
    """Signature of a filler of nodes, of ctypes."""
    i64, rows = c_int64, POINTER(as_ctypes_type(np.dtype(dtype)))
    return None, rows, POINTER(c_uint32), rows, POINTER(i64), i64, i64, c_uint64, i64, i64, i64
