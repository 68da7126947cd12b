"""What is done with a block's rows, as C functions (see `shared_functions`): combined, recorded where saved, marked
where exploded, dated by events."""

from ctypes import POINTER, c_double, c_int32, c_int64

import numpy as np

from .rows import copy
from .statistics.moments import add_row
from .views import view

LONG = 64
"""Lanes whose copying hides behind sums that wait for each other."""


def combine(out, offset, start, column, value, base, stride, factor, lanes, rows):
    """Rows of out = offset + factor * matrix @ rows of `base`, which begin `stride` entries apart; the matrix in
    compressed rows."""
    offset, start = view(offset, rows), view(start, rows + 1)
    count: int = start[rows]  # type: ignore[assignment]
    column, value = view(column, count), view(value, count)
    for k in range(rows):
        row, fixed = view(out, (k + 1) * lanes)[k * lanes :], offset[k]
        if start[k] == start[k + 1]:
            for i in range(lanes):
                row[i] = fixed
        for j in range(start[k], start[k + 1]):
            c, here = factor * value[j], column[j] * stride
            source = view(base, here + lanes)[here:]
            if j == start[k]:
                for i in range(lanes):
                    row[i] = fixed + c * source[i]
            else:
                for i in range(lanes):
                    row[i] += c * source[i]


def record(cell, row, path, dead, sums, valid, lanes, counted, kept, whole):
    """Merge the lanes of `row` into a cell of statistics (5,) where `counted`, write the first `valid` to `path` where
    `kept`; NaN for the dead. sums: scratch, (lanes,); whole: 1 where all lanes are known to be alive and valid."""
    row, dead = view(row, lanes), view(dead, lanes)
    copied = 0
    if counted != 0:
        copied = 1 if kept != 0 and whole != 0 and lanes >= LONG else 0
        goal = view(path, lanes) if copied != 0 else row
        add_row(view(cell, 5), row, dead, valid, view(sums, lanes), whole != 0, goal)
    if kept != 0 and whole != 0 and copied == 0:
        copy(view(path, lanes), row, lanes)
    if kept != 0 and whole == 0:
        path = view(path, valid)
        for i in range(valid):
            path[i] = row[i] if dead[i] < 0 else np.nan


def mark_exploded(x, dead, when, flags, alive, times, own_steps, stride, states, living, lanes, spare, bound, state):
    """Record new deaths, lanes with one of the first `living` rows not within |x| <= bound, at `state` and
    times[i * stride]; where x has `room`, two more rows, there also the first such state row and its value. The state
    of the dead becomes NaN. own_steps[3]: how many are left alive.
    """
    x = view(x, (states + 2 * spare) * lanes)
    dead, when, flags, alive = view(dead, lanes), view(when, lanes), view(flags, lanes), view(alive, lanes)
    times, own_steps = view(times, lanes), view(own_steps, 4)
    for i in range(lanes):
        flags[i] = 0
    for j in range(living):
        for i in range(lanes):
            flags[i] |= np.int32(0) if abs(x[j * lanes + i]) <= bound else np.int32(1)
    left = 0
    for i in range(lanes):
        if flags[i] != 0 and dead[i] < 0:
            dead[i], when[i] = state, times[i * stride]
            for j in range(living - 1 if spare != 0 else -1, -1, -1):
                value = x[j * lanes + i]
                if not abs(value) <= bound:
                    x[states * lanes + i], x[(states + 1) * lanes + i] = j, value
        alive[i] = np.int32(1) if dead[i] < 0 else np.int32(0)
        left += alive[i]
        if dead[i] >= 0:
            for j in range(states):
                x[j * lanes + i] = np.nan
    own_steps[3] = left


def date(rows, hit, when, times, stride, count, lanes, state):
    """Date with `state` and times[i * stride] the `count` events of which a lane's row has become positive."""
    rows, hit, when = view(rows, count * lanes), view(hit, count * lanes), view(when, count * lanes)
    times = view(times, lanes)
    for e in range(count):
        for i in range(lanes):
            at = e * lanes + i
            if rows[at] > 0 and hit[at] < 0:
                hit[at], when[at] = state, times[i * stride]


def signatures(real):
    """Signatures by name, of ctypes, for the scalar type `real`."""
    i64, x, d = c_int64, POINTER(real), POINTER(c_double)
    i, s = POINTER(i64), POINTER(c_int32)
    return {
        "combine": (None, x, x, i, i, x, x, i64, real, i64, i64),
        "record": (None, d, x, x, i, d, i64, i64, i64, i64, i64),
        "mark_exploded": (None, x, i, d, s, s, d, i, i64, i64, i64, i64, i64, real, i64),
        "date": (None, x, i, d, d, i64, i64, i64, i64),
    }
