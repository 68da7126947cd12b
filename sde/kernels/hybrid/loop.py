"""The loop over blocks and steps, of paths that stop, jump or are reset (see `kernels.loop` for all that is alike)."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..calls import call_observe, call_wait
from ..compiled_program import Program
from ..drivers import FUNCTIONS, Driver, Gaussian
from ..drivers import prototype as driver_prototype
from ..loop import Clock
from ..machine_code import kernel
from ..options import inlined, seldom
from ..rows import fill
from ..shared_functions import addresses
from ..workspace import aligned, make_space
from .record import Ended, Hybrid, make_turns, prototype
from .regroup import regroup, runs
from .turns import make_changes, turns

TOGETHER = 8
"""Steps after which lanes are regrouped: whole draw blocks of normals."""


@seldom
def _begin(space, turn, program, hybrid, seed, p, x, paths, places, marks, budgets, now, first):
    """Set up a block's lanes at time `now`; how many run. first: whether it is where they begin."""
    lanes, real, left = program.lanes, x.dtype.type, 0
    for i in range(lanes):
        space.alive[i] = np.int32(1) if marks[i] < 0 else np.int32(0)
        turn.running[i] = 1 if runs(hybrid, places, marks, lanes, i) else 0
        left += turn.running[i]
        turn.rest[i], turn.now[i], space.t[i] = 0.0, now, real(now)
        turn.look[i] = turn.running[i] if first else 0
    if first:
        for j in range(len(turn.before)):
            turn.before[j] = real(-1.0) if j < hybrid.levels * lanes else real(0.0)
        for c in range(len(hybrid.clocks)):
            for i in range(lanes):
                budgets[c * lanes + i] = call_wait(space.functions.wait, seed, paths[i], 0, c)
    else:
        call_observe(hybrid.watch, x, space.t, p, turn.before)
    return left


@inlined
def _save(space, turn, program, hybrid, x, p, places, rows, slot):
    """Write the observables of the lanes that run."""
    lanes = program.lanes
    call_observe(program.observe, x, space.t, p, space.out)
    for o in range(program.observables):
        for i in range(lanes):
            if turn.running[i] != 0:
                rows[slot, o, places[i]] = space.out[o * lanes + i]


@inlined
def _advance_block(
    space,
    turn,
    program,
    hybrid,
    driver,
    clock,
    seed,
    p,
    x,
    paths,
    places,
    marks,
    times,
    budgets,
    counts,
    begin,
    end,
    limit,
    rows,
    slot,
    impulse,
):
    """Steps begin..end-1 of one block, from save number `slot` and impulse number `impulse` on; how many lanes run."""
    lanes, real = program.lanes, x.dtype.type
    now = clock.time[begin - clock.first]
    left = _begin(space, turn, program, hybrid, seed, p, x, paths, places, marks, budgets, now, begin == 0)
    for k in range(begin - 1, end):  # the first time round takes no step: it looks at where the lanes stand
        if space.stop[0] != 0 or left == 0:
            break
        at, span, substep, again = k - clock.first, 0.0, 0, True
        if k >= begin:
            now = clock.time[at]
            span = clock.time[at + 1] - now
            for i in range(lanes):
                turn.now[i] = now
                turn.rest[i] = span if turn.running[i] != 0 else 0.0
        while again:
            substep = turns(
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
                k == begin,
                substep,
                limit,
                span,
            )
            again = impulse < len(hybrid.impulse) and hybrid.impulse_at[impulse] == k + 1
            if again:
                for i in range(lanes):
                    turn.now[i] = clock.time[at + 1]
                    turn.act[i] = hybrid.impulse[impulse] if turn.running[i] != 0 else 0
                make_changes(space, turn, program, hybrid, x, seed, p, paths, counts)
                impulse += 1
        left = 0
        for i in range(lanes):
            left += turn.running[i]
        if slot < len(clock.saves) and clock.saves[slot] == k + 1:
            fill(space.t, real(clock.time[at + 1]), lanes)
            _save(space, turn, program, hybrid, x, p, places, rows, slot)
            slot += 1
    return left


def advance_hybrid(
    space,
    turn,
    program,
    hybrid,
    driver,
    clock,
    seed,
    p,
    x,
    paths,
    places,
    marks,
    times,
    budgets,
    counts,
    ended,
    begin,
    end,
    bound,
    rows,
    regroups,
):
    lanes, limit = program.lanes, x.dtype.type(bound)
    slot, impulse, at, blocks, running = 0, 0, begin, ended.left[0], 1
    while at < end and running > 0:
        cut = (at // TOGETHER + 1) * TOGETHER
        cut = cut if regroups != 0 and cut < end else end
        while slot < len(clock.saves) and at > 0 and clock.saves[slot] <= at:
            slot += 1
        while impulse < len(hybrid.impulse) and at > 0 and hybrid.impulse_at[impulse] <= at:
            impulse += 1
        running = 0
        for b in range(blocks):
            running += _advance_block(
                space,
                turn,
                program,
                hybrid,
                driver,
                clock,
                seed,
                p,
                x[b],
                paths[b],
                places[b],
                marks[b],
                times[b],
                budgets[b],
                counts[b],
                at,
                cut,
                limit,
                rows,
                slot,
                impulse,
            )
            if space.stop[0] != 0:
                return
        if regroups != 0:
            blocks = regroup(hybrid, ended, lanes, blocks, running, x, paths, places, marks, times, budgets, counts)
        at = cut
    ended.left[0], ended.left[1] = blocks, running


def run_hybrid(dtype: Any, kind: type, used: tuple[str, ...] = ()) -> Callable[..., Any]:
    """The loop for float32 or float64 and drivers of class `kind`, compiled on first use. It releases the GIL. used: by
    name, which of `random.variates` the runs draw.

    run(program, hybrid, driver, clock, seed, p, x, paths, places, marks, times, budgets, counts, ended, begin, end,
    bound, rows, regroups[, stop])

    Of B blocks, the first ended.left[0] of which run, carried by the caller from segment to segment: x (B, (S + 2) *
    lanes) F; paths (B, lanes) int64, the number of each lane's path; places (B, lanes), where it is written, -1 for a
    lane that stands for none; marks int64 and times float64 (B, G * lanes), state number and time of its explosion, of
    each event, and where `hybrid.last` is G - 1 of its stop, -1 and NaN until then; budgets (B, C * lanes) float64,
    what is left to the next jump of each Poisson clock; counts (B, K * lanes) int64, how often each change was made.
    rows (saves, O, slots) F: lanes that run are written, others are left as they are. regroups: lanes may be moved, and
    blocks become fewer; what a lane leaves goes to `ended`. Returns as `kernels.loop.run_block`. Raises ValueError for
    sizes that do not fit together.
    """
    dtype = np.dtype(dtype)
    fills = ("normals_of", "combine") if kind is Gaussian else FUNCTIONS[kind]
    compiled, functions = _compile(dtype.name, kind), addresses(dtype, ("mark_exploded", "words_of", *fills, *used))

    def run(
        program: Program,
        hybrid: Hybrid,
        driver: Driver,
        clock: Clock,
        seed: int,
        p: Any,
        x: Any,
        paths: Any,
        places: Any,
        marks: Any,
        times: Any,
        budgets: Any,
        counts: Any,
        ended: Ended,
        begin: int,
        end: int,
        bound: float,
        rows: Any,
        regroups: bool,
        stop: Any = None,
    ) -> Any:
        lanes, blocks, events = program.lanes, len(x), len(hybrid.event_level)
        groups, width = 1 + events + (1 if hybrid.last else 0), (program.states + 2) * lanes
        shapes = {
            "x": (x, (blocks, width)),
            "paths": (paths, (blocks, lanes)),
            "places": (places, (blocks, lanes)),
            "marks": (marks, (blocks, groups * lanes)),
            "times": (times, (blocks, groups * lanes)),
            "budgets": (budgets, (blocks, len(hybrid.clocks) * lanes)),
            "counts": (counts, (blocks, (len(hybrid.size_first) - 1) * lanes)),
            "rows": (rows, (len(clock.saves), program.observables, rows.shape[2])),
            "ended.x": (ended.x, (program.states + 2, ended.x.shape[1])),
            "ended.marks": (ended.marks, (groups, ended.x.shape[1])),
            "ended.times": (ended.times, (groups, ended.x.shape[1])),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ValueError(f"kernels.hybrid: {name} must have shape {shape}; got {array.shape} (tuple).")
        steps = min(len(clock.h), len(clock.scale), len(clock.time) - 1)
        if not clock.first <= begin <= end <= clock.first + steps or places.max(initial=-1) >= min(
            rows.shape[2], ended.x.shape[1]
        ):
            raise ValueError(f"kernels.hybrid: steps and places must lie within; got {(begin, end)} (tuple).")
        space = make_space(functions, program, driver, dtype, stop)
        space = space._replace(h=aligned(lanes, dtype), t=aligned(lanes, dtype))
        turn = make_turns(program, hybrid, driver, dtype)
        compiled(
            space,
            turn,
            program,
            hybrid,
            driver,
            clock,
            seed,
            p,
            x,
            paths,
            places,
            marks,
            times,
            budgets,
            counts,
            ended,
            begin,
            end,
            bound,
            rows,
            int(regroups),
        )
        return space.own_steps[:3]

    return run


@cache
def _compile(name: str, kind: type) -> Any:
    dtype = np.dtype(name)
    f1, f2, f3 = np.empty(0, name), np.empty((0, 0), name), np.empty((0, 0, 0), name)
    d1, d2, i1, i2 = np.empty(0), np.empty((0, 0)), np.empty(0, np.int64), np.empty((0, 0), np.int64)
    program, driver, hybrid = Program(*[1] * len(Program._fields)), driver_prototype(kind, dtype), prototype()
    space = make_space(addresses(name, ()), program, driver, dtype)
    head = (space, make_turns(program, hybrid, driver, dtype), program, hybrid, driver, Clock(d1, d1, d1, i1, 0))
    carried = (f2, i2, i2, i2, d2, d2, i2, Ended(f2, i2, d2, i1))
    return kernel(advance_hybrid, *head, np.uint64(0), f1, *carried, 0, 0, 0.0, f3, 0, stamp=f"hybrid {kind.__name__}")
