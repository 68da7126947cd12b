"""Which lanes have left the bound or met an event, and when."""

import numpy as np
from numba import types
from numba.extending import overload

from .calls import call_observe
from .options import INLINED, inlined, inner
from .rows import fill


def moment(time, lane):
    """A lane's time, of one time for all or of a row of times."""
    return time[lane] if np.ndim(time) else time


@overload(moment, jit_options=INLINED, strict=False)
def _moment(time, lane):
    return (lambda time, lane: time[lane]) if isinstance(time, types.Array) else (lambda time, lane: time)


@inlined
def any_lost(x, alive, states, lanes, bound):
    """Whether some lane alive has a state row not within |x| <= bound (NaN is not): one pass that writes nothing."""
    lost = np.int32(0)
    for j in range(states):
        row = x[j * lanes : (j + 1) * lanes]
        for i in range(lanes):
            a = alive[i]
            lost = np.int32(lost | (np.int32(0) if abs(row[i]) <= bound else a))
    return lost != 0


@inner
def bury(x, dead, when, space, states, lanes, bound, state, time):
    """Record new deaths, lanes with a state row not within |x| <= bound, at `state` and `time` (one, or a row); in two more rows of x (if
    it has them) also the first such state row and its value. The state of the dead becomes NaN. Returns how many are left alive."""
    flags, alive = space.flags, space.alive
    fill(flags, np.int32(0), lanes)
    for j in range(states):
        row = x[j * lanes : (j + 1) * lanes]
        for i in range(lanes):
            flags[i] |= np.int32(0) if abs(row[i]) <= bound else np.int32(1)
    left, room = 0, len(x) > states * lanes
    for i in range(lanes):
        if flags[i] != 0 and dead[i] < 0:
            dead[i], when[i] = state, moment(time, i)
            for j in range(states - 1 if room else -1, -1, -1):
                value = x[j * lanes + i]
                if not abs(value) <= bound:
                    x[states * lanes + i], x[(states + 1) * lanes + i] = j, value
        alive[i] = np.int32(1) if dead[i] < 0 else np.int32(0)
        left += alive[i]
        if dead[i] >= 0:
            for j in range(states):
                x[j * lanes + i] = np.nan
    return left


@inner
def watch(program, x, p, dead, when, state, clocks, time, out):
    """Date with `state` and `time` the events (the last observables, one per further row of `dead`) that have become positive; clocks: the
    time as the emitted text takes it."""
    lanes = program.lanes
    events = len(dead) // lanes - 1
    call_observe(program.observe, x, clocks, p, out)
    for e in range(events):
        row = out[(program.observables - events + e) * lanes : (program.observables - events + e + 1) * lanes]
        hit = dead[(1 + e) * lanes : (2 + e) * lanes]
        for i in range(lanes):
            if row[i] > 0 and hit[i] < 0:
                hit[i], when[(1 + e) * lanes + i] = state, moment(time, i)


@inlined
def look(space, program, x, p, dead, when, bound, state, clocks, time, lost, events):
    """Bury the lanes that are lost, if some are, and date events; how many lanes are left alive, -1 for as many as before."""
    left = -1
    if lost:
        left = bury(x, dead, when, space, program.states, program.lanes, bound, state, time)
    if events:
        watch(program, x, p, dead, when, state, clocks, time, space.out)
    return left
