"""The loop: advance one block of LANES paths over a range of steps, whatever the problem.

Compiled once per dtype and cached on disk; a problem enters as addresses (`programs`), a driver (`drivers`) and arrays.
State k is the state after k steps. A path's bits depend on (seed, path) and the problem only.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, types

from .calls import call_observe, call_step
from .drivers import GAUSSIAN, SAMPLED, WEIGHTED, Driver, Sparse
from .fillers import Fillers, addresses
from .inputs import GROUP, fill, fill_gaussian, fill_mean, fill_sampled, fill_weighted
from .options import inner, kernel
from .programs import Program
from .statistics import add_row


class Clock(NamedTuple):
    """Per-step arrays by absolute step, float64: time (T + 1,), h (T,), scale (T,); and `saves`, sorted int64 state numbers."""

    time: Any
    h: Any
    scale: Any
    saves: Any


class Space(NamedTuple):
    """Scratch of one call, and the fillers that use it."""

    fillers: Fillers
    words: Any
    normal: Any
    uniform: Any
    base: Any
    drawn: Any
    z: Any
    w: Any
    index: Any
    stamp: Any


@inner
def check(program, driver, clock, p, x, dead, valid, begin, end, statistics, paths, first_slot):
    """Refuse what would read or write out of bounds: a wrong shape must be an error, not a crash."""
    lanes, saves, observables = program.lanes, len(clock.saves), program.observables
    if len(x) != program.states * lanes or len(dead) != lanes or not 0 <= valid <= lanes:
        raise ValueError("kernels.loops: x must have states * lanes entries, dead must have lanes, valid be within lanes")
    if not 0 <= begin <= end <= min(len(clock.h), len(clock.scale), len(clock.time) - 1):
        raise ValueError("kernels.loops: steps must lie within the clock: h, scale (T,) and time (T + 1,)")
    if program.step == 0 or program.observe == 0 or (driver.kind >= SAMPLED and program.accumulate == 0):
        raise ValueError("kernels.loops: step and observe, and accumulate for data drivers, must be compiled functions")
    if statistics.size > 0 and (statistics.shape[0] != saves or statistics.shape[1] != observables):
        raise ValueError("kernels.loops: statistics must have shape (saves, observables, 5)")
    if paths.size > 0 and (paths.shape[0] != saves or paths.shape[1] != observables):
        raise ValueError("kernels.loops: paths must have shape (saves, observables, slots)")
    if paths.size > 0 and not 0 <= first_slot <= paths.shape[2] - valid:
        raise ValueError("kernels.loops: paths must have a slot for every valid lane")
    if driver.kind < SAMPLED and len(driver.mean) != program.inputs:
        raise ValueError("kernels.loops: the driver's mean must have one entry per input row")
    rows = len(driver.table_rows) + len(driver.law_rows)
    if rows > 0 and (max_of(driver.table_rows) >= program.data or max_of(driver.law_rows) >= program.data):
        raise ValueError("kernels.loops: table_rows and law_rows must be data rows of the program")


@inner
def max_of(rows):
    largest = np.int64(-1)
    for row in rows:
        largest = max(largest, row)
    return largest


@inner
def make_space(fillers, program, driver, n):
    """Scratch for one call: three allocations, cut up."""
    lanes = program.lanes
    normal = max(GROUP * max(driver.normals, 1), driver.channels) * lanes
    uniform = normal + GROUP * len(driver.chance) * lanes
    base = uniform + max(driver.normals + len(driver.chance), 1) * lanes
    drawn = base + len(driver.location) * lanes
    z = drawn + program.data * lanes
    real = np.zeros(z + lanes, n.dtype)
    index = driver.batch * lanes if len(driver.table) > 0 else 0
    stamp = 0 if driver.replacement else len(driver.table) + 1
    whole = np.zeros(index + stamp, np.int64)
    return Space(
        fillers,
        np.zeros(4 * lanes, np.uint32),
        real[:normal],
        real[normal:uniform],
        real[uniform:base],
        real[base:drawn],
        real[drawn:z],
        real[z:],
        whole[:index],
        whole[index:],
    )


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
    for o in range(program.observables):
        row = out[o * lanes : (o + 1) * lanes]
        if statistics.size > 0:
            add_row(statistics[slot, o], row, dead, valid)
        if paths.size > 0:
            for i in range(valid):
                paths[slot, o, first_slot + i] = row[i] if dead[i] < 0 else np.nan


def _run_block(
    fillers, program, driver, clock, seed, p, x, dead, first_path, valid, begin, end, bound, statistics, paths, first_slot
):
    lanes, states = program.lanes, program.states
    real = x.dtype.type
    limit = real(bound)
    check(program, driver, clock, p, x, dead, valid, begin, end, statistics, paths, first_slot)
    n = np.zeros(program.inputs * lanes, x.dtype)
    out = np.zeros(program.observables * lanes, x.dtype)
    flags, alive = np.zeros(lanes, np.int32), np.zeros(lanes, np.int32)
    space = make_space(fillers, program, driver, n)
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
                fill_gaussian(n, driver, scale, space, lanes, seed, first_path, k)
            elif driver.kind == SAMPLED:
                fill_sampled(n, x, p, program.accumulate, driver, space, lanes, seed, first_path, k)
            elif driver.kind == WEIGHTED:
                fill_weighted(n, x, p, program.accumulate, driver, scale, space, lanes, seed, first_path, k)
            call_step(program.step, x, n, real(clock.h[k]), real(clock.time[k]), p)
            if count_lost(x, alive, flags, states, lanes, limit) > 0:
                left = bury(x, dead, alive, flags, states, lanes, k + 1)
        if slot < len(clock.saves) and clock.saves[slot] == k + 1:
            save(program, clock, x, p, dead, valid, k + 1, slot, out, statistics, paths, first_slot)
            slot += 1


def _named(kind: Any, *fields: Any) -> Any:
    return types.NamedTuple(fields, kind)


def _signature(dtype: Any) -> Any:
    real, i64 = from_dtype(np.dtype(dtype)), types.int64
    f1, d1, i1 = (types.Array(t, 1, "C") for t in (real, types.float64, i64))
    matrix = _named(Sparse, i1, i1, f1)
    table = types.Array(real, 2, "C")
    driver = _named(
        Driver, i64, f1, i64, matrix, i64, types.boolean, table, i1, f1, i64, f1, f1, matrix, i1
    )
    program = types.NamedUniTuple(i64, len(Program._fields), Program)
    clock = _named(Clock, d1, d1, d1, i1)
    statistics, paths = types.Array(types.float64, 3, "C"), types.Array(real, 3, "C")
    fillers = types.NamedUniTuple(i64, len(Fillers._fields), Fillers)
    return types.void(
        fillers, program, driver, clock, types.uint64, f1, f1, i1, i64, i64, i64, i64, types.float64, statistics, paths, i64
    )


def run_block(dtype: Any) -> Any:
    """The compiled loop for float32 or float64. Releases the GIL; call it from as many threads as there are blocks in flight.

    run(program, driver, clock, seed, p, x, dead, first_path, valid, begin, end, bound, statistics, paths, first_slot)

    seed uint64; p (P,) F parameters; x (S * lanes,) F and dead (lanes,) int64 are carried by the caller from segment to segment
    (dead starts at -1 and becomes the first state number at which a state row is not within `bound`; such a lane turns NaN).
    Lane i is path first_path + i; only lanes below `valid` count. Steps begin..end-1 are taken; saves in (begin, end], and save 0 if
    begin is 0, are merged into statistics (saves, O, 5) float64 and written to paths (saves, O, slots) F at first_slot + i, NaN for
    dead lanes; either may have size 0 and is then left out. Arrays must be C-contiguous and writable.
    """
    return _compiled(np.dtype(dtype))


@cache
def _compiled(dtype: Any) -> Any:
    return partial(kernel(_run_block, _signature(dtype)), addresses(dtype))
