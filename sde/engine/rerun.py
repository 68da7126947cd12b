"""One path of a run again, up to the step before it was lost: its numbers follow from seed and path alone."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from sde.engine import hybrid_chunk
from sde.engine.plan import Plan
from sde.kernels.loop import run_block


def step_of(plan: Plan, time: float) -> int:
    """The number of the first step that ends at `time` or later."""
    low, high = 0, plan.clock.steps
    while low < high:
        middle = (low + high) // 2
        if float(plan.clock.at(np.array([middle]))[0]) >= time:
            high = middle
        else:
            low = middle + 1
    return low


def state_at(plan: Plan, path: int, step: int, until: float) -> np.ndarray | None:
    """The state rows (S,) of a path after `step` steps; None where the clock (`time.perf_counter`) passes `until`."""
    if step == 0:
        return np.asarray(plan.start(plan.first + path, 1), dtype=plan.program.dtype)[0, : plan.program.states]
    if plan.hybrid is not None:
        return hybrid_chunk.state_at(plan, path, step, until)
    program, lanes = plan.program, plan.program.lanes
    loop = run_block(program.dtype, type(plan.driver), plan.events > 0)(program.native, plan.driver)
    width, none = program.states, np.empty((0, 0, 0))
    x = np.zeros((1, width + 2, lanes), dtype=program.dtype)
    x[0, :width] = np.asarray(plan.start(plan.first + path, 1), dtype=program.dtype).T
    dead = np.full((1, (1 + plan.events) * lanes), -1, dtype=np.int64)
    when, at, pace = np.full(dead.shape, np.nan), 0, 16
    while at < step:
        if perf_counter() > until:
            return None
        window = plan.clock.window(at)
        end = min(at + pace, step, window.first + len(window.h))
        loop(
            window,
            np.uint64(plan.seed),
            plan.parameters,
            x.reshape(1, -1),
            dead,
            when,
            plan.first + path,
            1,
            at,
            end,
            plan.bound,
            none,
            none.astype(program.dtype),
            0,
        )
        at, pace = end, min(2 * pace, 4096)
    return x[0, :width, 0].astype(np.float64)
