"""One step of the grid: for all lanes at once, or for each in steps of its own.

A lane with a clock of its own takes steps that its emitted `pace` allows at its state, never one that looks ahead at
the noise, in equal parts of what is left of the grid's step; it ends exactly there (Fang and Giles, Ann. Appl. Probab.
30 (2020) 526; Kelly and Lord, IMA J. Numer. Anal. 38 (2018) 1523). Its r-th step within step k of the grid takes
normals of its own place, (k, r): they do not depend on the steps of other lanes. Steps by an error estimate: `halving`.
"""

import numpy as np

from .calls import call_pace, call_step
from .drivers import Adaptive, Gaussian, Halved, Mean, Sampled, Weighted
from .explosions import any_exploded, update_lanes
from .fill_inputs import fill_inputs
from .halving import halved_steps
from .options import chosen, inlined, inner
from .random.philox import STREAM_NOISE as NOISE
from .rows import draw_normals, fill, per_block

SHORTEST = 2.0**-100
"""Least step of a lane's own, as a share of the grid's: one so short that only a state whose rates overflow asks for
less."""
MOST_TURNS = 2**20
"""Steps of a lane's own within one of the grid's, after which it counts as exploded: it would never get there."""


@inlined
def _one_clock(driver, rows, time, lanes):
    return time


@inlined
def _own_clocks(driver, rows, time, lanes):
    fill(rows, time, lanes)
    return rows


def clocks(driver, rows, time, lanes):
    """A time of all lanes as the emitted text takes it; rows: space.t."""
    raise NotImplementedError("kernels.step: only inside kernels")


@inlined
def _together(driver, space, program, clock, seed, p, x, dead, when, first_path, valid, k, fresh, bound):
    real, lanes, states = x.dtype.type, program.lanes, program.states
    at = k - clock.first
    fill_inputs(driver, space, program, x, p, real(clock.scale[at]), seed, first_path, k, fresh)
    call_step(program.step, x, space.n, real(clock.h[at]), real(clock.time[at]), p)
    later, exploded = real(clock.time[at + 1]), any_exploded(x, space.alive, states - program.carried, lanes, bound)
    return update_lanes(
        space, program, x, p, dead, when, bound, k + 1, later, clock.time[at + 1 :], 0, exploded, len(dead) > lanes
    )


@inlined
def _shares(space, x, longest, length, start, lanes, program, p):
    """Each lane's next step into space.h, its start into space.t; how many lanes have one to take."""
    real = x.dtype.type
    h, t, rest = space.h, space.t, space.left
    for i in range(lanes):
        h[i], t[i] = longest, real(start + (length - rest[i]))
    call_pace(program.pace, x, h, t, p)
    floor, going = length * SHORTEST, 0
    for i in range(lanes):
        requested = np.float64(h[i]) if h[i] > floor else floor
        parts = np.ceil(rest[i] / requested)
        h[i] = real(rest[i] / parts if parts > 1 else rest[i])
        going += 1 if rest[i] > 0 else 0
    space.own_steps[0] += going
    return going


@inner
def give_up(x, rest, states, lanes):
    """Lose the lanes that have not arrived; how many."""
    exploded = 0
    for i in range(lanes):
        if rest[i] > 0:
            exploded += 1
            for j in range(states):
                x[j * lanes + i] = np.nan
    return exploded


@inlined
def _noise(space, channels, lanes, seed, first_path, k, substep):
    """Normals of variance h in each lane, those of its step number `turn` within step k of the grid."""
    group, root = per_block(space.n), space.w
    if substep % group == 0:
        draw_normals(space, group * channels, lanes, seed, first_path, k, NOISE, substep // group * channels)
    for i in range(lanes):
        root[i] = np.sqrt(space.h[i])
    for j in range(channels):
        row = space.n[j * lanes : (j + 1) * lanes]
        normal = space.normal[(j * group + substep % group) * lanes : (j * group + substep % group + 1) * lanes]
        for i in range(lanes):
            row[i] = root[i] * normal[i]


@inlined
def _own_steps(driver, space, program, clock, seed, p, x, dead, when, first_path, valid, k, fresh, bound):
    real, lanes, states = x.dtype.type, program.lanes, program.states
    start, length, longest = (
        clock.time[k - clock.first],
        real(clock.h[k - clock.first]),
        real(clock.scale[k - clock.first]),
    )
    h, t, rest, times, substep, left = space.h, space.t, space.left, space.sums, 0, np.int64(-1)
    for i in range(lanes):
        rest[i] = length if (space.alive[i] != 0) & (i < valid) else 0.0
    while space.stop[0] == 0 and _shares(space, x, longest, length, start, lanes, program, p) > 0:
        _noise(space, len(driver.channels), lanes, seed, first_path, k, substep)
        call_step(program.step, x, space.n, h, t, p)
        for i in range(lanes):
            rest[i] = rest[i] - h[i] if h[i] < 0.75 * rest[i] else 0.0  # the last of the parts is all that is left
            times[i] = start + (length - rest[i])
            t[i] = real(times[i])
        if substep == MOST_TURNS:
            space.own_steps[1] += give_up(x, rest, states, lanes)
        exploded = any_exploded(x, space.alive, states - program.carried, lanes, bound)
        alive = update_lanes(space, program, x, p, dead, when, bound, k + 1, t, times, 1, exploded, len(dead) > lanes)
        if alive >= 0:
            left = alive
            for i in range(lanes):
                rest[i] = rest[i] if space.alive[i] != 0 else 0.0
        substep += 1
    return left


def take_step(driver, space, program, clock, seed, p, x, dead, when, first_path, valid, k, fresh, bound):
    """Take step k of the grid, looking for exploded lanes and events; how many lanes are left alive, -1 for as many as
    before."""
    raise NotImplementedError("kernels.step: only inside kernels")


SHARED = (Mean, Gaussian, Sampled, Weighted)
chosen(clocks, {Adaptive: _own_clocks, Halved: _own_clocks, **dict.fromkeys(SHARED, _one_clock)})
chosen(take_step, {Adaptive: _own_steps, Halved: halved_steps, **dict.fromkeys(SHARED, _together)})
