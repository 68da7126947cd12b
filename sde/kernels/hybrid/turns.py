"""One step of the grid, or one look, in turns: each lane goes as far as its next jump, the level that it meets, or the
end of the step; there it stops, or is changed and goes on."""

import numpy as np

from ..calls import call_arrive, call_change, call_mark_exploded, call_observe, call_size, call_step, call_wait
from ..explosions import any_exploded
from ..options import inlined, inner, seldom
from ..rows import copy
from .crossing import crossings
from .noise import fill_turn

MOST_TURNS = 2**20
"""Turns within one of the grid's steps, after which a lane counts as exploded: it would never get there."""


@inner
def make_changes(space, turn, program, hybrid, x, seed, p, paths, counts):
    """Make the change turn.act of each lane that has one, and have it looked at."""
    lanes, real = program.lanes, x.dtype.type
    for i in range(lanes):
        change = turn.act[i]
        turn.code[i] = real(change)
        space.t[i] = real(turn.now[i])
        if change > 0:
            at = (change - 1) * lanes + i
            for r in range(hybrid.size_first[change - 1], hybrid.size_first[change]):
                kind, number = hybrid.size_kind[r], counts[at]
                turn.sizes[r * lanes + i] = call_size(space.functions.size, kind, seed, paths[i], number, r)
            counts[at] += 1
            turn.look[i] = turn.look[i] if turn.look[i] > 1 else 1
    call_change(hybrid.change, x, turn.code, turn.sizes, space.t, p)


@inlined
def _whole(space, turn, lanes, full, real):
    """As `_lengths`, where every lane that runs goes to the end of the step."""
    moving = 0
    copy(turn.length, turn.rest, lanes)
    for i in range(lanes):
        turn.due[i] = 0
        space.h[i] = real(full) if turn.length[i] > 0 else real(0.0)
        moving += 1 if turn.length[i] > 0 else 0
    for i in range(lanes):
        space.t[i] = real(turn.now[i])
    return moving, moving, 0


@inlined
def _lengths(space, turn, program, hybrid, x, budgets, full, span):
    """How far each lane goes in this turn, and which clock ends it; how many have something to do, how many of them
    move, and how many a part of the step only. A lane whose rate is no finite number goes nowhere, and is lost."""
    lanes, real, clocks = program.lanes, x.dtype.type, len(hybrid.clocks)
    going, moving, partial = 0, 0, 0
    for i in range(lanes):
        turn.length[i] = 0.0 if turn.look[i] != 0 else turn.rest[i]
        going += 1 if (turn.rest[i] > 0) | (turn.look[i] != 0) else 0
        turn.due[i] = 0
    for c in range(clocks if going > 0 else 0):
        for i in range(lanes):
            d, rate = turn.length[i], np.float64(turn.before[(2 * hybrid.levels + c) * lanes + i])
            if (d > 0) & (not rate < np.inf):
                turn.length[i] = 0.0
                for j in range(program.states):
                    x[j * lanes + i] = real(np.nan)
            elif (d > 0) & (rate * d > budgets[c * lanes + i]):
                turn.length[i] = budgets[c * lanes + i] / rate
                turn.due[i] = c + 1
    for i in range(lanes):
        d = turn.length[i]
        space.h[i] = real(full) if d == span else real(full * (d / span)) if d > 0 else real(0.0)
        space.t[i] = real(turn.now[i])
        moving += 1 if d > 0 else 0
        partial += 1 if (d > 0) & (d != span) else 0
    return going, moving, partial


@inlined
def _move(driver, space, turn, program, clock, seed, p, x, paths, k, fresh, substep, moving, partial, span):
    """Take each lane over its length; those without one stay as they are."""
    lanes, real, at = program.lanes, x.dtype.type, k - clock.first
    fill_turn(driver, space, turn, program, x, p, real(clock.scale[at]), seed, paths, k, fresh, substep)
    if partial > 0:
        for i in range(lanes):
            turn.ends[i] = np.sqrt(turn.length[i] / span) if turn.length[i] != span else 1.0
        for j in range(program.inputs):
            for i in range(lanes):
                space.n[j * lanes + i] *= real(turn.ends[i])
    call_step(program.step, x, space.n, space.h, space.t, p)
    if moving < lanes:
        for j in range(program.states):
            for i in range(lanes):
                moved, still = x[j * lanes + i], turn.y[j * lanes + i]
                x[j * lanes + i] = moved if turn.length[i] > 0 else still


@inlined
def _mark_lost(space, turn, program, x, marks, times, bound, state):
    """Mark the lanes that have left the bound, at turn.ends."""
    lanes, states, living = program.lanes, program.states, program.states - program.carried
    if any_exploded(x, space.alive, living, lanes, bound):
        spare = 1 if len(x) > states * lanes else 0
        address, flags, alive, steps = space.functions.mark_exploded, space.flags, space.alive, space.own_steps
        call_mark_exploded(
            address, x, marks, times, flags, alive, turn.ends, steps, 1, states, living, lanes, spare, bound, state
        )
        for i in range(lanes):
            if alive[i] == 0:
                turn.running[i], turn.rest[i], turn.look[i], turn.due[i] = 0, 0.0, 0, 0


@inlined
def _choose(turn, hybrid, lanes, hits, marks, times, state):
    """turn.act = 1 + the level at which each of the first turn.lane stops or is reset, 0 for none and elsewhere; events
    until then are dated. Whether some lane has one."""
    some = 0
    for i in range(lanes):
        turn.act[i] = 0
    for j in range(hits):
        i, best, first = turn.lane[j], -1, np.inf
        for level in range(hybrid.levels):
            met = turn.met[level * lanes + i]
            if (hybrid.ends[level] != 0) | (hybrid.resets[level] != 0) and met < first:
                best, first = level, met
        for e in range(len(hybrid.event_level)):
            level, at = hybrid.event_level[e], (e + 1) * lanes + i
            met = turn.met[level * lanes + i]
            mine = hybrid.event_stops[e] == 0 or level == best
            if marks[at] < 0 and met <= first and met < np.inf and mine:
                marks[at], times[at] = state, turn.now[i] + met
        turn.act[i] = best + 1
        some |= best + 1
    return some != 0


@inlined
def _arrive(space, turn, program, hybrid, hits, x, p):
    """Put the lanes that act to where they meet their level, and shorten their turn to it."""
    lanes, real, some = program.lanes, x.dtype.type, 0
    for i in range(4 * lanes):
        turn.code[i] = real(0.0)
    for j in range(hits):
        i = turn.lane[j]
        level = turn.act[i] - 1
        if level >= 0:
            met = turn.met[level * lanes + i]
            if met < turn.length[i]:
                some = 1
                turn.code[i], turn.code[lanes + i] = real(level + 1), real(met / turn.length[i])
                if hybrid.bent[level] >= 0:
                    turn.code[2 * lanes + i] = real(turn.place[hybrid.bent[level] * lanes + i])
                turn.code[3 * lanes + i] = real(turn.length[i])
                space.h[i] = real(met)
            turn.length[i] = met
            turn.due[i] = 0
    if some != 0:
        for i in range(lanes):
            space.t[i] = real(turn.now[i])
        call_arrive(hybrid.arrive, turn.y, x, turn.code, space.h, space.t, p)


@seldom
def _give_up(space, turn, x, states, lanes):
    """Lose the lanes that have not arrived."""
    for i in range(lanes):
        if (turn.rest[i] > 0) | (turn.look[i] != 0):
            space.own_steps[1] += 1
            for j in range(states):
                x[j * lanes + i] = np.nan


@inlined
def _act(space, turn, hybrid, lanes, hits, seed, paths, marks, times, budgets, counts, state, due, real):
    """Stop those of the first turn.lane that are to stop; turn.act = the change that each of the others meets, by its
    level or its clock. Whether some lane meets one."""
    levels, changes = hybrid.levels, False
    for j in range(hits):
        i = turn.lane[j]
        level = turn.act[i] - 1
        turn.act[i] = 0
        if level >= 0:
            turn.due[i] = 0
            if hybrid.ends[level] != 0:
                turn.running[i], turn.rest[i] = 0, 0.0
                marks[hybrid.last * lanes + i], times[hybrid.last * lanes + i] = state, turn.now[i]
            else:
                turn.act[i], changes = hybrid.resets[level], True
                turn.look[i] = 2 + level if hybrid.stays[level] != 0 else 0
                for other in range(levels):
                    turn.after[other * lanes + i] = turn.before[other * lanes + i]
                turn.after[level * lanes + i] = real(1.0)  # met: not to be met again until it has been left
    for i in range(lanes if due != 0 else 0):
        if turn.due[i] > 0:
            clock = turn.due[i] - 1
            turn.act[i], changes = hybrid.clocks[clock], True
            count = counts[(turn.act[i] - 1) * lanes + i] + 1
            budgets[clock * lanes + i] = call_wait(space.functions.wait, seed, paths[i], count, clock)
    return changes


@inlined
def turns(
    driver,
    space,
    turn,
    program,
    hybrid,
    clock,
    seed,
    p,
    x,
    paths,
    marks,
    times,
    budgets,
    counts,
    k,
    fresh,
    substep,
    bound,
    span,
):
    """Take all lanes to the end of step k, from turn number `substep` on; the number of the next turn. span: length of
    the step in time, 0 for a look alone."""
    lanes, states, levels, real = program.lanes, program.states, hybrid.levels, x.dtype.type
    full = clock.h[k - clock.first] if span > 0 else 0.0
    clocks = len(hybrid.clocks)
    while space.stop[0] == 0:
        whole = clocks == 0 and substep == 0 and span > 0
        if whole:
            going, moving, partial = _whole(space, turn, lanes, full, real)
        else:
            going, moving, partial = _lengths(space, turn, program, hybrid, x, budgets, full, span)
        if going == 0:
            break
        copy(turn.y, x, states * lanes)
        if moving > 0:
            _move(driver, space, turn, program, clock, seed, p, x, paths, k, fresh, substep, moving, partial, span)
        if substep == MOST_TURNS:
            _give_up(space, turn, x, states, lanes)
        for i in range(lanes):
            turn.ends[i] = turn.now[i] + turn.length[i]
        for i in range(lanes):
            space.t[i] = real(turn.ends[i])
        _mark_lost(space, turn, program, x, marks, times, bound, k + 1)
        call_observe(hybrid.watch, x, space.t, p, turn.after)
        for i in range(lanes if levels > 0 else 0):
            if turn.look[i] > 1:
                turn.after[(turn.look[i] - 2) * lanes + i] = real(1.0)  # at the level, where rounding decides its side
        acts, changes, due = False, False, 0
        hits = crossings(space, turn, hybrid, lanes, seed, paths, k, substep, x, p)
        if hits > 0:
            acts = _choose(turn, hybrid, lanes, hits, marks, times, k + 1)
            if acts:
                _arrive(space, turn, program, hybrid, hits, x, p)
        for c in range(clocks):
            rates = turn.before[(2 * levels + c) * lanes :]
            for i in range(lanes):
                used = np.float64(rates[i]) * turn.length[i] if turn.length[i] > 0 else 0.0  # a rate may be no number
                left = budgets[c * lanes + i] - used
                budgets[c * lanes + i] = left if left > 0 else 0.0
        for i in range(lanes):
            turn.now[i] += turn.length[i]
        for i in range(lanes):
            left = turn.rest[i] - turn.length[i]
            turn.rest[i] = left if left > 0 else 0.0
        for i in range(lanes):
            turn.look[i] = 0
            due |= turn.due[i]
        if acts or due != 0:
            if not acts:
                for i in range(lanes):
                    turn.act[i] = 0
            acting = hits if acts else 0
            changes = _act(
                space, turn, hybrid, lanes, acting, seed, paths, marks, times, budgets, counts, k + 1, due, real
            )
        copy(turn.before, turn.after, (2 * levels + clocks) * lanes)
        if changes:
            make_changes(space, turn, program, hybrid, x, seed, p, paths, counts)
        substep += 1
        if whole and not changes:
            break
    return substep
