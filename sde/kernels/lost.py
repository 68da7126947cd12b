"""Which lanes have left the bound or met an event, and when."""

import numpy as np

from .calls import call_bury, call_date, call_observe
from .options import inlined


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


@inlined
def look(space, program, x, p, dead, when, bound, state, clocks, times, stride, lost, events):
    """Bury the lanes that are lost, if some are, and date events, at times[i * stride]; how many lanes are left alive, -1 for as many as
    before. clocks: the time as the emitted text takes it."""
    lanes, states, left = program.lanes, program.states, np.int64(-1)
    if lost:
        room = 1 if len(x) > states * lanes else 0
        address, flags, alive = space.natives.bury, space.flags, space.alive
        call_bury(address, x, dead, when, flags, alive, times, space.tally, stride, states, lanes, room, bound, state)
        left = space.tally[2]
    if events:
        count = len(dead) // lanes - 1
        call_observe(program.observe, x, clocks, p, space.out)
        rows = space.out[(program.observables - count) * lanes :]
        call_date(space.natives.date, rows, dead[lanes:], when[lanes:], times, stride, count, lanes, state)
    return left
