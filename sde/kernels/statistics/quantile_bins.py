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
from ..options import inner

f32, i32, i64, u16, u32 = np.float32, np.int32, np.int64, np.uint16, np.uint32

OCTAVES = 8
"""The last bin on each side begins 2**OCTAVES - 1 scales from the centre, short of one bin, and has no end."""
BYTES, MOST = 2, 2**16 - 1
"""Bytes of a count, and values that a table holds: small ones stay in the cache next to the values that are counted."""
STRIP = 256
"""Values whose bins are found at once, as unsigned numbers: Numba asks of signed ones whether they count from the
end."""


@inner
def add_strip(strip, size, cells):
    for i in range(size):
        cells[strip[i]] = u16(cells[strip[i]] + u16(1))


def _count32(rows, valid, centre, inverse, bits, strip, table):
    half = i32(OCTAVES << bits)
    shift, base, one = i32(23 - bits), i32(127 << bits), f32(1)
    for k in range(rows.shape[0]):
        row, c, inv = rows[k], centre[k], inverse[k]
        for at in range(0, table.shape[1] if k + 1 < rows.shape[0] else 0, 32):
            expect_write(table[k + 1], at)
        for at in range(0, valid, STRIP):
            size = min(STRIP, valid - at)
            part = row[at : at + size]
            for i in range(size):
                x = part[i]
                j = min(i32(i32(as_int32(f32(abs(x - c) * inv + one)) >> shift) - base), i32(half - i32(1)))
                j = i32(half + j) if x >= c else i32(i32(half - i32(1)) - j)
                strip[i] = u32(j if x - x == 0 else i32(half + half))
            add_strip(strip, size, table[k])


def _count64(rows, valid, centre, inverse, bits, strip, table):
    half = i64(OCTAVES << bits)
    shift, base = i64(52 - bits), i64(1023 << bits)
    for k in range(rows.shape[0]):
        row, c, inv = rows[k], centre[k], inverse[k]
        for at in range(0, table.shape[1] if k + 1 < rows.shape[0] else 0, 32):
            expect_write(table[k + 1], at)
        for at in range(0, valid, STRIP):
            size = min(STRIP, valid - at)
            part = row[at : at + size]
            for i in range(size):
                x = part[i]
                j = min(i64(i64(as_uint64(abs(x - c) * inv + 1.0)) >> shift) - base, half - 1)
                j = half + j if x >= c else half - 1 - j
                strip[i] = u32(j if x - x == 0 else half + half)
            add_strip(strip, size, table[k])


@cache
def _compiled(name: str) -> Any:
    f1, f2 = np.empty(0, name), np.empty((0, 0), name)
    table, strip = np.empty((0, 0), np.uint16), np.empty(0, np.uint32)
    return kernel(_count32 if name == "float32" else _count64, f2, 0, f1, f1, 0, strip, table)


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
    _compiled(rows.dtype.name)(rows, valid, centre, inverse, bits, np.empty(STRIP, np.uint32), table)


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
