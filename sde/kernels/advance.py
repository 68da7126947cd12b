"""The body of the loop: advance blocks of LANES paths, one after another, over a range of steps, whatever the problem
(see `loops`).
"""

import numpy as np

from .calls import call_observe, call_record, expect_write
from .explosions import update_lanes
from .options import inlined
from .step import clocks, take_step


@inlined
def save(space, program, x, p, dead, valid, time, slot, statistics, paths, first_slot, left):
    """Observe the state at `time` into save number `slot`: merge into statistics and write out paths. left: lanes that
    are alive."""
    lanes, out, sums = program.lanes, space.out, space.sums
    counted, kept = 1 if statistics.size > 0 else 0, 1 if paths.size > 0 else 0
    whole = 1 if left == lanes and valid == lanes else 0
    call_observe(program.observe, x, time, p, out)
    for o in range(program.observables + 1 - len(dead) // lanes):
        row = out[o * lanes : (o + 1) * lanes]
        cell = statistics[slot, o] if counted != 0 else sums
        path = paths[slot, o, first_slot:] if kept != 0 else row
        call_record(space.functions.record, cell, row, path, dead, sums, valid, lanes, counted, kept, whole)
        if kept != 0 and slot + 1 < len(paths):
            later = paths[slot + 1, o, first_slot:]
            for at in range(0, valid, 64 // paths.itemsize):
                expect_write(later, at)


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
    limit = x.dtype.type(bound)
    saved = 0
    while saved < len(clock.saves) and begin > 0 and clock.saves[saved] <= begin:
        saved += 1
    for block in range(len(x)):
        at = block * lanes
        count = min(lanes, valid - at)
        mine, exploded, times = x[block], dead[block], when[block]
        slot, left = saved, np.int64(lanes)
        for k in range(begin - 1, end):  # the first time round takes no step: it looks at where the lanes stand
            if space.stop[0] != 0:
                return
            here = k + 1 - clock.first
            now, alive = x.dtype.type(clock.time[here]), np.int64(-1)
            if k < begin:
                time, events = clocks(driver, space.t, now, lanes), begin == 0 and len(exploded) > lanes
                alive = update_lanes(
                    space,
                    program,
                    mine,
                    p,
                    exploded,
                    times,
                    limit,
                    begin,
                    time,
                    clock.time[here:],
                    0,
                    k < begin,
                    events,
                )  # a literal True would compile it a second time
            elif left > 0:
                alive = take_step(
                    driver,
                    space,
                    program,
                    clock,
                    seed,
                    p,
                    mine,
                    exploded,
                    times,
                    first_path + at,
                    count,
                    k,
                    k == begin,
                    limit,
                )
            left = alive if alive >= 0 else left
            if slot < len(clock.saves) and clock.saves[slot] == k + 1:
                time = clocks(driver, space.t, now, lanes)
                save(space, program, mine, p, exploded, count, time, slot, statistics, paths, first_slot + at, left)
                slot += 1
