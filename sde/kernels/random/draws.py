"""Random rows from Python: start laws, tests, oracles. The same numbers as inside the loop."""

import ctypes
from typing import Any

import numpy as np

from ..shared_functions import compiled
from .normal import SCRATCH
from .philox import STREAM_NOISE, STREAM_START


def _fill(
    which: str,
    rows: int,
    lanes: int,
    seed: int,
    first_path: int,
    step: int,
    stream: int,
    block: int,
    dtype: Any,
) -> np.ndarray:
    out, words, spare = np.empty((rows, lanes), dtype), np.empty(SCRATCH * lanes, np.uint32), np.empty(lanes, dtype)
    filler = compiled(out.dtype.name, which).ctypes
    pointers = (a.ctypes.data_as(kind) for a, kind in zip((out, words, spare), filler.argtypes, strict=False))
    filler(*pointers, rows, lanes, ctypes.c_uint64(seed), first_path, step, stream, block)
    return out


def normals(
    rows: int,
    lanes: int,
    seed: int,
    first_path: int = 0,
    step: int = 0,
    stream: int = STREAM_START,
    block: int = 0,
    dtype: Any = np.float64,
) -> np.ndarray:
    """Standard normals (rows, lanes), float32 or float64; column i belongs to path first_path + i."""
    return _fill("normals", rows, lanes, seed, first_path, step, stream, block, dtype)


def step_normals(
    channels: int,
    lanes: int,
    seed: int,
    first_path: int = 0,
    step: int = 0,
    dtype: Any = np.float64,
) -> np.ndarray:
    """The standard normals (channels, lanes) that a Gaussian driver with that many channels takes at `step`."""
    group = 16 // np.dtype(dtype).itemsize
    rows = normals(group * channels, lanes, seed, first_path, step // group, STREAM_NOISE, 0, dtype)
    return rows[step % group :: group]


def uniforms(
    rows: int,
    lanes: int,
    seed: int,
    first_path: int = 0,
    step: int = 0,
    stream: int = STREAM_START,
    block: int = 0,
    dtype: Any = np.float64,
) -> np.ndarray:
    """Uniforms in the open interval (0, 1), shape (rows, lanes): odd multiples of 2**-24 (float32) or 2**-53
    (float64).
    """
    return _fill("uniforms", rows, lanes, seed, first_path, step, stream, block, dtype)
