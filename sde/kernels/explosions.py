"""Which lanes have left the bound or met an event, and when."""

import numpy as np

from .calls import call_date, call_mark_exploded, call_observe
from .options import inlined


@inlined
def any_exploded(x, alive, states, lanes, bound):
    """Whether some lane alive has one of the first `states` rows not within |x| <= bound (NaN is not): one pass that
    writes nothing."""
    exploded = np.int32(0)
    for j in range(states):
        row = x[j * lanes : (j + 1) * lanes]
        for i in range(lanes):
            a = alive[i]
            exploded = np.int32(exploded | (np.int32(0) if abs(row[i]) <= bound else a))
    return exploded != 0


@inlined
def update_lanes(space, program, x, p, dead, when, bound, state, clocks, times, stride, exploded, events):
    """Mark the lanes that have exploded, if some have, and date events, at times[i * stride]; how many lanes are left
    alive, -1 for as many as before. clocks: the time as the emitted text takes it."""
    lanes, states, left = program.lanes, program.states, np.int64(-1)
    if exploded:
        spare = 1 if len(x) > states * lanes else 0
        address, rows = space.functions.mark_exploded, (space.flags, space.alive)
        living = states - program.carried
        call_mark_exploded(
            address, x, dead, when, *rows, times, space.own_steps, stride, states, living, lanes, spare, bound, state
        )
        left = space.own_steps[3]
    if events:
        count = len(dead) // lanes - 1
        call_observe(program.observe, x, clocks, p, space.out)
        rows = space.out[(program.observables - count) * lanes :]
        call_date(space.functions.date, rows, dead[lanes:], when[lanes:], times, stride, count, lanes, state)
    return left
