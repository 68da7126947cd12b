"""Bent levels, whose excesses at both ends of a step do not say how its bridge meets them: the bridge's extreme is
drawn in the states, and the level is taken there (docs/theory.md eq. (6.16), (6.17))."""

import numpy as np

from ..calls import call_fill_of, call_reach
from ..math import log
from ..options import inlined, seldom
from ..random.philox import STREAM_CROSSING
from ..random.variates import unit

SEARCHES = 48
"""Turns of the search for where a level is met: secants (Illinois), each third one a bisection."""
CLOSE = 1e-12
"""Of places, in standard deviations of a step."""


@inlined
def furthest(space, turn, hybrid, lanes, listed, padded, seed, k, substep, x, p):
    """turn.found = what `reach` says of the listed lanes, by the words of their crossings."""
    words, drawn, real = space.words, -1, x.dtype.type
    for i in range((hybrid.bents + 1) * lanes):
        turn.given[i] = real(0.0)
    for level in range(hybrid.levels):
        bent = hybrid.bent[level]
        if bent >= 0:
            if drawn != level // 4:
                drawn = level // 4
                functions, spare, own = space.functions, space.spare, turn.own
                block = substep * ((hybrid.levels + 3) // 4) + drawn
                call_fill_of(functions.words_of, spare, words, spare, own, 0, padded, seed, k, STREAM_CROSSING, block)
            row = words[(level % 4) * padded :]
            for j in range(listed):
                turn.given[bent * lanes + turn.lane[j]] = real(-log(unit(row[j])))
    for i in range(lanes):
        space.h[i], space.t[i] = real(turn.length[i]), real(turn.now[i])
    call_reach(hybrid.reach, turn.y, x, turn.given, space.h, space.t, p, turn.found)


@inlined
def meets(turn, hybrid, lanes, level, listed, k, substep):
    """turn.chance = -1 where a listed lane ends beyond a bent level, from where it was not, or its bridge has been
    there, or it begins a run on it with noise, else infinite; turn.high, turn.over: the place beyond, and the excess
    there."""
    bent, at, first = hybrid.bent[level], level * lanes, (k <= 0) & (substep == 0)
    apart = (
        1 if (hybrid.resets[level] != 0) & (not first) else 0
    )  # what its change puts on its level is not changed anew
    for j in range(listed):
        i = turn.lane[j]
        a, b, to = -np.float64(turn.before[at + i]), -np.float64(turn.after[at + i]), bent * lanes + i
        ahead = np.float64(turn.found[6 * bent * lanes + i])
        behind = np.float64(turn.found[(6 * bent + 2) * lanes + i])
        begins = (turn.length[i] > 0) & ((a > 0) | ((a == 0) & (apart == 0)))
        ends, was = (not a < 0) & (b < 0), begins & ((ahead > 0) | (behind > 0))
        on = (k < 0) & first & (a > 0) & (b == 0) & (turn.after[hybrid.levels * lanes + at + i] > 0)
        turn.chance[j] = -1.0 if ends | was | on else np.inf
        side = 4 if ends else 1 if ahead > 0 else 3
        turn.high[to] = turn.found[(6 * bent + side) * lanes + i]
        turn.over[to] = -b if ends else ahead if ahead > 0 else behind


@seldom
def search(space, turn, hybrid, lanes, hits, x, p):
    """turn.place = where the first `hits` of turn.lane meet their bent levels, between where the step begins and what
    is beyond."""
    real, bents = x.dtype.type, hybrid.bents
    for level in range(hybrid.levels):
        bent = hybrid.bent[level]
        for j in range(hits if bent >= 0 else 0):
            i = turn.lane[j]
            to = bent * lanes + i
            met = turn.met[level * lanes + i] < 0
            turn.low[to], turn.under[to] = 0.0, turn.before[level * lanes + i]
            turn.high[to] = turn.high[to] if met else 0.0
            turn.place[to], turn.miss[to], turn.side[to] = turn.high[to], abs(turn.over[to]), 0.0
    for i in range(lanes):
        turn.given[bents * lanes + i] = real(1.0)
    for attempt in range(SEARCHES):
        wide = False
        for bent in range(bents):
            for j in range(hits):
                to = bent * lanes + turn.lane[j]
                low, high, under, over = turn.low[to], turn.high[to], turn.under[to], turn.over[to]
                middle = 0.5 * (low + high)
                secant = high - over * (high - low) / (over - under)
                inside = (secant - low) * (secant - high) < 0
                turn.given[to] = real(secant if inside and attempt % 3 < 2 else middle)
                wide |= abs(high - low) > CLOSE
        if not wide:
            break
        call_reach(hybrid.reach, turn.y, x, turn.given, space.h, space.t, p, turn.found)
        for bent in range(bents):
            for j in range(hits):
                i = turn.lane[j]
                to = bent * lanes + i
                value, place = np.float64(turn.found[6 * bent * lanes + i]), np.float64(turn.given[to])
                if abs(value) < turn.miss[to]:
                    turn.place[to], turn.miss[to] = place, abs(value)
                if value > 0:
                    turn.high[to], turn.over[to] = place, value
                    turn.under[to] *= 0.5 if turn.side[to] > 0 else 1.0
                    turn.side[to] = 1.0
                else:
                    turn.low[to], turn.under[to] = place, value
                    turn.over[to] *= 0.5 if turn.side[to] < 0 else 1.0
                    turn.side[to] = -1.0
