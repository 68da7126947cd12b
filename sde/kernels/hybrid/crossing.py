"""Which levels lanes have crossed within a step, and when.

Between the ends of a short step the excess over a level is a Brownian bridge: from a below the level to b below it, it
has been above with probability exp(-2 a b / (v h)), v its variance per unit time (docs/theory.md eq. (6.6)); given that
it has, the time of the first passage is exact too, by the inverse Gaussian distribution (eq. (6.7); Michael, Schucany
and Haas, Amer. Statist. 30 (1976) 88).
"""

import numpy as np

from ..calls import call_fill_of
from ..math import cos, exp, log
from ..options import inlined, inner
from ..random.philox import STREAM_CROSSING, draw

FURTHEST = 22.0
"""Exponent from which on a crossing is less likely than 2**-31, the last place of a word, and is left out."""
TIME_BLOCKS = 0x80000000
FEW = 8
"""One lane in so many, under which each draws for itself."""


@inlined
def unit(word):
    """A uniform in (0, 1) from a 32-bit word."""
    return (np.float64(word) + 0.5) * 2.0**-32


@inner
def passage(a, b, seed, path, step, block):
    """Share of a step after which a bridge of variance 1 from 0 to a - b first meets a > 0."""
    w0, w1, w2, _ = draw(
        np.uint64(seed), np.uint64(path), np.uint64(step), np.uint64(STREAM_CROSSING), np.uint64(TIME_BLOCKS + block)
    )
    normal = np.sqrt(-2.0 * log(unit(w0))) * cos(2.0 * np.pi * unit(w1))
    y, b = normal * normal, abs(b)
    near = b + y / (2.0 * a) + np.sqrt(y * b / a + y * y / (4.0 * a * a))
    if unit(w2) * (near + b) <= near:
        return a / (a + near)
    return a * near / (a * near + b * b)


@inlined
def _exponents(turn, hybrid, lanes, level, bridge):
    """turn.met = -1 where a lane ends beyond the level, else the exponent of having been there, infinite where that is
    out of the question; whether some lane has met it, and how many may have."""
    met, at, spread = turn.met[level * lanes :], level * lanes, (hybrid.levels + level) * lanes
    before, after, variance, length = turn.before[at:], turn.after[at:], turn.before[spread:], turn.length
    some, near, bridged = 0, 0, np.float64(1.0) if bridge else np.float64(0.0)
    for i in range(lanes):
        a, b = -np.float64(before[i]), -np.float64(after[i])
        v = bridged * np.float64(variance[i]) * length[i]
        exponent = 2.0 * a * b / (v if v > 0 else 1.0)
        exponent = exponent if (v > 0) & (a > 0) & (b >= 0) & (exponent < FURTHEST) else np.inf
        exponent = -1.0 if (a >= 0) & (b < 0) else exponent
        exponent = exponent if turn.goes[i] != 0 else np.inf
        met[i] = exponent
        some |= np.int64(1) if exponent < 0 else np.int64(0)
        near += np.int64(1) if (exponent >= 0) & (exponent < FURTHEST) else np.int64(0)
    return some, near


@inlined
def _coins(space, met, lanes, level, seed, paths, k, block, drawn, near):
    """Let the exponents' coins fall: -1 where a lane has met the level, infinite where not. Whether some has, and the
    draw block that space.words hold, `drawn` before: few lanes draw their own."""
    some, words, row = 0, space.words, (level % 4) * lanes
    if near * FEW < lanes and drawn != block:
        for i in range(lanes):
            if (met[i] >= 0) & (met[i] < FURTHEST):
                four = draw(
                    np.uint64(seed), np.uint64(paths[i]), np.uint64(k), np.uint64(STREAM_CROSSING), np.uint64(block)
                )
                met[i] = -1.0 if unit(four[level % 4]) < exp(-met[i]) else np.inf
            some |= np.int64(1) if met[i] < 0 else np.int64(0)
        return some, drawn
    if drawn != block:
        functions, spare = space.functions, space.spare
        call_fill_of(functions.words_of, spare, words, spare, paths, 0, lanes, seed, k, STREAM_CROSSING, block)
    for i in range(lanes):
        hit = unit(words[row + i]) < exp(-met[i])
        met[i] = -1.0 if hit else np.inf
        some |= np.int64(1) if hit else np.int64(0)
    return some, block


@inlined
def crossings(space, turn, hybrid, lanes, seed, paths, k, substep):
    """turn.met = time from the turn's start at which each lane first meets each level, infinite for none; whether some
    lane meets some."""
    any_met, drawn = 0, np.int64(-1)
    bridge = hybrid.arrive != 0
    for i in range(lanes):
        goes = (turn.running[i] != 0) & ((turn.rest[i] > 0) | (turn.look[i] != 0))
        turn.goes[i] = np.int64(1) if goes else np.int64(0)
    for level in range(hybrid.levels):
        met, at, spread = turn.met[level * lanes :], level * lanes, (hybrid.levels + level) * lanes
        some, near = _exponents(turn, hybrid, lanes, level, bridge)
        if near != 0:
            block = substep * ((hybrid.levels + 3) // 4) + level // 4
            some, drawn = _coins(space, met, lanes, level, seed, paths, k, block, drawn, near)
        any_met |= some
        for i in range(lanes if some != 0 else 0):
            if met[i] < 0:
                a, b = -np.float64(turn.before[at + i]), -np.float64(turn.after[at + i])
                length = turn.length[i]
                variance = np.float64(turn.before[spread + i]) * length
                if not bridge or length == 0:
                    met[i] = length
                elif a <= 0:
                    met[i] = 0.0
                elif variance > 0:
                    root = np.sqrt(variance)
                    share = passage(a / root, b / root, seed, paths[i], k, substep * hybrid.levels + level)
                    met[i] = length * share
                else:
                    met[i] = length * (a / (a - b))
    return any_met != 0
