"""The mean change of a charge over one step of SGD, and of its SDE, against the theory's, at states that SGD visits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sde.verification.claim_kind import Case, ClaimKind
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, Run, from_every_start
from sde.verification.verdicts import Claim


def applies(experiment: Experiment) -> Iterator[Case]:
    """To SGD without momentum, and to the SDE, for charges that noise may move."""
    setting, moving, visited = experiment.setting, experiment.theory.moving, from_every_start(experiment, Kind.SGD)
    if not moving:
        return
    if not setting.closed:
        yield Case.of(experiment, moving, "SGD, {charge}", visited)
        return
    if setting.plain:
        yield Case.of(experiment, moving, "SGD, {charge}", [*visited, Run(Kind.DRIFT_SGD)])
    yield Case.of(experiment, moving, "SDE, {charge}", [*visited, Run(Kind.DRIFT_SDE)])


def measure(case: Case, evidence: Evidence) -> Iterator[Claim]:
    """A claim a charge, from single steps of SGD or of the SDE."""
    margin, run = evidence.experiment.margins.drift, case.runs[-1]
    if run.kind is Kind.SGD:
        # Sigma is known from samples only: its own error would pass for one of the theory's.
        why = "Sigma has no closed form under this law: give the data as a Dataset, a sample of the law will do"
        for subject in case.subjects:
            yield CLAIM.undecided(subject, 1.0, why, "the data as a Dataset")
        return
    found = evidence.drift(run.kind)
    predicted, n = found.predicted, len(found.predicted.states)
    note = f"at {n} states, {found.repeats} steps from each"
    for subject, j in case.pairs:
        size = predicted.size[:, j]
        slope, error = slope_through_origin(
            predicted.change[:, j] / size, found.mean[:, j] / size, found.variance[:, j] / size**2
        )
        around = (1 - margin, 1 + margin)
        yield CLAIM.claim(subject, slope, error, around, 1.0, found.repeats * n, note, unit="single steps")


def slope_through_origin(x: np.ndarray, y: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """(slope of y on x, its standard error), y of the given variance; all (n,)."""
    weight = float((x * x).sum())
    if weight <= 0:
        return np.nan, np.nan
    return float((x * y).sum() / weight), float(np.sqrt((x * x * variance).sum()) / weight)


CLAIM = ClaimKind(
    group="mean drift",
    statement="mean change of the charge per step, measured over predicted",
    position=2,
    applies=applies,
    measure=measure,
)
