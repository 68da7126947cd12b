"""What the loop needs of levels that paths cross and of changes of state, and the scratch of one call.

Emitted functions, beside those of `compiled_program`, all with a clock of each lane (t, h rows):

    watch(x, t, p, out)         out: L excesses (positive: the level is crossed), L variances of them per unit time,

                                a rate for each Poisson clock
    reach(y, x, e, h, t, p, out)    of a step of h from y at t to x, for each bent level six rows: what it is where the
                                bridge is furthest ahead, and that place; the same behind; where the step ends; and the
                                root of its variance. Rows of e: an exponential variable of each such level; and a last
                                one, which where it is 1 says that those are the places themselves
    arrive(y, x, e, h, t, p)    where e, the first row, is l + 1: x = the state where a step from y at t, which would
                                have ended in x, meets level l after h, the share c (second row) of the step having
                                gone, at a place of a bent level (third row); fourth row: how long it would have been
    change(x, e, m, t, p)       where e is j + 1: x = what change j makes of x, m being base variables of its sizes
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiled_program import Program
from ..drivers import Gaussian
from ..workspace import aligned


class Hybrid(NamedTuple):
    """Addresses, sizes and tables: build it with `hybrid`."""

    watch: int
    arrive: int  # 0: no level is seen between steps
    change: int
    reach: int  # 0: no level is bent
    levels: int
    bents: int
    rows: int  # of sizes
    last: int  # group of `marks` and `times` that tells of the stop, 0 where nothing stops
    event_level: Any  # (E,) int64: level of each event
    event_stops: Any  # (E,) int64: whether it is dated only where it stops the path
    bridged: Any  # (L,) int64: whether it is seen between steps; else it is met at the end of the step that crosses it
    bent: Any  # (L,) int64: its number among bent levels, -1 for others
    ends: Any  # (L,) int64: whether the path stops there
    resets: Any  # (L,) int64: change made there, 0 for none
    stays: Any  # (L,) int64: whether that change leaves the excess as it is
    clocks: Any  # (C,) int64: change made by each Poisson clock
    size_first: Any  # (K + 1,) int64: first row of sizes of each change
    size_kind: Any  # (rows,) float64: standard normal (-3), exponential (-2), uniform (-1), or Bernoulli (p)
    impulse_at: Any  # (I,) int64: state numbers, in order
    impulse: Any  # (I,) int64: changes made then


class Ended(NamedTuple):
    """Of a chunk's paths, the last state, marks and times of those that run no more, and how much is left to run."""

    x: Any  # (S + 2, paths) F
    marks: Any  # (G, paths) int64
    times: Any  # (G, paths) float64
    left: Any  # (2,) int64: blocks and paths


class Turns(NamedTuple):
    """Scratch: rows of LANES."""

    y: Any  # states before the turn
    before: Any  # what `watch` says before it, and after
    after: Any
    met: Any  # (L * LANES,) float64: when the lanes that meet some level meet each, from the turn's start
    now: Any  # float64: each lane's time
    rest: Any  # float64: what is left of the grid's step
    length: Any  # float64: of the turn
    ends: Any  # float64: times of the turn's ends
    code: Any  # four rows
    given: Any  # what `reach` goes by, and what it says
    found: Any
    low: Any  # (K * LANES,) float64: places between which the lanes that meet a bent level do, and excesses there
    high: Any
    under: Any
    over: Any
    place: Any  # of the best one so far, and its distance from the level
    miss: Any
    side: Any  # on which the last place was
    sizes: Any
    normal: Any
    running: Any  # int64
    look: Any  # int64: whether a lane has been changed and is to be looked at: 1, or 2 + the level at which it still is
    due: Any  # int64
    act: Any  # int64
    near: Any  # int64: whether a lane may meet a level
    lane: Any  # int64: numbers of lanes
    own: Any  # int64: paths of those lanes
    chance: Any  # float64: exponents of the chance that they meet a level


def make_turns(program: Program, hybrid: Hybrid, driver: Any, dtype: Any) -> Turns:
    """Fresh scratch."""
    lanes = program.lanes
    watched = 2 * hybrid.levels + len(hybrid.clocks)
    per = 16 // np.dtype(dtype).itemsize
    normals = driver.channels * driver.fine + per if isinstance(driver, Gaussian) else 0

    def real(count: int) -> np.ndarray:
        return aligned(count * lanes, dtype)

    def rows(count: int = 1) -> np.ndarray:
        return aligned(count * lanes, np.float64)

    def whole() -> np.ndarray:
        return aligned(lanes, np.int64)

    return Turns(
        y=real(program.states),
        before=real(watched),
        after=real(watched),
        met=rows(hybrid.levels),
        now=rows(),
        rest=rows(),
        length=rows(),
        ends=rows(),
        code=real(4),
        given=real(hybrid.bents + 1),
        found=real(6 * hybrid.bents),
        low=rows(hybrid.bents),
        high=rows(hybrid.bents),
        under=rows(hybrid.bents),
        over=rows(hybrid.bents),
        place=rows(hybrid.bents),
        miss=rows(hybrid.bents),
        side=rows(hybrid.bents),
        sizes=real(hybrid.rows),
        normal=real(normals),
        running=whole(),
        look=whole(),
        due=whole(),
        act=whole(),
        near=whole(),
        lane=whole(),
        own=whole(),
        chance=rows(),
    )


def prototype() -> Hybrid:
    """One for its types."""
    i, f = np.zeros(1, np.int64), np.zeros(1)
    return Hybrid(1, 1, 1, 1, 1, 1, 1, 1, i, i, i, i, i, i, i, i, i, f, i, i)
