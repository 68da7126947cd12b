"""d C^2/dt = 2 C s^2 (T Tr[Sigma A] + h gbar^T A gbar), for a one-signed charge (|theta|^4 grows linearly when C =
|theta|^2)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind, standard_error, undecided_if_exploded
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, Run, Sample
from sde.verification.theory_numbers import Charge
from sde.verification.verdicts import Claim


def applies(experiment: Experiment) -> Iterator[Case]:
    """To divergent charges without momentum and weight decay, from every start."""
    setting, divergent = experiment.setting, experiment.of_class("divergent")
    grows = setting.closed and setting.plain and experiment.theory.weight_decay == 0
    for k, name in enumerate(experiment.names if grows and divergent else ()):
        yield Case.of(experiment, divergent, f"SGD from {name}, {{charge}}", [Run(Kind.SGD, k)], k)


def measure(case: Case, evidence: Evidence) -> Iterator[Claim]:
    """The statistic is measured growth of C^2 over its integral along the same paths (trapezoid)."""
    given, sample = evidence.experiment, evidence.sample(Kind.SGD, case.start)
    margin = given.margins.divergence
    for subject, j in case.pairs:
        if not len(sample.states):
            yield CLAIM.undecided(subject, 0.0, "every path exploded: lower the learning rate", SMALLER)
            continue
        grown, predicted = growth(given, given.theory.charges[j], sample)
        slope = float(grown.mean() / predicted.mean())
        error = standard_error(grown - slope * predicted) / abs(float(predicted.mean()))
        claim = CLAIM.claim(subject, slope, error, (1 - margin, 1 + margin), 1.0, len(grown))
        yield undecided_if_exploded(claim, sample)


def growth(given: Experiment, charge: Charge, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Of C^2 over the run, measured and predicted, on every path: two (paths,)."""
    (paths, count, d), setting = sample.states.shape, given.setting
    trace, square = given.theory.noise(sample.states.reshape(-1, d), [charge.A])
    value = charge.value(sample.states)
    moved = (setting.temperature * trace + setting.learning_rate * square).reshape(paths, count)
    rate = 2 * value * setting.factor(sample.time) ** 2 * moved
    return value[:, -1] ** 2 - value[:, 0] ** 2, np.asarray(np.trapezoid(rate, sample.time, axis=1))


CLAIM = ClaimKind(
    group="divergence law",
    statement="growth of C^2 over the run, measured over predicted",
    position=6,
    applies=applies,
    measure=measure,
)
