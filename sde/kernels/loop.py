"""The loop: advance one block of LANES paths over a range of steps, whatever the problem.

Compiled once per dtype and class of driver, and cached on disk; a problem enters as addresses (`programs`), a driver
(`drivers`) and arrays. State k is the state after k steps. A path's bits depend on (seed, path) and the problem only.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .advance import advance
from .compiled_program import Program
from .drivers import FUNCTIONS, Adaptive, Driver, Halved, Sampled, Weighted, prototype
from .machine_code import bound, kernel
from .shared_functions import addresses
from .statistics.lanes import SIDE
from .workspace import make_space


class Clock(NamedTuple):
    """Per-step arrays from step `first` on, float64: time (T + 1,), h (T,), scale (T,); and `saves`, sorted int64
    state numbers, of the whole run.
    """

    time: Any
    h: Any
    scale: Any
    saves: Any
    first: Any = 0


def _require(holds: bool, rule: str, got: Any, advice: str) -> None:
    if not holds:
        raise ValueError(f"kernels.loops: {rule}; got {got} ({type(got).__name__}). {advice}")


def check(
    program: Program,
    driver: Any,
    clock: Clock,
    p: Any,
    x: Any,
    dead: Any,
    when: Any,
    valid: int,
    begin: int,
    end: int,
    statistics: Any,
    paths: Any,
    first_slot: int,
    dated: bool,
) -> None:
    """Refuse what would read or write out of bounds: a wrong shape must be an error, not a crash."""
    blocks, lanes, events = len(x), program.lanes, dead.shape[1] // program.lanes - 1
    needed = (blocks, program.states * lanes)
    _require(lanes % SIDE == 0, f"lanes must be a multiple of {SIDE}", lanes, "Emit 64, 128 or 256.")
    _require(
        x.shape in (needed, (blocks, needed[1] + 2 * lanes))
        and dead.shape == (blocks, (1 + events) * lanes)
        and 0 <= events <= program.observables,
        "x must have states * lanes entries a block, or two rows more, and dead must have lanes, and as many per event",
        (x.shape, dead.shape),
        f"Use {needed}.",
    )
    _require(dated or not events, "a loop for runs without events may have none", events, "Ask for one with events.")
    _require(when.shape == dead.shape, "when must have the shape of dead", when.shape, "")
    _require(
        (blocks - 1) * lanes <= valid <= blocks * lanes, "valid must be within the lanes of the last block", valid, ""
    )
    steps = min(len(clock.h), len(clock.scale), len(clock.time) - 1)
    inside = clock.first <= begin <= end <= clock.first + steps
    _require(inside, "steps must lie within the clock", (begin, end), f"It has {steps} steps from {clock.first} on.")
    data, own = isinstance(driver, Sampled | Weighted), isinstance(driver, Adaptive | Halved)
    rows_of = {Sampled: (program.accumulate or program.sweep,), Weighted: (program.sweep,)}
    roles = (program.step, program.observe, *rows_of.get(type(driver), ()))
    _require(
        all(roles),
        "step and observe, and accumulate or sweep for data drivers, must be compiled",
        roles,
        "Compile them.",
    )
    _require(own == bool(program.pace), "an adaptive driver, and no other, needs a pace", type(driver).__name__, "")
    for name, array, tail in (("statistics", statistics, (5,)), ("paths", paths, (paths.shape[2],))):
        shape = (len(clock.saves), program.observables - events, *tail)
        _require(array.size == 0 or array.shape == shape, f"{name} must have shape {shape}", array.shape, "")
    fits = 0 <= first_slot <= paths.shape[2] - valid
    _require(paths.size == 0 or fits, "paths must have a slot for every valid lane", paths.shape, "")
    inputs = program.inputs if data else len(driver.channels if own else driver.mean)
    _require(inputs == program.inputs, "the driver must have one entry per input row", inputs, "")
    rows = [*driver.table_rows.tolist(), *driver.drawn_rows.tolist()] if isinstance(driver, Sampled) else []
    if isinstance(driver, Sampled) and not program.accumulate:
        _require(lanes % program.group == 0, "lanes must be a multiple of a group's", lanes, "")
    if isinstance(driver, Weighted):
        fits = driver.table.shape[1] == program.data and lanes % program.group == 0
        _require(fits, f"the table must have {program.data} columns", driver.table.shape, "")
    _require(all(0 <= r < program.data for r in rows), f"data rows must be below {program.data}", rows, "")


Run = Callable[..., Any]
"""run(clock, seed, p, x, dead, when, first_path, valid, begin, end, bound, statistics, paths, first_slot), see
`run_block`."""


def run_block(dtype: Any, kind: type, events: bool = False) -> Callable[..., Run]:
    """The loop for float32 or float64 and drivers of class `kind`, for runs with events or without, compiled on first
    use: (program, driver[, stop]) gives a `Run`, which has scratch of its own, so that one thread at a time may call
    it. It releases the GIL.

    seed uint64; p (P,) F parameters; x (B, S * lanes) F, dead (B, lanes) int64 and when (B, lanes) float64, of B
    blocks, are carried by the caller from segment to segment (dead starts at -1 and becomes the first state number at
    which a state row is not within `bound`, when its time; such a lane turns NaN). Lane i of block b is path first_path
    + b * lanes + i; only the first `valid` of them count.
    Steps begin..end-1 are taken; saves in (begin, end], and save 0 if begin is 0, are merged into statistics
    (saves, O, 5) float64 and written to paths (saves, O, slots) F at first_slot + i, NaN for dead lanes;
    either may have size 0 and is then left out. Arrays must be C-contiguous and writable. Returns (3,) int64: how many
    steps lanes chose themselves, how many lanes gave up (`step`), how many steps were rejected. stop: (1,) int64;
    another thread that makes it 1 ends the call within one call of an emitted function, all arrays then being
    worthless. Raises ValueError for sizes that do not fit together, TypeError for a wrong dtype.
    """
    dtype = np.dtype(dtype)
    compiled, functions = (
        compile_loop(dtype.name, kind),
        addresses(dtype, (*FUNCTIONS[kind], "record", "mark_exploded", *(["date"] if events else []))),
    )

    def ready(program: Program, driver: Driver, stop: Any = None) -> Run:
        space = make_space(functions, program, driver, dtype, stop)
        advance_blocks = bound(compiled, space, program, driver)

        def run(
            clock: Clock,
            seed: int,
            p: Any,
            x: Any,
            dead: Any,
            when: Any,
            first_path: int,
            valid: int,
            begin: int,
            end: int,
            bound: float,
            statistics: Any,
            paths: Any,
            first_slot: int,
        ) -> Any:
            check(program, driver, clock, p, x, dead, when, valid, begin, end, statistics, paths, first_slot, events)
            space.own_steps[:] = 0
            advance_blocks(
                clock,
                seed,
                p,
                x,
                dead,
                when,
                first_path,
                valid,
                begin,
                end,
                bound,
                statistics,
                paths,
                first_slot,
            )
            return space.own_steps[:3].copy()

        return run

    return ready


@cache
def compile_loop(name: str, kind: type) -> Any:
    """The kernel for dtype `name`, "float32" or "float64", and a class of drivers, from the disk cache where it
    can."""
    f1, d1, i1 = (np.empty(0, t) for t in (name, np.float64, np.int64))
    f2, d2, i2 = (np.empty((0, 0), t) for t in (name, np.float64, np.int64))
    statistics, paths = np.empty((0, 0, 0)), np.empty((0, 0, 0), name)
    program, driver = Program(*[1] * len(Program._fields)), prototype(kind, np.dtype(name))
    space = make_space(addresses(name, ()), program, driver, np.dtype(name))
    problem = (space, program, driver, Clock(d1, d1, d1, i1, 0), np.uint64(0))
    rest = (0, 0, 0, 0, 0.0, statistics, paths, 0)
    return kernel(advance, *problem, f1, f2, i2, d2, *rest, stamp=kind.__name__)
