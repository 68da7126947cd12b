"""Until when a comparison is worth its paths: once gradient descent rests, nothing that tells SGD from its SDEs by
order is added (docs/theory.md eq. (3.4)), and scatter grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sde.api.training import train
from symbolic.errors import InputError
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD

LEFT = 0.1
"""Of the loss that gradient descent loses: what it has still to lose when it counts as at rest."""
SAVES, PATHS, LONG = 1001, 16, 2.0


def rest_time(loss: Loss, sgd: SGD, start: Mapping[Any, Any], time: float, seed: int = 0) -> float | None:
    """When gradient descent is at rest, in time; None where `time` is not LONG times that, or its loss is not known."""
    end, found, floor = time, None, float("inf")
    try:
        observables = {"mean_loss_of_descent": loss.mean}
        for _ in range(2):  # once over all, once more closely
            steps = round(end / sgd.learning_rate)
            run = train(
                loss, replace(sgd, momentum=0.0, schedule=None), start=start, steps=steps, seed=seed, paths=PATHS,
                observables=observables, save_at=min(SAVES, steps + 1), full_batch=True,
            )  # fmt: skip
            lost = run.mean_loss_of_descent.sel(statistic="mean").values
            floor = min(floor, float(lost[-1]))
            left = lost - floor
            over = np.flatnonzero(~(left <= LEFT * left[0]))
            if not np.isfinite(lost).all() or not left[0] > 1e-9 * abs(lost[0]) or over[-1] + 1 >= len(lost):
                break
            found = end = float(run.time.values[over[-1] + 1])
    except InputError:
        return None
    return found if found is not None and time > LONG * found else None
