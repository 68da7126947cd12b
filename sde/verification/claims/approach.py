"""SGD and its SDE end alike, however far they have come."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind, standard_error, undecided_if_exploded
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, Run
from sde.verification.sampling_error import enough, lacking, skewness_of_difference
from sde.verification.verdicts import Claim, Untested

LEAST_WAY = 0.02
"""Of a charge's size, below which no way has been gone that could be compared."""


def applies(experiment: Experiment) -> Iterator[Case]:
    """To convergent charges, from every start."""
    convergent = experiment.of_class("convergent")
    for k, name in enumerate(experiment.names if experiment.setting.closed and convergent else ()):
        yield Case.of(experiment, convergent, f"from {name}, {{charge}}", [Run(Kind.SGD, k), Run(Kind.SDE, k)], k)


def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested]:
    """The mean charge at the end of SGD against the SDE's, in units of the longest way that any charge goes under the
    SDE."""
    given, sgd, sde = evidence.experiment, evidence.sample(Kind.SGD, case.start), evidence.sample(Kind.SDE, case.start)
    if not len(sgd.states) or not len(sde.states):
        for subject in case.subjects:
            yield CLAIM.untested(subject, "every path exploded", SMALLER)
        return
    margin, begin = given.margins.approach, sde.states[0, 0]
    charges = [given.theory.charges[j] for j in case.charges]
    ends = [(c.value(sgd.states[:, -1]), c.value(sde.states[:, -1])) for c in charges]
    way = max(abs(float(b.mean() - c.value(begin))) for c, (_, b) in zip(charges, ends, strict=True))
    if way <= LEAST_WAY * max(float(c.size(begin)) for c in charges):
        for subject in case.subjects:
            yield CLAIM.untested(subject, "no charge goes far enough to compare", "more time, or another start")
        return
    for subject, (a, b) in zip(case.subjects, ends, strict=True):
        miss, error = float(a.mean() - b.mean()) / way, float(np.hypot(standard_error(a), standard_error(b))) / way
        n = min(len(a), len(b))
        least = enough(n, skewness_of_difference(a, b))
        note = lacking(n, least, 0)
        claim = CLAIM.claim(subject, miss, error, (-margin, margin), 0.0, n, note, least=least)
        yield undecided_if_exploded(claim, sde, sgd)


CLAIM = ClaimKind(
    group="approach",
    statement="mean charge at the end of SGD minus the order-1 SDE's, over the longest way that a charge goes",
    position=4,
    applies=applies,
    measure=measure,
)
