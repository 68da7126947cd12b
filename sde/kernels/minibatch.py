"""Minibatches: rows of a data set, drawn with or without replacement, and draws from a law."""

import numpy as np

from .calls import call_accumulate, call_fill, call_sweep
from .drivers import GROUP, TOGETHER
from .math import log
from .options import inner
from .random.philox import MASK, draw
from .random.philox import STREAM_SAMPLES as SAMPLES
from .rows import combine, copy, copy_rows, draw_normals, fill, per_block

UNIFORM_BLOCKS = 0x40000000
INDEX_BLOCKS = 0x80000000
RETRY_BLOCKS = 0xC0000000


@inner
def unbiased_index(word, bound, seed, path, step, sample):
    """Exactly uniform integer in [0, bound) from a 32-bit word, by Lemire's method (ACM TOMACS 2019).

    The product's low half must reach 2**32 mod bound; else fresh words are tried, from counters of this
    sample alone.
    """
    product = np.uint64(word) * np.uint64(bound)
    if (product & MASK) < np.uint64(bound):
        floor = np.uint64(0x100000000) % np.uint64(bound)
        attempt = 0
        while (product & MASK) < floor:
            block = np.uint64(RETRY_BLOCKS + 16 * sample + attempt % 16)
            fresh = draw(np.uint64(seed), np.uint64(path), np.uint64(step), np.uint64(SAMPLES), block)
            product = fresh[(attempt // 16) % 4] * np.uint64(bound)
            attempt += 1
    return np.int64(product >> np.uint64(32))


@inner
def fill_indices(driver, space, lanes, seed, first_path, step):
    """index[s * lanes + i] = table row of sample s in lane i.

    Without replacement: Floyd's algorithm (Bentley and Floyd, CACM 1987), an exactly uniform subset. stamp (N
    + 1,) int64 marks the rows taken by the current lane; its last entry counts lanes.
    """
    rows, batch, index, stamp = len(driver.table), driver.batch, space.index, space.stamp
    words = space.words
    for s in range(batch):
        if s % 4 == 0:
            if space.stop[0] != 0:
                return
            call_fill(
                space.functions.words,
                space.spare,
                words,
                space.spare,
                0,
                lanes,
                seed,
                first_path,
                step,
                SAMPLES,
                INDEX_BLOCKS + s // 4,
            )
        bound = rows if driver.replacement else rows - batch + s + 1
        at = (s % 4) * lanes
        for i in range(lanes):
            index[s * lanes + i] = unbiased_index(words[at + i], bound, seed, first_path + i, step, s)
    if not driver.replacement:
        for i in range(lanes):
            if space.stop[0] != 0:
                return
            stamp[rows] += 1
            mark = stamp[rows]
            for s in range(batch):
                chosen = index[s * lanes + i]
                if stamp[chosen] == mark:
                    chosen = rows - batch + s
                    index[s * lanes + i] = chosen
                stamp[chosen] = mark


@inner
def fill_base(driver, space, lanes, seed, first_path, step, first_sample, samples):
    """Base variables of `samples` consecutive samples; a group of four normals or uniforms wastes no draw."""
    per, uniform = per_block(space.normal), space.uniform
    count = driver.normals
    draw_normals(space, samples * count, lanes, seed, first_path, step, SAMPLES, first_sample * count // per)
    count = len(driver.chance)
    block = UNIFORM_BLOCKS + first_sample * count // per
    call_fill(
        space.functions.uniforms,
        uniform,
        space.words,
        space.spare,
        samples * count,
        lanes,
        seed,
        first_path,
        step,
        SAMPLES,
        block,
    )
    for r in range(samples * count):
        q = driver.chance[r % count]
        row = uniform[r * lanes : (r + 1) * lanes]
        if q >= 0:
            for i in range(lanes):
                row[i] = 1.0 if row[i] < q else 0.0
        elif q < -1.5:
            for i in range(lanes):
                row[i] = -log(row[i])


@inner
def _draw_row(driver, space, lanes, seed, first_path, step, s):
    """space.z = sample s of each lane."""
    z, one, drawn = space.z, space.z.dtype.type(1), len(driver.location)
    normals, uniforms = driver.normals, len(driver.chance)
    for c in range(len(driver.table_rows)):
        row = z[driver.table_rows[c] * lanes : (driver.table_rows[c] + 1) * lanes]
        for i in range(lanes):
            row[i] = driver.table[space.index[s * lanes + i], c]
    if drawn > 0:
        g = s % GROUP
        if g == 0:
            samples = min(GROUP, driver.batch - s)
            fill_base(driver, space, lanes, seed, first_path, step, s, samples)
        base = space.base
        copy(base, space.normal[g * normals * lanes :], normals * lanes)
        copy(base[normals * lanes :], space.uniform[g * uniforms * lanes :], uniforms * lanes)
        combine(space, space.drawn, driver.location, driver.mixing, base, lanes, one, lanes)
        for c in range(drawn):
            copy(z[driver.drawn_rows[c] * lanes :], space.drawn[c * lanes :], lanes)


@inner
def _gather(driver, space, program, seed, first_path, step, first, count):
    """space.tile = samples first .. first + count - 1, group by group."""
    lanes, group, data, tile, z = program.lanes, program.group, program.data, space.tile, space.z
    for s in range(count):
        if space.stop[0] != 0:
            return
        if len(driver.location) > 0:
            _draw_row(driver, space, lanes, seed, first_path, step, first + s)
        for at in range(0, lanes, group):
            rows = tile[(at // group * TOGETHER + s) * data * group :]
            if len(driver.location) > 0:
                copy_rows(rows, z[at:], data, group, group, lanes)
                continue
            for i in range(group):
                row = driver.table[space.index[(first + s) * lanes + at + i]]
                for c in range(len(row)):
                    rows[driver.table_rows[c] * group + i] = row[c]


@inner
def _in_groups(driver, space, program, x, p, seed, first_path, step):
    """The sums of a network: samples are drawn `TOGETHER`, and gone through by a group of lanes after another."""
    n, lanes, group, data = space.n, program.lanes, program.group, program.data
    states, sums = space.group_x, space.group_n
    for first in range(0, driver.batch, TOGETHER):
        count = min(TOGETHER, driver.batch - first)
        _gather(driver, space, program, seed, first_path, step, first, count)
        for at in range(0, lanes, group):
            if space.stop[0] != 0:
                return
            z = space.tile[at * TOGETHER * data :]
            if lanes == group:
                call_sweep(program.sweep, x, z, space.w, n, p, count)
                continue
            copy_rows(states, x[at:], program.states, group, group, lanes)
            copy_rows(sums, n[at:], program.inputs, group, group, lanes)
            call_sweep(program.sweep, states, z, space.w[at:], sums, p, count)
            copy_rows(n[at:], sums, program.inputs, group, lanes, group)


@inner
def fill_sampled(driver, space, program, x, p, scale, seed, first_path, step, fresh):
    """n = mean over the minibatch of f(x, z)."""
    n, lanes, w = space.n, program.lanes, space.w
    fill(n, n.dtype.type(0), len(n))
    fill(w, n.dtype.type(1) / n.dtype.type(driver.batch), len(w))
    if len(driver.table) > 0:
        fill_indices(driver, space, lanes, seed, first_path, step)
    if program.accumulate == 0:
        _in_groups(driver, space, program, x, p, seed, first_path, step)
        return
    for s in range(driver.batch):
        if space.stop[0] != 0:
            return
        _draw_row(driver, space, lanes, seed, first_path, step, s)
        call_accumulate(program.accumulate, x, space.z, w, n, p)
