"""What is asked of another process, what it answers, and how it does what it is asked.

A task names its plan by hash. A process that lacks it says so, with what its bits depend on; it is then sent the plan,
once, and runs a little of it. Only where that gives the bits that it gave the asking process does it get work.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from sde.engine.chunk import Worker, load_loop, run_chunk
from sde.engine.engine_identity import engine
from sde.engine.outlet import Outlet
from sde.engine.piece import Piece, run_piece
from sde.engine.plan import Plan
from sde.engine.time_grid import FixedClock
from sde.kernels import target
from sde.kernels.loop import Clock
from sde.storage import module_cache

TRIAL_STEPS = 16
KEPT = 4
"""Plans that a process keeps, those used last."""


@dataclass(frozen=True)
class Parcel:
    """Something that is sent to each process once. digest: its name."""

    data: bytes
    digest: str

    @classmethod
    def of(cls, content: Any) -> Parcel:
        """Raises what pickle does for what is no data."""
        data = pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)
        return cls(data, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class Task:
    """chunks: of the plan of this digest; layouts: digest of the bins that quantiles are counted in, empty where the
    chunks' paths are to come back; trial: what `trial` of the plan gives; sent: parcels that the process said it lacks;
    compiler, cache: the settings of the asking process, and where it keeps machine code; outlet: where paths may be
    written."""

    plan: str
    layouts: str
    chunks: range
    trial: str
    compiler: Mapping[str, Any]
    cache: str
    sent: tuple[Parcel, ...] = ()
    outlet: Outlet | None = None


@dataclass(frozen=True)
class Answer:
    """who: the process that answers; engine: what its bits depend on; missing: digests of what it lacks; trial: what
    its own gave, where that is not what it should; pieces: the work."""

    who: str
    engine: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    trial: str = ""
    pieces: tuple[Piece, ...] = ()


_parcels: dict[str, bytes] = {}
_ready: dict[str, tuple[Any, Worker]] = {}
_lock = Lock()


def run_task(task: Task) -> Answer:
    """Do what is asked. Several threads of a process may call."""
    who = f"process {os.getpid()} on {socket.gethostname()}"
    with _lock:
        _settle(task)
        _parcels.update({parcel.digest: parcel.data for parcel in task.sent})
        missing = tuple(d for d in (task.plan, task.layouts) if d and d not in _parcels and d not in _ready)
        if missing:
            return Answer(who, engine(), missing)
        found = _plan(task)
        if isinstance(found, str):
            return Answer(who, engine(), trial=found)
        layouts = _kept(task.layouts)[0] if task.layouts else None
    plan, worker = found
    return Answer(who, pieces=tuple(run_piece(plan, task.chunks, layouts, worker, task.outlet)))


def _settle(task: Task) -> None:
    """Compile as the asking process does, and where, as far as this one is free to."""
    target.adopt(task.compiler)
    if module_cache.VARIABLE not in os.environ and task.cache and Path(task.cache).is_dir():
        os.environ[module_cache.VARIABLE] = task.cache


def _plan(task: Task) -> tuple[Plan, Worker] | str:
    """The plan, compiled and tried, with what its chunks share here; or what the trial gave, if that is wrong."""
    if task.plan in _ready:
        return _kept(task.plan)
    plan: Plan = pickle.loads(_parcels[task.plan])
    with module_cache.alone():
        found = trial(plan)
    return _kept(task.plan) if found == task.trial else found


def _kept(digest: str) -> tuple[Any, Worker]:
    """What a parcel holds, with what those that use it share; the oldest ones make room."""
    found = _ready.pop(digest, None) or (pickle.loads(_parcels.pop(digest)), Worker())
    _ready[digest] = found
    while len(_ready) > 2 * KEPT:
        _ready.pop(next(iter(_ready)))
    return found


def trial(plan: Plan) -> str:
    """Hash of a small run of the plan's own: the first steps of its first paths, and its clock here and there."""
    first = plan.clock.window(0)
    steps = min(TRIAL_STEPS, len(first.h))
    saves = np.unique(np.array([0, steps // 2, steps], np.int64))
    clock = FixedClock(Clock(first.time[: steps + 1], first.h[:steps], first.scale[:steps], saves))
    paths = min(plan.paths, plan.program.lanes)
    small = replace(plan, clock=clock, paths=paths, blocks=1, piece=0)
    load_loop(plan)
    result = run_chunk(small, 0)
    chunk = result.paths
    digest = hashlib.sha256(chunk.rows[:, :, : chunk.count].tobytes())
    windows = [plan.clock.window(k * (plan.clock.steps - 1) // 2) for k in range(3)]
    last = plan.start(plan.first + plan.paths - 1, 1)
    arrays = [*result.statistics.state().values(), last, *(a for w in windows for a in (w.time, w.h, w.scale))]
    for array in (*arrays, *chunk.events):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
