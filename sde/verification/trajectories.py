"""The curves that show where each charge goes, with the forecast beside them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sde.verification.claim_kind import Case, Reader
from sde.verification.experiment import Experiment
from sde.verification.result import Band, Curves
from sde.verification.runs import Evidence, Kind, Run, Sample
from sde.verification.theory_numbers import Charge


def applies(experiment: Experiment) -> Iterator[Case]:
    """From every start, where the SDE can be run."""
    for k in range(len(experiment.starts) if experiment.setting.closed else 0):
        yield Case(runs=tuple(Run(kind, k) for kind in (Kind.SGD, Kind.SDE, Kind.GD)), start=k)


def measure(case: Case, evidence: Evidence) -> Iterator[Curves]:
    """The curves of every charge from one start."""
    given, ahead = evidence.experiment, evidence.experiment.forecasts[case.start]
    sgd, sde, descent = (evidence.sample(run.kind, run.start) for run in case.runs)
    rests = np.isfinite(ahead.mean[-1]).all() and case.start not in given.turning
    resting = evidence.simulators.equilibrium(ahead.mean[-1]) if rests else None
    for j, c in enumerate(given.theory.charges):
        bands = [_band(label, c, s, sgd.time) for label, s in (("SGD", sgd), ("SDE", sde)) if len(s.states)]
        yield Curves(
            c.label,
            given.names[case.start],
            sgd.time,
            ahead.expected(c.value) if ahead.followed else None,
            tuple(bands),
            c.value(descent.states[0]) if len(descent.states) else None,
            float(resting[j]) if resting is not None and np.isfinite(resting[j]) and c.kind == "convergent" else None,
            alone=ahead.covariance is None and given.theory.fluctuating,
        )


def _band(label: str, charge: Charge, sample: Sample, times: np.ndarray) -> Band:
    """Mean and quantiles over paths at a run's own times, read off at `times` (a display, so nearest earlier save)."""
    at = np.clip(np.searchsorted(sample.time, times, side="right") - 1, 0, None)
    values = charge.value(sample.states[:, at])
    low, high = np.quantile(values, [0.05, 0.95], axis=0)
    return Band(label, values.mean(axis=0), low, high)


CURVES = Reader(applies=applies, measure=measure)
