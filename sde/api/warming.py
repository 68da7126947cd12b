"""Compile ahead: for images, classrooms and machines without a moment to lose."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from sde.api.spec_runs import run_spec
from sde.api.survey import FEWEST_DEFAULT
from sde.kernels import ahead, machine_code
from sde.spec.problem_file import Spec
from symbolic.errors import InputError

STEPS = 8
"""Steps of the runs that compile a spec's text."""
UNTAKEN = ("save_at", "steps", "steps_at")
"""Of [run], what fits only a run of its own length."""


@dataclass(frozen=True)
class Warmed:
    """What was asked for, how many functions of it were compiled and how many were there, and seconds."""

    what: str
    compiled: int
    kept: int
    seconds: float


def _counted(what: str, began: float, before: dict[str, int]) -> Warmed:
    compiled, kept = (machine_code.taken[k] - before[k] for k in ("compiled", "from the cache"))
    return Warmed(what, compiled, kept, perf_counter() - began)


def warm(specs: Sequence[Spec], dtypes: Sequence[str]) -> Iterator[Warmed]:
    """Compile loops, shared functions and statistics for dtypes, then what `simulate`, and of a loss `train`, run of
    each spec, by a run of one path and a few steps with the settings of its [run]. What is in the cache is left as it
    is."""
    for dtype in dtypes:
        began, before = perf_counter(), dict(machine_code.taken)
        ahead.compile_all(dtype)
        yield _counted(f"loops and statistics in {dtype}", began, before)
    for spec in specs:
        short = {k: v for k, v in spec.run.items() if k not in UNTAKEN}
        own = spec.optimiser is None
        whole = float(short.get("time", sys.float_info.max))
        step = short.get("dt", whole / FEWEST_DEFAULT) if own else spec.sgd.learning_rate
        short["time"] = min(whole, STEPS * step)
        for command in ("simulate",) if own else ("simulate", "train"):
            began, before = perf_counter(), dict(machine_code.taken)
            try:
                run_spec(command, replace(spec, run=short), {}, {"paths": 1})
            except InputError as error:
                raise InputError(f"warm: {spec.name}: {error}") from error
            yield _counted(f"{command} of {spec.name}", began, before)
