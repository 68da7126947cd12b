"""Lanes that run on are moved together, so that blocks stay full; what has stopped or is lost is put where its path
belongs. No number depends on when, as a path's follow from seed and path alone."""

from ..options import inlined, seldom


@inlined
def runs(hybrid, places, marks, lanes, i):
    """Whether a lane of a block has yet to go."""
    stop = hybrid.last * lanes
    return (places[i] >= 0) & (marks[i] < 0) & ((stop == 0) | (marks[stop + i] < 0))


@seldom
def put_away(ended, x, places, marks, times, lanes, i):
    """Write a lane's state and dates to the columns of its path, if it stands for one, and free it."""
    at = places[i]
    if at >= 0:
        for j in range(len(ended.x)):
            ended.x[j, at] = x[j * lanes + i]
        for j in range(len(ended.marks)):
            ended.marks[j, at], ended.times[j, at] = marks[j * lanes + i], times[j * lanes + i]
        places[i] = -1


@inlined
def _move(target, i, source, j, lanes):
    """Lane j of a block's rows to lane i of another's."""
    for at in range(0, len(target), lanes):
        target[at + i] = source[at + j]


@seldom
def regroup(hybrid, ended, lanes, blocks, running, x, paths, places, marks, times, budgets, counts):
    """Put the lanes that run, `running` of them, in as few of the first blocks as hold them, if in fewer; in how many.
    Lanes move only into places of those that do not run."""
    kept = (running + lanes - 1) // lanes if running > 0 else 1
    if kept == blocks:
        return blocks
    c, j = blocks - 1, lanes
    for b in range(kept):
        for i in range(lanes):
            if runs(hybrid, places[b], marks[b], lanes, i):
                continue
            put_away(ended, x[b], places[b], marks[b], times[b], lanes, i)
            found = False
            while c >= kept and not found:
                j -= 1
                found = runs(hybrid, places[c], marks[c], lanes, j)
                if found:
                    _move(x[b], i, x[c], j, lanes)
                    _move(paths[b], i, paths[c], j, lanes)
                    _move(places[b], i, places[c], j, lanes)
                    _move(marks[b], i, marks[c], j, lanes)
                    _move(times[b], i, times[c], j, lanes)
                    _move(budgets[b], i, budgets[c], j, lanes)
                    _move(counts[b], i, counts[c], j, lanes)
                    places[c, j] = -1
                else:
                    put_away(ended, x[c], places[c], marks[c], times[c], lanes, j)
                if j == 0:
                    c, j = c - 1, lanes
    for b in range(kept, blocks):
        for i in range(lanes):
            put_away(ended, x[b], places[b], marks[b], times[b], lanes, i)
    return kept
