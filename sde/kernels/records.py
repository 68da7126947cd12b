"""What is done with a block's rows, as C functions (see `shared_functions`): combined, recorded where saved, marked
where exploded, dated by events."""

import numpy as np
from numba import types
from numba.np.numpy_support import carray

from .rows import copy
from .statistics.moments import add_row


def combine(out, offset, start, column, value, base, stride, factor, lanes, rows):
    """Rows of out = offset + factor * matrix @ rows of `base`, which begin `stride` entries apart; the matrix in
    compressed rows."""
    offset, start = carray(offset, rows), carray(start, rows + 1)
    count: int = start[rows]  # type: ignore[assignment]
    column, value = carray(column, count), carray(value, count)
    for k in range(rows):
        row, fixed = carray(out, (k + 1) * lanes)[k * lanes :], offset[k]
        if start[k] == start[k + 1]:
            for i in range(lanes):
                row[i] = fixed
        for j in range(start[k], start[k + 1]):
            c, here = factor * value[j], column[j] * stride
            source = carray(base, here + lanes)[here:]
            if j == start[k]:
                for i in range(lanes):
                    row[i] = fixed + c * source[i]
            else:
                for i in range(lanes):
                    row[i] += c * source[i]


def record(cell, row, path, dead, sums, valid, lanes, counted, kept, whole):
    """Merge the lanes of `row` into a cell of statistics (5,) where `counted`, write the first `valid` to `path` where
    `kept`; NaN for the dead. sums: scratch, (lanes,); whole: 1 where all lanes are known to be alive and valid."""
    row, dead = carray(row, lanes), carray(dead, lanes)
    if counted != 0:
        add_row(carray(cell, 5), row, dead, valid, carray(sums, lanes), whole != 0)
    if kept != 0 and whole != 0:
        copy(carray(path, lanes), row, lanes)
    elif kept != 0:
        path = carray(path, valid)
        for i in range(valid):
            path[i] = row[i] if dead[i] < 0 else np.nan


def mark_exploded(x, dead, when, flags, alive, times, own_steps, stride, states, lanes, spare, bound, state):
    """Record new deaths, lanes with a state row not within |x| <= bound, at `state` and times[i * stride]; where x has
    `room`, two more rows, there also the first such state row and its value. The state of the dead becomes NaN.
    own_steps[2]: how many are left alive.
    """
    x = carray(x, (states + 2 * spare) * lanes)
    dead, when, flags, alive = carray(dead, lanes), carray(when, lanes), carray(flags, lanes), carray(alive, lanes)
    times, own_steps = carray(times, lanes), carray(own_steps, 3)
    for i in range(lanes):
        flags[i] = 0
    for j in range(states):
        for i in range(lanes):
            flags[i] |= np.int32(0) if abs(x[j * lanes + i]) <= bound else np.int32(1)
    left = 0
    for i in range(lanes):
        if flags[i] != 0 and dead[i] < 0:
            dead[i], when[i] = state, times[i * stride]
            for j in range(states - 1 if spare != 0 else -1, -1, -1):
                value = x[j * lanes + i]
                if not abs(value) <= bound:
                    x[states * lanes + i], x[(states + 1) * lanes + i] = j, value
        alive[i] = np.int32(1) if dead[i] < 0 else np.int32(0)
        left += alive[i]
        if dead[i] >= 0:
            for j in range(states):
                x[j * lanes + i] = np.nan
    own_steps[2] = left


def date(rows, hit, when, times, stride, count, lanes, state):
    """Date with `state` and times[i * stride] the `count` events of which a lane's row has become positive."""
    rows, hit, when = carray(rows, count * lanes), carray(hit, count * lanes), carray(when, count * lanes)
    times = carray(times, lanes)
    for e in range(count):
        for i in range(lanes):
            at = e * lanes + i
            if rows[at] > 0 and hit[at] < 0:
                hit[at], when[at] = state, times[i * stride]


def signatures(real):
    """Numba signatures by name, for the scalar type `real`."""
    i64, x, d = types.int64, types.CPointer(real), types.CPointer(types.float64)
    i, s = types.CPointer(i64), types.CPointer(types.int32)
    return {
        "combine": types.void(x, x, i, i, x, x, i64, real, i64, i64),
        "record": types.void(d, x, x, i, d, i64, i64, i64, i64, i64),
        "mark_exploded": types.void(x, i, d, s, s, d, i, i64, i64, i64, i64, real, i64),
        "date": types.void(x, i, d, d, i64, i64, i64, i64),
    }
