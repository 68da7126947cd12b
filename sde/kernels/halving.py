"""One step of the grid, each lane in steps that an error estimate accepts or halves.

The grid's step is the root of a tree of intervals, each the half of the one above. From its state a lane takes an
interval at once, in halves and in quarters, on one Brownian path: where the three agree within the tolerance it goes on
from the last, else it tries the first half. After an interval comes the largest of the tree that begins there. Two
gaps must be small, each of other normals, so that no long interval passes by chance. Noise is refined, never drawn
again: the root's increment is that of the grid, and the bridge to the middles of an interval's two halves takes normals
of the interval's own place (k, node): no bias comes of what is rejected (Gaines and Lyons, SIAM J. Appl. Math. 57
(1997) 1455). Heap order: node 1 is the whole, 2 n and 2 n + 1 are the halves of n.
"""

import numpy as np

from .calls import call_fill_at, call_step
from .drivers import DEEPEST
from .explosions import any_exploded, update_lanes
from .options import inlined, inner
from .random.philox import STREAM_NOISE as NOISE
from .random.philox import STREAM_TREE as TREE
from .rows import copy, draw_normals, per_block

WHOLE = 2**DEEPEST
"""A step of the grid, in intervals of the deepest level."""


@inlined
def _plant(driver, space, lanes, seed, first_path, k, length):
    """The root's halves, from the increment that every scheme takes at step k."""
    channels, group = len(driver.channels), per_block(space.n)
    tree, normal, root = space.tree, space.normal, np.sqrt(length)
    draw_normals(space, group * channels, lanes, seed, first_path, k // group, NOISE, 0)
    for j in range(channels):
        for i in range(lanes):
            tree[j * lanes + i] = root * normal[(j * group + k % group) * lanes + i]
    draw_normals(space, channels, lanes, seed, first_path, k, TREE, 0)
    for j in range(channels):
        _halve(tree, normal[j * lanes :], j, channels + j, 2 * channels + j, lanes, root, space.share, 0)


@inner
def _halve(tree, normal, row, first, second, lanes, root, share, own):
    """Increments of an interval's halves, rows `first` and `second`, from the interval's, `row`. Its length is root^2,
    or each lane's own share of that."""
    real = tree.dtype.type
    for i in range(lanes):
        w = tree[row * lanes + i]
        spread = real(0.5 * root * (np.sqrt(0.5 * share[i]) if own != 0 else 1.0))
        half = real(0.5) * w + spread * normal[i]
        tree[first * lanes + i] = half
        tree[second * lanes + i] = w - half


@inlined
def _grow(driver, space, lanes, seed, first_path, k, root):
    """Quarters of each lane's interval, from its halves, and the whole; how many lanes have one."""
    level, place, node, share = space.index, space.index[lanes:], space.index[2 * lanes :], space.share
    channels, tree, normal, going = len(driver.channels), space.tree, space.normal, 0
    for i in range(lanes):
        on = place[i] < WHOLE
        node[i] = (WHOLE + place[i]) >> (DEEPEST - level[i]) if on else 1
        share[i] = np.float64(1 << (DEEPEST - level[i])) / WHOLE if on else 0.0
        going += 1 if on else 0
    if going > 0:
        functions, spare, rows = space.functions, space.spare, 2 * channels
        call_fill_at(functions.normals_at, normal, space.words, spare, node, rows, lanes, seed, first_path, k, TREE)
        for r in range(rows):
            at = channels + r  # halves, then quarters: rows of a side are `channels`
            first = (3 + 2 * (r // channels)) * channels + r % channels
            _halve(tree, normal[r * lanes :], at, first, first + channels, lanes, root, share, 1)
        for r in range(channels * lanes):
            tree[r] = tree[channels * lanes + r] + tree[2 * channels * lanes + r]
    return going


@inlined
def _try(driver, space, program, x, p, lanes, start, length):
    """Each lane's interval at once, in halves and in quarters, into space.trial."""
    real, place, share = x.dtype.type, space.index[lanes:], space.share
    size, width, h, t = program.states * lanes, len(driver.channels) * lanes, space.h, space.t
    for c in range(3):
        parts, y = 1 << c, space.trial[c * size : (c + 1) * size]
        copy(y, x, size)
        for i in range(lanes):
            h[i] = real(length * share[i] / parts)
        for s in range(parts):
            for i in range(lanes):
                t[i] = real(start + length * (np.float64(place[i]) / WHOLE + share[i] * s / parts))
            call_step(program.step, y, space.tree[(parts - 1 + s) * width :], h, t, p)


@inner
def _decide(driver, space, x, states, living, lanes):
    """Accept each lane's interval, and go to the next, or halve it; lose the lanes that cannot be halved again. living:
    the rows that must agree then; of others those that are numbers shorten steps, but lose no lane."""
    level, place, size = space.index, space.index[lanes:], states * lanes
    tree, pending, trial, counts = space.tree, space.pending, space.trial, space.own_steps
    channels, least = len(driver.channels), np.float64(driver.size) ** 2
    allowed = np.float64(driver.tolerance) ** 2
    half = channels * lanes
    for i in range(lanes):
        if place[i] >= WHOLE:
            continue
        scale, first, second, lives = least, 0.0, 0.0, False
        for j in range(states):
            at = j * lanes + i
            one, two, four = np.float64(trial[at]), np.float64(trial[size + at]), np.float64(trial[2 * size + at])
            if (j >= living) & (not abs(one + two + four) < np.inf):
                continue
            scale += np.float64(x[at]) ** 2
            first += (two - one) ** 2
            second += (four - two) ** 2
            if j < living:
                lives = (first <= allowed * scale) & (second <= allowed * scale)
        agree = (first <= allowed * scale) & (second <= allowed * scale)
        if agree | (lives & (level[i] == DEEPEST)):
            counts[0] += 1
            for j in range(states):
                x[j * lanes + i] = trial[2 * size + j * lanes + i]
            place[i] += 1 << (DEEPEST - level[i])
            while level[i] > 0 and (place[i] >> (DEEPEST - level[i])) & 1 == 0:
                level[i] -= 1
            for r in range(2 * channels if place[i] < WHOLE else 0):
                tree[half + r * lanes + i] = pending[(2 * channels * (level[i] - 1) + r) * lanes + i]
        elif level[i] == DEEPEST:
            counts[1] += 1
            for j in range(states):
                x[j * lanes + i] = np.nan
        else:
            counts[2] += 1
            for r in range(2 * channels):
                pending[(2 * channels * level[i] + r) * lanes + i] = tree[(5 * channels + r) * lanes + i]
                tree[half + r * lanes + i] = tree[(3 * channels + r) * lanes + i]
            level[i] += 1


@inlined
def halved_steps(driver, space, program, clock, seed, p, x, dead, when, first_path, valid, k, fresh, bound):
    """Step k of the grid, as `step.take_step`."""
    real, lanes, states, at = x.dtype.type, program.lanes, program.states, k - clock.first
    start, length, end = clock.time[at], clock.h[at], clock.time[at + 1]
    level, place, t, times, left = space.index, space.index[lanes:], space.t, space.sums, np.int64(-1)
    for i in range(lanes):
        level[i], place[i] = 0, 0 if (space.alive[i] != 0) & (i < valid) else WHOLE
    _plant(driver, space, lanes, seed, first_path, k, length)
    while space.stop[0] == 0 and _grow(driver, space, lanes, seed, first_path, k, np.sqrt(length)) > 0:
        _try(driver, space, program, x, p, lanes, start, length)
        _decide(driver, space, x, states, states - program.carried, lanes)
        for i in range(lanes):
            times[i] = start + length * (np.float64(place[i]) / WHOLE) if place[i] < WHOLE else end
            t[i] = real(times[i])
        exploded = any_exploded(x, space.alive, states - program.carried, lanes, bound)
        alive = update_lanes(space, program, x, p, dead, when, bound, k + 1, t, times, 1, exploded, len(dead) > lanes)
        if alive >= 0:
            left = alive
            for i in range(lanes):
                place[i] = place[i] if space.alive[i] != 0 else WHOLE
    return left
