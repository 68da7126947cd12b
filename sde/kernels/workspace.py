"""Scratch of one call of the loop: rows for inputs, normals, samples, clocks and flags."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .compiled_program import Program
from .drivers import TOGETHER, Driver, Halved, Sampled, Weighted
from .random.normal import SCRATCH
from .shared_functions import SharedFunctions

ROWS = ("normal", "uniform", "base", "drawn", "w", "h", "t", "tree", "pending")


LINE = 64
"""Bytes of a cache line: vectors that begin at one are loaded at once."""


def aligned(shape: Any, dtype: Any) -> np.ndarray:
    """Zeros that begin at a cache line."""
    size = (prod(shape) if isinstance(shape, tuple) else shape) * np.dtype(dtype).itemsize
    if size == 0:
        return np.empty(shape, dtype)
    raw = np.zeros(size + LINE, np.uint8)
    first = -raw.__array_interface__["data"][0] % LINE
    return raw[first : first + size].view(dtype).reshape(shape)


def cut(sizes: Mapping[str, tuple[int, Any]]) -> dict[str, np.ndarray]:
    """Zeros {name: (count,)} by count and number type, of one piece of memory, each from a cache line on and one line
    away from the last."""
    places, size = _places(tuple(sizes.values()))
    raw = aligned(size, np.uint8)
    each = zip(sizes.items(), places, strict=True)
    return {name: np.ndarray(count, dtype, raw, place) for (name, (count, dtype)), place in each}


@lru_cache(maxsize=256)
def _places(sizes: tuple[tuple[int, Any], ...]) -> tuple[list[int], int]:
    """Where each begins, in bytes, and how many there are."""
    lines = [0, *accumulate(1 - (-count * np.dtype(dtype).itemsize // LINE) for count, dtype in sizes)]
    return [LINE * first for first in lines[:-1]], LINE * lines[-1]


class Space(NamedTuple):
    """Scratch, and the functions that use it. What the driver does not need is of size 0."""

    functions: SharedFunctions
    words: Any
    spare: Any
    n: Any
    out: Any
    z: Any
    tile: Any  # samples of a network, group by group
    group_x: Any  # states of a group of lanes, and sums for its inputs
    group_n: Any
    normal: Any
    uniform: Any
    base: Any
    drawn: Any
    w: Any
    h: Any
    t: Any
    tree: Any  # increments of halved steps: the whole's, its halves', its quarters'
    pending: Any  # by level, those of the halves of a second half that is yet to come
    trial: Any  # states after a step taken at once, in halves, in quarters
    share: Any  # (lanes,) float64: of the grid's step, what a lane tries
    left: Any  # (lanes,) float64: time that lanes have yet to go
    flags: Any
    alive: Any
    sums: Any  # (lanes,) float64
    index: Any
    stamp: Any
    own_steps: Any  # (4,) int64: steps that paths chose themselves, how many paths gave up, steps rejected, lanes alive
    stop: Any  # (1,) int64, the caller's: once not 0, whatever runs leaves off, and what it leaves is not to be used


def make_space(functions: SharedFunctions, program: Program, driver: Driver, dtype: Any, stop: Any = None) -> Space:
    """Fresh scratch: sizes follow from the problem alone. stop: (1,) int64 that others may set."""
    lanes, rows = program.lanes, driver.rows(16 // np.dtype(dtype).itemsize)
    samples = TOGETHER if isinstance(driver, Sampled) and not program.accumulate else 0
    grouped = program.group if samples or isinstance(driver, Weighted) else 0
    halved = isinstance(driver, Halved)
    batch = driver if isinstance(driver, Sampled) and len(driver.table) else None

    sizes = {
        "words": (SCRATCH * lanes, np.uint32),
        "spare": (lanes, dtype),
        "n": (program.inputs * lanes, dtype),
        "out": (program.observables * lanes, dtype),
        "z": (program.data * lanes, dtype),
        "tile": (samples * program.data * lanes, dtype),
        "group_x": (grouped * program.states, dtype),
        "group_n": (grouped * program.inputs, dtype),
        **{row: (rows.get(row, 0) * (samples if row == "w" and samples else 1) * lanes, dtype) for row in ROWS},
        "trial": (3 * program.states * lanes if halved else 0, dtype),
        "share": (lanes if halved else 0, np.float64),
        "left": (rows.get("left", 0) * lanes, np.float64),
        "flags": (lanes, np.int32),
        "alive": (lanes, np.int32),
        "sums": (lanes, np.float64),
        "index": ((batch.batch if batch else 3 if halved else 0) * lanes, np.int64),
        "stamp": (0 if not batch or batch.replacement else len(batch.table) + 1, np.int64),
        "own_steps": (4, np.int64),
    }
    return Space(functions=functions, stop=np.zeros(1, np.int64) if stop is None else stop, **cut(sizes))
