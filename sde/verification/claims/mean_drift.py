"""The mean change of a charge over one step of SGD, and of its SDE, against the theory's, at states that SGD visits."""

from __future__ import annotations

from collections.abc import Iterator

from sde.verification.claim_kind import Case, ClaimKind
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, Run, from_every_start
from sde.verification.sampling_error import enough, lacking
from sde.verification.verdicts import Claim, Untested

SURE = 10.0
"""Standard errors beyond all that rounding makes from which on a change counts where none is predicted."""


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


def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested]:
    """A claim a charge, from single steps of SGD or of the SDE."""
    given, run = evidence.experiment, case.runs[-1]
    margin = given.margins.drift
    if run.kind is Kind.SGD:
        # Sigma is known from samples only: its own error would pass for one of the theory's.
        why = "Sigma has no closed form under this law: give the data as a Dataset, a sample of the law will do"
        for subject in case.subjects:
            yield CLAIM.undecided(subject, 1.0, why, "the data as a Dataset")
        return
    found, around = evidence.drift(run.kind), (1 - margin, 1 + margin)
    for subject, j in case.pairs:
        slope, seen = found.slope(j, margin), int(found.predicted.resolved(margin)[:, j].sum())
        n = seen or len(found.predicted.states)
        note, steps = f"at {n} states, {found.repeats} steps from each", found.repeats * n
        least, rare = enough(steps, slope.skewness), given.setting.seen * (run.kind is Kind.DRIFT_SGD)
        note = "; ".join(filter(None, (note, lacking(steps, least, rare, "steps"))))
        claim = CLAIM.claim(
            subject, slope.value, slope.error, around, 1.0, steps, note, unit="single steps", least=max(least, rare)
        )
        if seen or abs(slope.value) - 1 - margin > SURE * slope.error:
            yield claim
        else:
            reason = "the predicted change over a step is no more than rounding makes of the charge"
            yield CLAIM.untested(subject, reason, "a larger learning rate, or another start")


CLAIM = ClaimKind(
    group="mean drift",
    statement="mean change of the charge per step, measured over predicted",
    position=2,
    applies=applies,
    measure=measure,
)
