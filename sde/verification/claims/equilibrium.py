"""SGD ends at the noise equilibrium, and gradient descent does not: claimed once the forecast has arrived there.

What is measured is SGD's own equilibrium, of second moments and exact at any learning rate: on average over its
stationary states E{Tr[Sigma A]/S + gbar^T A gbar} balances weight decay (docs/theory.md eq. (5.9)). E Tr[Sigma A] = 0,
the equilibrium of its SDE, is its limit of small steps: a note says by how many standard errors SGD misses it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind, standard_error, undecided_if_exploded
from sde.verification.experiment import Experiment
from sde.verification.result import Entry
from sde.verification.runs import Evidence, Kind, Run
from sde.verification.verdicts import Claim, Untested, more_time


def applies(experiment: Experiment) -> Iterator[Case]:
    """To convergent charges, from every start where no turning is predicted: what turns does not rest."""
    convergent = experiment.of_class("convergent")
    for k, name in enumerate(experiment.names if experiment.setting.closed and convergent else ()):
        if k in experiment.turning:
            continue
        yield Case.of(experiment, convergent, f"SGD from {name}, {{charge}}", [Run(Kind.SGD, k), Run(Kind.GD, k)], k)


def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested | Entry]:
    """The mean change of the charge per step vanishes at the end, as a share of the gross change."""
    given, sample, which = evidence.experiment, evidence.sample(Kind.SGD, case.start), list(case.charges)
    if not len(sample.states):
        for subject in case.subjects:
            yield CLAIM.undecided(subject, 0.0, "every path exploded: lower the learning rate", SMALLER)
        return
    if not given.forecasts[case.start].followed:
        for subject in case.subjects:
            yield CLAIM.untested(subject, "the forecast of the mean leaves all bounds", SMALLER)
        return
    name, margin, found = given.names[case.start], given.margins.equilibrium, _balances(evidence, case.start)
    distance = float(np.abs(found.foreseen[which]).max())
    arrived = distance <= margin / 2
    needs = "" if arrived or not distance > 0 else time_needed(given, case.start, which, distance)
    for subject, j in case.pairs:
        if not found.gross[:, j].any():
            yield CLAIM.untested(subject, "no step moves the charge where SGD ends", "another start")
            continue
        share, error = ratio_of_means(found.net[:, j], found.gross[:, j])
        beside = _beside(found.flow[:, j], found.gross[:, j])
        claim = CLAIM.claim(subject, share, error, (-margin, margin), 0.0, len(found.net), beside)
        claim = undecided_if_exploded(claim, sample)
        reason = "by the forecast the run ends before the noise equilibrium"
        yield claim if arrived else CLAIM.untested(subject, reason, needs)
        interval = claim.interval(0.99) if claim.measured else (np.nan, np.nan)
        yield Entry(
            given.theory.charges[j].label, name, float(found.at_start[j]), share, interval, float(found.resting[j])
        )
    began, rest = (float(np.abs(shares[which]).max()) for shares in (found.at_start, found.resting))
    if arrived and began > 4 * margin and np.isfinite(rest):
        subject = f"GD from {name} stays away, the charge with most"
        yield CLAIM.claim(subject, rest, 0.0, (margin, np.inf), began, 1)


def time_needed(given: Experiment, start: int, which: list[int], distance: float) -> str:
    """What it takes until the forecast is near enough, at the rate of its second half; distance: where it ends."""
    times = given.times
    middle = int(np.argmax(times >= times[-1] / 2))
    halfway = float(np.abs(foreseen(given, start, slice(middle, middle + 1))[which]).max())
    if not halfway > distance:
        return "more time: how much, the forecast does not tell"
    rate = math.log(halfway / distance) / (0.95 * times[-1] - times[middle])  # distance: the mean of the last tenth
    return more_time((times[-1] + math.log(2 * distance / given.margins.equilibrium) / rate) / 0.95)


@dataclass(frozen=True)
class Balances:
    """Predicted mean change of every charge per step, net and gross, of SGD's late states, and the net one without
    gbar^T A gbar, all (paths, charges); and net over gross, (charges,): at the start and late on the forecast, and
    where gradient descent ends (NaN without)."""

    net: np.ndarray
    gross: np.ndarray
    flow: np.ndarray
    at_start: np.ndarray
    foreseen: np.ndarray
    resting: np.ndarray


def _balances(evidence: Evidence, start: int) -> Balances:
    given, sample, descent = evidence.experiment, evidence.sample(Kind.SGD, start), evidence.sample(Kind.GD, start)
    late = sample.time >= 0.9 * sample.time[-1]
    states = sample.states[:, late]
    net, gross = changes(given, states)
    _, square = given.theory.noise(states.reshape(-1, states.shape[2]), [c.A for c in given.theory.charges])
    flow = net - given.setting.learning_rate**2 * square.reshape(*states.shape[:2], -1).mean(axis=1)
    at_start, ahead = _ratio(*changes(given, given.starts[start][None, None])), foreseen(given, start, late)
    resting = np.full(len(given.theory.charges), np.nan)
    if len(descent.states):
        resting = _ratio(*changes(given, descent.states[:, -1:]))
    return Balances(net, gross, flow, at_start, ahead, resting)


def foreseen(given: Experiment, start: int, which: slice | np.ndarray) -> np.ndarray:
    """Net over gross change of every charge per step, (charges,), by the forecast from a start, over some of its
    times."""

    def change(states: np.ndarray) -> np.ndarray:
        return np.stack(given.theory.step_change(states, given.setting.learning_rate, given.setting.variance), axis=1)

    expected = given.forecasts[start].expected(change, which)
    return _ratio(expected[:, 0], expected[:, 1])


def changes(given: Experiment, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted mean change of every charge per step and its gross change at states (paths, times, D), averaged over
    times: two (paths, charges)."""
    paths, times, d = states.shape
    change, size = given.theory.step_change(states.reshape(-1, d), given.setting.learning_rate, given.setting.variance)
    return change.reshape(paths, times, -1).mean(axis=1), size.reshape(paths, times, -1).mean(axis=1)


def _beside(flow: np.ndarray, gross: np.ndarray) -> str:
    """How far SGD's late states, (paths,), are from the SDE's equilibrium, in words."""
    share, error = ratio_of_means(flow, gross)
    if not 0 < error < np.inf:
        return ""
    return f"the SDE's equilibrium, without gbar^T A gbar: {share:.3g}, {abs(share) / error:.1f} standard errors off 0"


def ratio_of_means(net: np.ndarray, gross: np.ndarray) -> tuple[float, float]:
    """(mean of net over mean of gross, its standard error); both (paths,)."""
    share = float(net.mean() / gross.mean())
    return share, standard_error(net - share * gross) / float(gross.mean())


def _ratio(net: np.ndarray, gross: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return net.mean(axis=0) / gross.mean(axis=0)


CLAIM = ClaimKind(
    group="equilibrium",
    statement="net over gross change of the charge per step at the end: 0 at the noise equilibrium",
    position=5,
    applies=applies,
    measure=measure,
)
