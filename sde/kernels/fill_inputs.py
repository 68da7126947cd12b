"""Fill the input rows of one block for one step, per driver (see `drivers`)."""

import numpy as np

from .calls import call_accumulate
from .drivers import GROUP, Gaussian, Mean, Sampled, Weighted
from .minibatch import fill_sampled
from .options import chosen, inlined, inner
from .random.philox import STREAM_NOISE as NOISE
from .rows import combine, copy, draw_normals, fill, per_block


@inner
def _mean(driver, space, program, x, p, scale, seed, first_path, step, fresh):
    for k in range(len(driver.mean) if fresh else 0):
        row = space.n[k * program.lanes : (k + 1) * program.lanes]
        fill(row, driver.mean[k], program.lanes)


@inlined
def _gaussian(driver, space, program, x, p, scale, seed, first_path, step, fresh):
    """n = mean + scale * factor @ normals; a step made of `fine` finer ones takes theirs, one after another.

    Normal j of a step is number step % G of draw block j of counter step step // G, G the normals of a block: none is
    thrown away, and it is the same whatever the number of channels, so that schemes of any width follow one path. A
    group's rows stay in space.normal, so only its first step, or a `fresh` call's, draws.
    """
    n, lanes = space.n, program.lanes
    channels, fine, group = driver.channels, driver.fine, per_block(n)
    gathered = group * channels * lanes
    at, stride = np.int64(0), group * lanes
    for i in range(fine):
        finer = fine * step + i
        at = (finer % group) * lanes
        if at == 0 or (fresh and i == 0):
            draw_normals(space, group * channels, lanes, seed, first_path, finer // group, NOISE, 0)
        if fine > 1:
            for j in range(channels):
                copy(space.normal[gathered + (i * channels + j) * lanes :], space.normal[at + j * stride :], lanes)
    if fine > 1:
        at, stride = gathered, lanes
    combine(space, n, driver.mean, driver.factor, space.normal[at:], stride, scale, lanes)


@inner
def _weighted(driver, space, program, x, p, scale, seed, first_path, step, fresh):
    """n = sum over all rows i of (wbar_i + scale (xi_i - mean xi) / sqrt(N)) f(x, z_i). The normals are drawn
    twice, not stored.
    """
    n, lanes = space.n, program.lanes
    fill(n, n.dtype.type(0), len(n))
    rows = len(driver.table)
    xi, mean, z, w = space.normal, space.base, space.z, space.w
    real = n.dtype.type
    size = real(scale / np.sqrt(rows))
    if scale != 0:
        fill(mean, real(0), lanes)
        for s in range(rows):
            g = s % GROUP
            if g == 0:
                if space.stop[0] != 0:
                    return
                block = s // per_block(n)
                draw_normals(space, min(GROUP, rows - s), lanes, seed, first_path, step, NOISE, block)
            for i in range(lanes):
                mean[i] += xi[g * lanes + i]
        for i in range(lanes):
            mean[i] = mean[i] / real(rows)
    for s in range(rows):
        if space.stop[0] != 0:
            return
        weight = driver.weights[s]
        g = s % GROUP
        if scale != 0:
            if g == 0:
                block = s // per_block(n)
                draw_normals(space, min(GROUP, rows - s), lanes, seed, first_path, step, NOISE, block)
            for i in range(lanes):
                w[i] = weight + size * (xi[g * lanes + i] - mean[i])
        elif s == 0 or weight != driver.weights[s - 1]:
            fill(w, weight, lanes)
        for c in range(len(driver.table_rows)):
            row = z[driver.table_rows[c] * lanes : (driver.table_rows[c] + 1) * lanes]
            fill(row, driver.table[s, c], lanes)
        call_accumulate(program.accumulate, x, z, w, n, p)


def fill_inputs(driver, space, program, x, p, scale, seed, first_path, step, fresh):
    """Fill space.n for step number `step`, the first of a call where `fresh`."""
    raise NotImplementedError("kernels.inputs: only inside kernels")


chosen(
    fill_inputs,
    {Mean: _mean, Gaussian: _gaussian, Sampled: fill_sampled, Weighted: _weighted},
)
