"""Inputs of a turn: those of the grid's step in its first, fresh normals where a lane has begun anew within it."""

import numpy as np

from ..calls import call_fill_of
from ..drivers import Adaptive, Gaussian, Halved, Mean, Sampled, Weighted
from ..fill_inputs import fill_inputs
from ..options import chosen, inlined
from ..random.philox import STREAM_NOISE as NOISE
from ..random.philox import STREAM_RESTART as RESTART
from ..rows import combine, copy, per_block


@inlined
def _draw(space, out, paths, rows, lanes, seed, step, stream, block):
    functions, spare = space.functions, space.spare
    call_fill_of(functions.normals_of, out, space.words, spare, paths, rows, lanes, seed, step, stream, block)


@inlined
def _gaussian(driver, space, turn, program, x, p, scale, seed, paths, step, fresh, substep):
    """As `fill_inputs`, of the lanes' own paths."""
    n, lanes = space.n, program.lanes
    channels, fine, group = driver.channels, driver.fine, per_block(n)
    if substep > 0:
        rows = channels * fine
        _draw(space, turn.normal, paths, rows, lanes, seed, step, RESTART, substep * ((rows + group - 1) // group))
        combine(space, n, driver.mean, driver.factor, turn.normal, lanes, scale, lanes)
        return
    gathered = group * channels * lanes
    at, stride = np.int64(0), group * lanes
    for i in range(fine):
        finer = fine * step + i
        at = (finer % group) * lanes
        if at == 0 or (fresh and i == 0):
            _draw(space, space.normal, paths, group * channels, lanes, seed, finer // group, NOISE, 0)
        if fine > 1:
            for j in range(channels):
                copy(space.normal[gathered + (i * channels + j) * lanes :], space.normal[at + j * stride :], lanes)
    if fine > 1:
        at, stride = gathered, lanes
    combine(space, n, driver.mean, driver.factor, space.normal[at:], stride, scale, lanes)


@inlined
def _others(driver, space, turn, program, x, p, scale, seed, paths, step, fresh, substep):
    """Of neighbours: such runs never regroup their paths, nor begin steps anew."""
    fill_inputs(driver, space, program, x, p, scale, seed, paths[0], step, fresh)


def fill_turn(driver, space, turn, program, x, p, scale, seed, paths, step, fresh, substep):
    """Fill space.n for a turn of step number `step`, the first of a call where `fresh`."""
    raise NotImplementedError("kernels.hybrid.noise: only inside kernels")


chosen(fill_turn, {Gaussian: _gaussian, **dict.fromkeys((Mean, Sampled, Weighted), _others)})
REFUSED = (Adaptive, Halved)
"""Drivers whose steps follow each path's state: their lanes have another clock."""
