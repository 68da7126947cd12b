"""The body of the loop: advance one block of LANES paths over a range of steps, whatever the problem (see
`loops`).
"""

import numpy as np

from .calls import borrowed, call_observe
from .lost import look
from .moves import clocks, move
from .options import inner
from .rows import fill
from .statistics import add_row


@inner
def save(space, program, x, p, dead, valid, time, slot, statistics, paths, first_slot):
    """Observe the state at `time` into save number `slot`: merge into statistics and write out paths."""
    lanes, out = program.lanes, space.out
    call_observe(program.observe, x, time, p, out)
    gone = dead[:lanes]
    for o in range(program.observables + 1 - len(dead) // lanes):
        row = out[o * lanes : (o + 1) * lanes]
        if statistics.size > 0:
            add_row(statistics[slot, o], row, gone, valid, space.sums)
        if paths.size > 0:
            for i in range(valid):
                paths[slot, o, first_slot + i] = row[i] if dead[i] < 0 else np.nan


def advance(
    space,
    program,
    driver,
    clock,
    seed,
    p,
    x,
    dead,
    when,
    first_path,
    valid,
    begin,
    end,
    bound,
    statistics,
    paths,
    first_slot,
):
    lanes = program.lanes
    space, driver, x, dead, when = borrowed(space), borrowed(driver), borrowed(x), borrowed(dead), borrowed(when)
    p, statistics, paths = borrowed(p), borrowed(statistics), borrowed(paths)
    real = x.dtype.type
    limit = real(bound)
    fill(space.n, real(0), len(space.n))
    slot, left = 0, lanes
    while slot < len(clock.saves) and begin > 0 and clock.saves[slot] <= begin:
        slot += 1
    for k in range(begin - 1, end):  # the first time round takes no step: it looks at where the lanes stand
        now = clock.time[k + 1 - clock.first]
        alive = -1
        if k < begin:
            time, events = clocks(driver, space, real(now), lanes), begin == 0 and len(dead) > lanes
            alive = look(space, program, x, p, dead, when, limit, begin, time, now, True, events)
        elif left > 0:
            alive = move(driver, space, program, clock, seed, p, x, dead, when, first_path, valid, k, k == begin, limit)
        left = alive if alive >= 0 else left
        if slot < len(clock.saves) and clock.saves[slot] == k + 1:
            time = clocks(driver, space, real(now), lanes)
            save(space, program, x, p, dead, valid, time, slot, statistics, paths, first_slot)
            slot += 1
