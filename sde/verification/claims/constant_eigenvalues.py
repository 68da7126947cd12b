"""Where SGD turns for ever, the eigenvalues of matrices of charges stay where the theory says: claimed once the
forecast has arrived at the relative equilibrium (docs/theory.md eq. (5.7))."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind, standard_error, undecided_if_exploded
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, Run
from sde.verification.verdicts import Claim, Untested

SECOND = 2.0
"""What a forecast of first order misses, over the square of the shift that it finds: 2.2 and .75 on a 2 x 2 x 2
factorisation whose learning rates shift eigenvalues by .12 and .29."""


def applies(experiment: Experiment) -> Iterator[Case]:
    """From every start for which turning is predicted, to every eigenvalue of matrices of charges."""
    for k in experiment.turning:
        subjects = tuple(
            f"SGD from {experiment.names[k]}, eigenvalue {i + 1} of {m.label}"
            for m in experiment.theory.matrices
            for i in range(len(m.weights))
        )
        reason, needs = experiment.lacks(k) or beyond(experiment, k) or ("", "")
        yield Case(runs=(Run(Kind.SGD, k),), subjects=subjects, start=k, reason=reason, needs=needs)


def beyond(experiment: Experiment, start: int) -> tuple[str, str] | None:
    """Why the forecast's eigenvalues are not good to half the margin, and what that takes; None where they are.

    Fluctuations shift them by a share s, which is followed to first order in the learning rate. What is left is of the
    size of s^2: `SECOND` times that, where it was measured.
    """
    end, margin = experiment.ends[start], experiment.margins.equilibrium
    if end is None:
        return None
    limit = experiment.theory.values(end.limit[None])[0]
    paths = zip(experiment.theory.matrices, experiment.eigenvalues(start), strict=True)
    shift = max(
        (float(np.abs(path[-1] - m.eigenvalues(limit)).max() / np.abs(path[-1]).max()) for m, path in paths),
        default=0.0,
    )
    if SECOND * shift**2 <= margin / 2:
        return None
    rate = experiment.setting.learning_rate * math.sqrt(margin / (2 * SECOND)) / shift
    why = f"steps and fluctuations shift eigenvalues by {100 * shift:.2g} %, too far for a forecast of first order"
    return why, f"{SMALLER}, about {rate:.2g}"


def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested]:
    """Mean of each over the last tenth of the run, less the predicted, over the largest predicted of its matrix."""
    given, sample = evidence.experiment, evidence.sample(Kind.SGD, case.start)
    if not len(sample.states):
        for subject in case.subjects:
            yield CLAIM.untested(subject, "every path exploded", SMALLER)
        return
    theory, margin, subjects = given.theory, given.margins.equilibrium, iter(case.subjects)
    late = sample.states[:, sample.time >= 0.9 * sample.time[-1]]
    values = np.stack([c.value(late) for c in theory.charges], axis=-1)
    for matrix, path in zip(theory.matrices, given.eigenvalues(case.start), strict=True):
        predicted, found = path[-1], matrix.eigenvalues(values.mean(axis=1))
        size = float(np.abs(predicted).max())
        for i, value in enumerate(predicted):
            miss = (found[:, i] - value) / size
            note = f"predicted: {value:.5g}"
            claim = CLAIM.claim(
                next(subjects), float(miss.mean()), standard_error(miss), (-margin, margin), 0.0, len(miss), note
            )
            yield undecided_if_exploded(claim, sample)


CLAIM = ClaimKind(
    group="constant eigenvalues",
    statement="eigenvalue of the charges at the end minus the predicted, over the largest",
    position=8,
    applies=applies,
    measure=measure,
)
