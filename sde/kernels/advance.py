"""The body of the loop: advance one block of LANES paths over a range of steps, whatever the problem (see
`loops`).
"""

import numpy as np

from .calls import borrowed, call_observe, call_step
from .drivers import GAUSSIAN, SAMPLED, WEIGHTED
from .inputs import fill, fill_gaussian, fill_mean, fill_sampled, fill_weighted
from .options import inlined, inner
from .scratch import borrow_driver, borrow_space
from .statistics import add_row


@inner
def flag_lost(x, flags, states, lanes, bound):
    """Flag lanes with a state row not within |x| <= bound (NaN is not)."""
    fill(flags, np.int32(0), lanes)
    for j in range(states):
        row = x[j * lanes : (j + 1) * lanes]
        for i in range(lanes):
            flags[i] |= np.int32(0) if abs(row[i]) <= bound else np.int32(1)


@inlined
def any_lost(x, alive, states, lanes, bound):
    """Whether some lane alive has a state row not within |x| <= bound: one pass that writes nothing."""
    lost = np.int32(0)
    for j in range(states):
        row = x[j * lanes : (j + 1) * lanes]
        for i in range(lanes):
            a = alive[i]
            lost = np.int32(lost | (np.int32(0) if abs(row[i]) <= bound else a))
    return lost != 0


@inner
def bury(x, dead, alive, flags, states, lanes, bound, state):
    """Record new deaths at `state`, in two more rows of x (if it has them) also the first state row that left the bound and its value,
    and set the state of the dead to NaN; the number of lanes left alive."""
    left, room = 0, len(x) > states * lanes
    for i in range(lanes):
        if flags[i] != 0 and dead[i] < 0:
            dead[i] = state
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
def watch(program, clock, x, p, dead, state, out):
    """Date with `state` the events (the last observables, one per further row of `dead`) that have become positive."""
    lanes = program.lanes
    events = len(dead) // lanes - 1
    call_observe(program.observe, x, p.dtype.type(clock.time[state - clock.first]), p, out)
    for e in range(events):
        row = out[(program.observables - events + e) * lanes : (program.observables - events + e + 1) * lanes]
        hit = dead[(1 + e) * lanes : (2 + e) * lanes]
        for i in range(lanes):
            if row[i] > 0 and hit[i] < 0:
                hit[i] = state


@inner
def save(program, clock, x, p, dead, valid, state, slot, out, statistics, paths, first_slot):
    """Observe `state` into save number `slot`: merge into statistics and write out paths."""
    lanes = program.lanes
    call_observe(program.observe, x, p.dtype.type(clock.time[state - clock.first]), p, out)
    scratch, gone = np.empty(2 * lanes), dead[:lanes]
    for o in range(program.observables + 1 - len(dead) // lanes):
        row = out[o * lanes : (o + 1) * lanes]
        if statistics.size > 0:
            add_row(statistics[slot, o], row, gone, valid, scratch)
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
    first_path,
    valid,
    begin,
    end,
    bound,
    statistics,
    paths,
    first_slot,
):
    lanes, states = program.lanes, program.states
    space, driver, x, dead = borrow_space(space), borrow_driver(driver), borrowed(x), borrowed(dead)
    p, statistics, paths = borrowed(p), borrowed(statistics), borrowed(paths)
    real = x.dtype.type
    limit = real(bound)
    n, out, flags, alive = space.n, space.out, space.flags, space.alive
    fill(n, real(0), len(n))
    fill(flags, np.int32(0), lanes)
    events = len(dead) > lanes
    slot = np.int64(0)
    while slot < len(clock.saves) and begin > 0 and clock.saves[slot] <= begin:
        slot += 1
    fill_mean(n, driver.mean, lanes)
    left = lanes
    for k in range(begin - 1, end):  # the first time round takes no step: it looks at where the lanes stand
        first = k < begin
        lost = first
        if not first and left > 0:
            scale = real(clock.scale[k - clock.first])
            if driver.kind == GAUSSIAN:
                fill_gaussian(n, driver, scale, space, lanes, seed, first_path, k, k == begin)
            elif driver.kind == SAMPLED:
                fill_sampled(n, x, p, program.accumulate, driver, space, lanes, seed, first_path, k)
            elif driver.kind == WEIGHTED:
                fill_weighted(n, x, p, program.accumulate, driver, scale, space, lanes, seed, first_path, k)
            call_step(program.step, x, n, real(clock.h[k - clock.first]), real(clock.time[k - clock.first]), p)
            lost = any_lost(x, alive, states, lanes, limit)
        stepped = left > 0
        if lost:
            flag_lost(x, flags, states, lanes, limit)
            left = bury(x, dead, alive, flags, states, lanes, limit, k + 1)
        if events and stepped and (k + 1 > begin or begin == 0):
            watch(program, clock, x, p, dead, k + 1, out)
        if slot < len(clock.saves) and clock.saves[slot] == k + 1:
            save(program, clock, x, p, dead, valid, k + 1, slot, out, statistics, paths, first_slot)
            slot += 1
