"""A loss whose claims tests hold, an experiment without a theory, and how likely counts of errors are."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp
from scipy import stats

from sde import SGD
from sde.verification.distances import Law
from sde.verification.experiment import Experiment
from sde.verification.setting import Margins, Setting
from sde.verification.theory_numbers import Theory
from symbolic.library import LIBRARY

ENTRY = LIBRARY["rescaling"]
LOSS, SMALL = ENTRY.build(), SGD(0.02)
U, W = LOSS.theta
C, T = U**2 - W**2, sp.Symbol("t", real=True)
SETTINGS: dict[str, Any] = {"start": ENTRY.start, "time": 2.0, "paths": 100, "seed": 1}
NORMAL = Law(stats.norm.cdf, stats.norm.ppf)
ALPHA = 0.05


def binomial(count: int, trials: int, chance: float) -> float:
    """How likely so many, or more, are."""
    return float(stats.binom.sf(count - 1, trials, chance))


def own(report: Any) -> list[Any]:
    return [v for v in report.verdicts if v.group.startswith("claimed")]


def given(steps: int) -> Experiment:
    def moments(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return theta, np.ones_like(theta)[..., None]

    setting = Setting(
        learning_rate=1.0,
        temperature=1.0,
        variance=1.0,
        weight_decay=0.0,
        speed=1.0,
        plain=True,
        closed=True,
        factor=np.ones_like,
    )
    return Experiment(Theory((), moments, 0.0), setting, (np.zeros(1),), steps, Margins(), tuple(range(steps + 1)))
