"""How often `verify` is wrong: the true theory and wrong ones, held against the same runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np

from sde.verification import one_step_drift
from sde.verification.claims.equilibrium import foreseen
from sde.verification.claims.pathwise_identity import EXACT, largest_residual
from sde.verification.experiment import Experiment
from sde.verification.findings import run_experiment
from sde.verification.mutations import MUTATIONS, Mutation
from sde.verification.one_step_drift import Drift
from sde.verification.runs import Evidence, Kind, Run, Simulators, from_every_start
from sde.verification.shared_runs import SharedRuns
from sde.verification.verdicts import Claim, judge

TRUTH = "truth"
"""What the true theory is called among the wrong ones."""
FAR = 1.75
"""How many margins a wrong theory must lie from the true one to be wrong where `verify` looks: drifts are measured to
an eighth of the margin, so these are six standard errors beyond it."""


@dataclass(frozen=True)
class Contest:
    """The theories of one loss. theories: by name, the true one ahead of the wrong ones at each margin of the drift,
    its own first; mutations: of those that are wrong."""

    theories: Mapping[str, Experiment]
    mutations: Mapping[str, Mutation]

    @classmethod
    def of(cls, truth: Experiment, mutations: Sequence[Mutation] = MUTATIONS) -> Contest:
        """The true theory's starts and states are everybody's."""
        theories = dict[str, Experiment]()
        for drift in sorted({m.drift for m in mutations} | {None}, key=lambda d: (d is not None, d)):
            judged_at = [m for m in mutations if m.drift == drift]
            margins = truth.margins if drift is None else replace(truth.margins, drift=drift)
            theories[truth_at(drift)] = replace(truth, margins=margins)
            for m in judged_at:
                theory = m.wrong(truth.theory, truth.setting)
                theories[m.name] = replace(truth, theory=theory, margins=margins, chooser=truth.theory)
        return cls(theories, {m.name: m for m in mutations})

    @property
    def truth(self) -> Experiment:
        return self.theories[TRUTH]


def truth_at(drift: float | None) -> str:
    """What the true theory is called where its drifts are held to another margin than the verification's."""
    return TRUTH if drift is None else f"{TRUTH}, drift margin {drift:g}"


@dataclass(frozen=True)
class Outcome:
    """Of one seed. refuted: kinds of claims that were, by theory; supported: claims that were, of all theories; hasty:
    those of them whose paths do not bear it; distances: see `distances`, of the first seed."""

    refuted: Mapping[str, tuple[str, ...]]
    supported: int
    hasty: int
    distances: Mapping[str, float] = field(default_factory=dict[str, float])


def hold(contest: Contest, simulators: Simulators, alpha: float, measured: bool = False) -> Outcome:
    """Every theory against the same runs. measured: the distances too."""
    shared, refuted, supported, hasty = SharedRuns(simulators), dict[str, tuple[str, ...]](), 0, 0
    for name, experiment in contest.theories.items():
        found = run_experiment(
            experiment, shared.simulators(experiment.theory, name not in contest.mutations), drawn=False
        )
        if found.interrupted:
            raise KeyboardInterrupt
        verdicts = judge(found.claims, alpha) if found.claims else ()
        refuted[name] = tuple(dict.fromkeys(v.group for v in verdicts if v.verdict == "refuted"))
        borne = [bears(c, alpha) for c, v in zip(found.claims, verdicts, strict=True) if v.verdict == "supported"]
        supported, hasty = supported + len(borne), hasty + borne.count(False)
    return Outcome(refuted, supported, hasty, dict(distances(contest, shared)) if measured else {})


def bears(claim: Claim, alpha: float) -> bool:
    """Whether a supported claim's interval lies inside its margin, and its paths are as many as z^2 s^2 over the square
    of what is left of the margin, at one-sided level alpha, which Holm's procedure never goes below. Exact claims, of
    error 0, need one."""
    low, high = claim.margin
    left = min(claim.estimate - low, high - claim.estimate)
    if claim.error == 0:
        return left >= 0
    special: Any = import_module("scipy.special")  # slow to load
    z, scatter = float(special.ndtri(1 - alpha)), claim.error * np.sqrt(claim.paths)
    return left > 0 and claim.paths >= (z * scatter / left) ** 2


def distances(contest: Contest, shared: SharedRuns) -> Iterator[tuple[str, float]]:
    """How far every wrong theory's predictions lie from the true one's, in margins, at the states that SGD visits: step
    identities in their tolerance, drifts by the slope of the true prediction on the wrong one, and where the wrong one
    lets SGD rest that turns, the net over gross change of a charge that is left there."""
    truth = contest.truth
    evidence = Evidence(truth, shared.simulators(truth.theory, True))
    for run in from_every_start(truth, Kind.SGD):
        evidence.make(run)
    if truth.setting.plain:
        evidence.make(Run(Kind.EVERY_SGD))
    for name in contest.mutations:
        wrong = contest.theories[name]
        found = [*_identities(wrong, evidence), *_drifts(truth, wrong, evidence), *_rests(truth, wrong)]
        yield name, min(max([0.0, *found]), 1e300)


def _identities(wrong: Experiment, evidence: Evidence) -> Iterator[float]:
    if wrong.setting.plain:
        states = evidence.sample(Kind.EVERY_SGD).states
        h = wrong.step_lengths(np.arange(int(states.shape[1]) - 1))
        for charge in wrong.theory.charges if len(states) else ():
            yield largest_residual(charge, states, h, wrong.theory.weight_decay) / EXACT


def _drifts(truth: Experiment, wrong: Experiment, evidence: Evidence) -> Iterator[float]:
    if not (truth.setting.closed and truth.theory.moving):
        return
    states, setting, dt = evidence.visited, truth.setting, truth.setting.learning_rate / one_step_drift.FINE
    steps = [(dt * setting.speed, setting.temperature / dt)]
    steps += [(setting.learning_rate, setting.variance)] if setting.plain else []
    for h, variance in steps:
        right, other = (one_step_drift.predict(e.theory, states, h, variance) for e in (truth, wrong))
        for j in wrong.theory.moving:
            none, margin = np.zeros_like(right.change), wrong.margins.drift
            slope = Drift(other, right.change, none, none, 1).slope(j, margin).value
            seen = other.resolved(margin)[:, j].any()
            yield (abs(slope - 1) if seen else max(abs(slope) - 1, 0.0)) / margin


def _rests(truth: Experiment, wrong: Experiment) -> Iterator[float]:
    for k in truth.turning:
        if k not in wrong.turning and not truth.lacks(k):
            share, convergent = foreseen(truth, k, slice(-1, None)), truth.of_class("convergent")
            yield float(np.abs(share[convergent]).max(initial=0.0)) / wrong.margins.equilibrium


def binomial_interval(count: int, of: int, error: float = 0.01) -> tuple[float, float]:
    """Bounds on a probability of which `count` of so many trials were seen; each is wrong with a chance of at most
    `error` (Clopper, Pearson 1934)."""
    special: Any = import_module("scipy.special")  # slow to load
    low = float(special.betaincinv(count, of - count + 1, error)) if count else 0.0
    high = float(special.betaincinv(count + 1, of - count, 1 - error)) if count < of else 1.0
    return low, high
