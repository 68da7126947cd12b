"""The largest stable learning rate, now and at the noise equilibrium, and what that says about warmup (docs/theory.md
eq. (5.1))."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from symbolic.problem.optimizer import SGD, require_sgd


@dataclass(frozen=True)
class Stability:
    """Whether steps of gradient descent contract along the sharpest direction: eta (lambda_max(H) + lambda_wd) < 2 (1 +
    beta).

    learning_rate: eta at the start of the schedule, and full: the base rate. limit, limit_star: largest stable eta now
    and at the noise equilibrium (nan where there is none). now: learning_rate < limit; at_equilibrium: full <
    limit_star, None where unknown. A limit of the mean motion: noise can only make it stricter.
    """

    learning_rate: float
    full: float
    limit: float
    limit_star: float
    now: bool
    at_equilibrium: bool | None

    def __str__(self) -> str:
        now = f"eta = {self.learning_rate:.6g} is {'stable' if self.now else 'unstable'} here (limit {self.limit:.6g})"
        if self.at_equilibrium is None:
            return f"{now}; there is no finite equilibrium to compare with"
        there = (
            f"eta = {self.full:.6g} is {'stable' if self.at_equilibrium else 'unstable'} at the noise equilibrium"
            f" (limit {self.limit_star:.6g})"
        )
        reading = "."
        if self.at_equilibrium and not self.full < self.limit:
            reading = (
                ": a warmup lets the noise balance the charges before the full rate is reached."
                if self.now
                else ": start with a smaller rate (warmup) and let the noise balance the charges first."
            )
        elif self.now and not self.at_equilibrium:
            reading = ": the noise leads towards instability; a smaller final rate is needed."
        return f"{now}; {there}{reading}"


def stability(sgd: SGD, largest: float, largest_star: float) -> Stability:
    """From lambda_max(H) here and at the noise equilibrium (nan where there is none). A schedule counts by its factor
    at t = 0."""

    def limit(curvature: float) -> float:
        total = curvature + sgd.weight_decay
        return 2 * (1 + sgd.momentum) / total if total > 0 else np.nan if np.isnan(total) else np.inf

    require_sgd("Sharpness.stable", sgd)
    first = sgd.learning_rate * float(sgd.factor(np.zeros(1))[0])
    here, there = limit(largest), limit(largest_star)
    later = None if np.isnan(there) else sgd.learning_rate < there
    return Stability(first, sgd.learning_rate, here, there, first < here, later)
