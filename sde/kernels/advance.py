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
def count_lost(x, alive, flags, states, lanes, bound):
    """Flag lanes with a state row not within |x| <= bound (NaN is not); how many of them were alive."""
    fill(flags, np.int32(0), lanes)
    for j in range(states):
        row = x[j * lanes : (j + 1) * lanes]
        for i in range(lanes):
            flags[i] |= np.int32(0) if abs(row[i]) <= bound else np.int32(1)
    lost = np.int32(0)
    for i in range(lanes):
        lost += np.int32(flags[i] & alive[i])
    return lost


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
def bury(x, dead, alive, flags, states, lanes, state):
    """Record new deaths at `state` and set the state of the dead to NaN; the number of lanes left alive."""
    left = 0
    for i in range(lanes):
        if flags[i] != 0 and dead[i] < 0:
            dead[i] = state
        alive[i] = np.int32(1) if dead[i] < 0 else np.int32(0)
        left += alive[i]
        if dead[i] >= 0:
            for j in range(states):
                x[j * lanes + i] = np.nan
    return left


@inner
def save(program, clock, x, p, dead, valid, state, slot, out, statistics, paths, first_slot):
    """Observe `state` into save number `slot`: merge into statistics and write out paths."""
    lanes = program.lanes
    call_observe(program.observe, x, p.dtype.type(clock.time[state]), p, out)
    scratch = np.empty(2 * lanes)
    for o in range(program.observables):
        row = out[o * lanes : (o + 1) * lanes]
        if statistics.size > 0:
            add_row(statistics[slot, o], row, dead, valid, scratch)
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
    slot = np.int64(0)
    while slot < len(clock.saves) and clock.saves[slot] <= begin:
        slot += 1
    if begin == 0:
        count_lost(x, alive, flags, states, lanes, limit)
    left = bury(x, dead, alive, flags, states, lanes, begin)
    if begin == 0 and slot > 0:
        save(program, clock, x, p, dead, valid, begin, slot - 1, out, statistics, paths, first_slot)
    fill_mean(n, driver.mean, lanes)
    for k in range(begin, end):
        if left > 0:
            scale = real(clock.scale[k])
            if driver.kind == GAUSSIAN:
                fill_gaussian(n, driver, scale, space, lanes, seed, first_path, k, k == begin)
            elif driver.kind == SAMPLED:
                fill_sampled(n, x, p, program.accumulate, driver, space, lanes, seed, first_path, k)
            elif driver.kind == WEIGHTED:
                fill_weighted(n, x, p, program.accumulate, driver, scale, space, lanes, seed, first_path, k)
            call_step(program.step, x, n, real(clock.h[k]), real(clock.time[k]), p)
            if any_lost(x, alive, states, lanes, limit):
                count_lost(x, alive, flags, states, lanes, limit)
                left = bury(x, dead, alive, flags, states, lanes, k + 1)
        if slot < len(clock.saves) and clock.saves[slot] == k + 1:
            save(program, clock, x, p, dead, valid, k + 1, slot, out, statistics, paths, first_slot)
            slot += 1
