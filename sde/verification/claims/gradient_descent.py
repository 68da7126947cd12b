"""Full-batch gradient descent moves a charge by O(eta): halving eta halves the change over the same time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, Run
from sde.verification.verdicts import Claim, Untested

ORDER = (0.8, 1.2)
"""Orders that count as 1 at steps this far from 0."""


def applies(experiment: Experiment) -> Iterator[Case]:
    """Without weight decay."""
    if experiment.setting.closed and not experiment.theory.weight_decay:
        runs = [Run(Kind.QUARTER_GD), Run(Kind.EIGHTH_GD)]
        yield Case.of(experiment, experiment.every_charge, "{charge}", runs)


def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested]:
    """log2 of the change with steps of eta/4 over that with eta/8, theory 1; nothing of a charge that never moves."""
    given, samples = evidence.experiment, [evidence.sample(run.kind) for run in case.runs]
    for subject, j in case.pairs:
        c = given.theory.charges[j]
        if not all(len(s.states) for s in samples):
            yield CLAIM.untested(subject, "every path exploded", SMALLER)
            continue
        coarse, fine = (float(c.value(s.states[0, -1]) - c.value(s.states[0, 0])) for s in samples)
        least = 1e-9 * float(c.size(given.starts[0]))
        if min(abs(coarse), abs(fine)) >= least and coarse * fine > 0:
            yield CLAIM.claim(subject, float(np.log2(coarse / fine)), 0.0, ORDER, 1.0, 1)
        elif c.kind != "frozen":
            yield CLAIM.untested(subject, "gradient descent moves it by too little to compare", "another start")


CLAIM = ClaimKind(
    group="gradient descent",
    statement="order in eta of the charge's change under gradient descent",
    position=7,
    applies=applies,
    measure=measure,
)
