"""Which levels lanes have crossed within a step, and when.

Between the ends of a short step the excess over a level is a Brownian bridge: from a below the level to b below it, it
has been above with probability exp(-2 a b / (v h)), v its variance per unit time (docs/theory.md eq. (6.6)); given that
it has, the time of the first passage is exact too, by the inverse Gaussian distribution (eq. (6.7); Michael, Schucany
and Haas, Amer. Statist. 30 (1976) 88).
"""

import numpy as np

from ..calls import call_fill_of, call_passage
from ..math import exp
from ..options import inlined
from ..random.philox import STREAM_CROSSING
from ..random.variates import unit
from .reach import furthest, meets, search

FURTHEST = 22.0
"""Exponent from which on a crossing is less likely than 2**-31, the last place of a word, and is left out."""
NEVER = 2.0 * FURTHEST
"""Exponent of what is left out: exp(-NEVER) is below all words, and no subnormal, which processors are slow with."""


@inlined
def _near(turn, hybrid, lanes):
    """List in turn.lane the lanes that may meet a level between the ends of their turn, some others with them; how
    many. No root, quotient or random number is taken of those that are left out."""
    half, listed = np.float64(FURTHEST / 2.0 if hybrid.arrive != 0 else 0.0), 0
    for i in range(lanes):
        turn.chance[i] = half * turn.length[i]
        turn.near[i] = 0
    for level in range(hybrid.levels):
        at, spread = level * lanes, (hybrid.levels + level) * lanes
        before, after, variance, near = turn.before[at:], turn.after[at:], turn.before[spread:], turn.near
        for i in range(lanes if hybrid.bent[level] >= 0 else 0):
            near[i] |= np.int64(0) if before[i] > 0 else np.int64(1)
        for i in range(0 if hybrid.bent[level] >= 0 else lanes):
            apart = np.float64(before[i]) * np.float64(after[i]) > np.float64(variance[i]) * turn.chance[i]
            near[i] |= np.int64(0) if apart else np.int64(1)
    for i in range(lanes):
        goes = (turn.running[i] != 0) & ((turn.rest[i] > 0) | (turn.look[i] != 0))
        turn.near[i] = turn.near[i] if goes else np.int64(0)
    for i in range(lanes):
        turn.lane[listed] = i
        listed += turn.near[i]
    return listed


@inlined
def _exponents(turn, hybrid, lanes, level, listed, start):
    """turn.chance = -1 where a listed lane ends beyond the level, from where it was not (an excess that is no number is
    none), or begins on it with noise (`start`: this is the look at where paths begin), else the exponent of having been
    there, NEVER where that is out of the question; whether some have one."""
    at, spread, some = level * lanes, (hybrid.levels + level) * lanes, False
    least = 1 if hybrid.resets[level] != 0 else 0  # what is put on its level by its change is not changed again at once
    bridged = np.float64(1.0 if hybrid.arrive != 0 else 0.0)
    for j in range(listed):
        i = turn.lane[j]
        a, b = -np.float64(turn.before[at + i]), -np.float64(turn.after[at + i])
        v = bridged * np.float64(turn.before[spread + i]) * turn.length[i]
        exponent = 2.0 * a * b / (v if v > 0 else 1.0)
        may = (v > 0) & ((a > 0) | ((a == 0) & (least == 0))) & (b >= 0) & (exponent < FURTHEST)
        some |= may
        on = start & (a > 0) & (b == 0) & (bridged * turn.after[spread + i] > 0)
        turn.chance[j] = -1.0 if ((not a < 0) & (b < 0)) | on else exponent if may else NEVER
    return some


@inlined
def _date(space, turn, hybrid, lanes, seed, paths, k, substep, i, level):
    """turn.met of a lane that meets a level: -1 becomes the time."""
    at = level * lanes + i
    if turn.met[at] < 0:
        a, b, length = -np.float64(turn.before[at]), -np.float64(turn.after[at]), turn.length[i]
        variance = np.float64(turn.before[hybrid.levels * lanes + at]) * length
        if hybrid.bridged[level] == 0 or length == 0 or a != a:
            turn.met[at] = length
        elif a <= 0:
            turn.met[at] = 0.0
        elif hybrid.bent[level] >= 0 and turn.found[(6 * hybrid.bent[level] + 5) * lanes + i] > 0:
            bent = hybrid.bent[level]
            a, b = turn.place[bent * lanes + i], np.float64(turn.found[(6 * bent + 4) * lanes + i])
            a, b = abs(a), a - b if a > 0 else b - a
            block = substep * hybrid.levels + level
            share = call_passage(space.functions.passage, a, b, seed, paths[i], k, block) if a > 0 else 0.0
            turn.met[at] = length * share
        elif variance > 0 and hybrid.bent[level] < 0:
            root = np.sqrt(variance)
            block = substep * hybrid.levels + level
            share = call_passage(space.functions.passage, a / root, b / root, seed, paths[i], k, block)
            turn.met[at] = length * share
        else:
            turn.met[at] = length * (a / (a - b))


@inlined
def crossings(space, turn, hybrid, lanes, seed, paths, k, substep, x, p):
    """Put the lanes that meet a level in front of turn.lane, and for each turn.met = time from the turn's start at
    which it first meets each level, infinite for none; how many there are."""
    listed = _near(turn, hybrid, lanes)
    if listed == 0:
        return 0
    words, padded, hits, drawn = space.words, (listed + 7) // 8 * 8, 0, -1
    padded = padded if padded < lanes else lanes
    for j in range(padded):
        turn.own[j] = paths[turn.lane[j if j < listed else 0]]
        turn.near[j] = 0
    if hybrid.reach != 0:
        furthest(space, turn, hybrid, lanes, listed, padded, seed, k, substep, x, p)
    for level in range(hybrid.levels):
        if hybrid.bent[level] >= 0:
            meets(turn, hybrid, lanes, level, listed, k, substep)
        elif _exponents(turn, hybrid, lanes, level, listed, (k < 0) & (substep == 0)):
            if drawn != level // 4:
                drawn = level // 4
                functions, spare, own = space.functions, space.spare, turn.own
                block = substep * ((hybrid.levels + 3) // 4) + drawn
                call_fill_of(functions.words_of, spare, words, spare, own, 0, padded, seed, k, STREAM_CROSSING, block)
            row = words[(level % 4) * padded :]
            for j in range(listed):
                turn.chance[j] = -1.0 if unit(row[j]) < exp(-turn.chance[j]) else NEVER
        for j in range(listed):
            turn.met[level * lanes + turn.lane[j]] = turn.chance[j] if turn.chance[j] < 0 else np.inf
            turn.near[j] |= np.int64(1) if turn.chance[j] < 0 else np.int64(0)
    for j in range(listed):
        turn.lane[hits] = turn.lane[j]
        hits += turn.near[j]
    if hybrid.reach != 0 and hits > 0:
        search(space, turn, hybrid, lanes, hits, x, p)
    for j in range(hits):
        for level in range(hybrid.levels):
            _date(space, turn, hybrid, lanes, seed, paths, k, substep, turn.lane[j], level)
    return hits
