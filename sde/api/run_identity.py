"""What makes two runs the same run: hashes of all that decides their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sde.engine.plan import Plan
from sde.engine.time_grid import RunClock
from sde.kernels.drivers import Driver
from symbolic.codegen.prepare import Prepared


def problem_identity(
    prepared: Prepared, driver: Driver, run_clock: RunClock, parameters: np.ndarray, start: np.ndarray
) -> str:
    """Hash of all that decides a run but its seed and number of paths: the text, what drives it, the clock, where it
    starts."""
    digest = hashlib.sha256(prepared.module.text.encode())

    def feed(value: Any) -> None:
        if isinstance(value, tuple):
            for part in value:
                feed(part)
        else:
            digest.update(np.ascontiguousarray(value).tobytes() + b";")

    feed((driver, parameters, start, run_clock.saves))
    for window in run_clock.windows():
        feed((window.time, window.h, window.scale))
    return digest.hexdigest()[:16]


def run_identity(mark: str, plan: Plan, start: Mapping[Any, Any], streamed: bool) -> str:
    """Hash of all that decides a result: the problem's, and the numbers of the ensemble and of what is gathered over
    it."""
    digest = hashlib.sha256(mark.encode())
    numbers = (
        plan.paths,
        plan.seed,
        plan.keep,
        streamed,
        plan.bound,
        plan.events,
        plan.covariance,
        plan.chunk_size,
        list(plan.histograms),
    )
    digest.update(repr(numbers).encode())
    if plan.hybrid is not None:
        digest.update(repr(plan.hybrid).encode())
    arrays = [np.asarray(v, dtype=np.float64) for _, v in sorted(start.items(), key=str) if not hasattr(v, "bind")]
    for array in (*plan.histograms.values(), *arrays):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
