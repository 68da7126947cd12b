"""Counts of many values in bins whose layout was fixed beforehand: what quantiles over any number of paths come from.

With v = |x - centre| / scale + 1, the bin is the top OCTAVES exponents and `bits` mantissa bits of the float v, on x's
side of the centre: bins are equal within one scale of the centre and grow in proportion beyond (2**-bits of v). Counts
are integers, so adding up is exact in any order. A row of a table has the bins from low to high, then one more for what
is not a finite number.
"""

from functools import cache
from typing import Any

import numpy as np

from ..calls import expect_write
from ..machine_code import kernel
from ..math.bits import as_int32, as_uint64
from ..options import INNER, inlined, inner, overloaded, types

f32, i32, i64, u16, u32 = np.float32, np.int32, np.int64, np.uint16, np.uint32

OCTAVES = 8
"""The last bin on each side begins 2**OCTAVES - 1 scales from the centre, short of one bin, and has no end."""
BYTES, MOST = 2, 2**16 - 1
"""Bytes of a count, and values that a table holds: small ones stay in the cache next to the values that are counted."""
STRIP, STRIPS, BEHIND = 32, 4, 2
"""Values whose bins are found at once, as unsigned numbers: Numba asks of signed ones whether they count from the end.
The strip that many before is counted meanwhile, whose stores are over by then: the one is bound by arithmetic, the
other by stores."""


@inlined
def _find32(values, size, c, inv, bits, found):
    half, base = i32(OCTAVES << bits), i32(127 << bits)
    shift = i32(i32(23 - bits) & i32(31))  # below the width, as LLVM is to see, or it shifts numbers of twice the width
    for i in range(size):
        x = values[i]
        j = min(i32(i32(as_int32(f32(abs(x - c) * inv + f32(1))) >> shift) - base), i32(half - i32(1)))
        j = i32(half + j) if x >= c else i32(i32(half - i32(1)) - j)
        found[i] = u32(j if x - x == 0 else i32(half + half))


@inlined
def _find64(values, size, c, inv, bits, found):
    half, base = i64(OCTAVES << bits), i64(1023 << bits)
    shift = i64(52 - bits) & i64(63)
    for i in range(size):
        x = values[i]
        j = min(i64(i64(as_uint64(abs(x - c) * inv + 1.0)) >> shift) - base, half - 1)
        j = half + j if x >= c else half - 1 - j
        found[i] = u32(j if x - x == 0 else half + half)


def find(values, size, c, inv, bits, found):
    """Bins of values into found, both (>= size,)."""
    (_find32 if values.dtype == f32 else _find64)(values, size, c, inv, bits, found)


def _choose(values, size, c, inv, bits, found):
    of = _find32 if values.dtype == types.float32 else _find64
    return lambda values, size, c, inv, bits, found: of(values, size, c, inv, bits, found)


overloaded(find, _choose)


@inner
def add(bins, size, cells):
    """Count bins (>= size,) in cells."""
    for i in range(size):
        cells[bins[i]] = u16(cells[bins[i]] + u16(1))


def _count(rows, valid, centre, inverse, bits, strips, table):
    whole = valid // STRIP
    for k in range(rows.shape[0]):
        row, c, inv, cells = rows[k], centre[k], inverse[k], table[k]
        for at in range(0, table.shape[1] if k + 1 < rows.shape[0] else 0, 32):
            expect_write(table[k + 1], at)
        for n in range(whole + BEHIND):
            if n < whole:
                find(row[n * STRIP : n * STRIP + STRIP], STRIP, c, inv, bits, strips[n & (STRIPS - 1)])
            if n >= BEHIND:
                add(strips[(n - BEHIND) & (STRIPS - 1)], STRIP, cells)
        left = valid - whole * STRIP
        find(row[whole * STRIP : valid], left, c, inv, bits, strips[0])
        add(strips[0], left, cells)


@cache
def _compiled(name: str) -> Any:
    f1, f2 = np.empty(0, name), np.empty((0, 0), name)
    table, strips = np.empty((0, 0), np.uint16), np.empty((0, 0), np.uint32)
    return kernel(_count, f2, 0, f1, f1, 0, strips, table, options={**INNER, "distinct": True})


def load(dtype: Any) -> None:
    """Compile now, or load from the cache, what `count` needs."""
    _compiled(np.dtype(dtype).name)


def empty(cells: int, bits: int) -> np.ndarray:
    """A table of nothing: (cells, bins + 1) uint16."""
    return np.zeros((cells, 2 * (OCTAVES << bits) + 1), dtype=np.uint16)


def count(rows: np.ndarray, valid: int, centre: np.ndarray, inverse: np.ndarray, bits: int, table: np.ndarray) -> None:
    """Count columns 0..valid-1 of rows (cells, n) F into table (cells, bins + 1) uint16, which must
    not overflow. centre, inverse: (cells,) F, finite, inverse = 1 /
    scale > 0. Releases the GIL. Raises ValueError for shapes that do not fit."""
    cells = len(rows)
    if table.shape != (cells, 2 * (OCTAVES << bits) + 1) or not 0 <= valid <= rows.shape[1] or not 0 < bits < 20:
        raise ValueError(
            f"kernels.sketch: table and rows must fit; got {table.shape} for {rows.shape} (tuple). Use empty()."
        )
    if centre.shape != (cells,) or inverse.shape != (cells,):
        raise ValueError(
            f"kernels.sketch: a centre and a scale per cell are needed; got {centre.shape} (tuple). Use ({cells},)."
        )
    _compiled(rows.dtype.name)(rows, valid, centre, inverse, bits, np.empty((STRIPS, STRIP), np.uint32), table)


@cache
def edges(bits: int) -> np.ndarray:
    """Edges of the bins in scales from the centre, (bins + 1,) increasing, not to be written to; the outermost are
    infinite."""
    j = np.arange(OCTAVES << bits)
    side = np.exp2(j >> bits) * (1 + (j & ((1 << bits) - 1)) / (1 << bits)) - 1
    side = np.append(side, np.inf)
    found = np.concatenate([-side[:0:-1], side])
    found.flags.writeable = False
    return found
