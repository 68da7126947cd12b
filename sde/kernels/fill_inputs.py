"""Fill the input rows of one block for one step, per driver (see `drivers`)."""

import numpy as np

from .calls import call_sweep
from .drivers import Gaussian, Mean, Sampled, Weighted
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
def _weights(driver, space, lanes, size, seed, first_path, step, first, count, drawn):
    """space.normal = the weights of rows first .. first + count - 1, from their normals: those there, if `drawn`."""
    xi, mean = space.normal, space.base
    if size == 0:
        for s in range(count):
            fill(xi[s * lanes :], driver.weights[first + s], lanes)
        return
    if not drawn:
        draw_normals(space, count, lanes, seed, first_path, step, NOISE, first // per_block(xi))
    for s in range(count):
        row, weight = xi[s * lanes : (s + 1) * lanes], driver.weights[first + s]
        for i in range(lanes):
            row[i] = weight + size * (row[i] - mean[i])


@inner
def _weighted(driver, space, program, x, p, scale, seed, first_path, step, fresh):
    """n = sum over all rows i of (wbar_i + scale (xi_i - mean xi) / sqrt(N)) f(x, z_i), a group of lanes after another.
    Normals that scratch cannot hold are drawn twice.
    """
    n, lanes, group = space.n, program.lanes, program.group
    rows, kept = len(driver.table), len(space.normal) // lanes
    xi, mean, states, sums = space.normal, space.base, space.group_x, space.group_n
    real = n.dtype.type
    size = real(scale / np.sqrt(rows))
    fill(mean, real(0), lanes)
    for first in range(0, rows if size != 0 else 0, kept):
        if space.stop[0] != 0:
            return
        count = min(kept, rows - first)
        draw_normals(space, count, lanes, seed, first_path, step, NOISE, first // per_block(n))
        for s in range(count):
            row = xi[s * lanes : (s + 1) * lanes]
            for i in range(lanes):
                mean[i] += row[i]
    for i in range(lanes):
        mean[i] = mean[i] / real(rows)
    for first in range(0, rows, kept):
        count = min(kept, rows - first)
        _weights(driver, space, lanes, size, seed, first_path, step, first, count, rows <= kept)
        for at in range(0, lanes, group):
            if space.stop[0] != 0:
                return
            for j in range(program.states):
                copy(states[j * group :], x[j * lanes + at :], group)
            for j in range(program.inputs):
                if first == 0:
                    fill(sums[j * group :], real(0), group)
                else:
                    copy(sums[j * group :], n[j * lanes + at :], group)
            call_sweep(program.sweep, states, driver.table[first:], xi[at:], sums, p, count)
            for j in range(program.inputs):
                copy(n[j * lanes + at :], sums[j * group :], group)


def fill_inputs(driver, space, program, x, p, scale, seed, first_path, step, fresh):
    """Fill space.n for step number `step`, the first of a call where `fresh`."""
    raise NotImplementedError("kernels.inputs: only inside kernels")


chosen(
    fill_inputs,
    {Mean: _mean, Gaussian: _gaussian, Sampled: fill_sampled, Weighted: _weighted},
)
