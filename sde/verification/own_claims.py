"""Claims of a user's own: an observable of a run against a number, a curve or a distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from sde.verification import rounding
from sde.verification.claim_kind import SMALLER, Case, ClaimKind, standard_error, undecided_if_exploded
from sde.verification.distances import DISTANCES, Reference
from sde.verification.experiment import Experiment
from sde.verification.result import Band, Curves
from sde.verification.runs import Evidence, Kind, Run
from sde.verification.sampling_error import enough, lacking, skewness_of_mean
from sde.verification.verdicts import Claim, Untested, unmeasured

STATEMENTS = {
    "claimed mean": "mean of an observable over paths, against what is claimed (of a curve: its largest miss)",
    "claimed distribution": "distance of an observable's distribution over paths from the claimed one",
}
"""What the statistic of each group is."""
MORE = "more paths"
"""What it takes where all that there are agree though they need not."""
EXACT = "a claim of its mean, which is exact"
"""What it takes where all paths agree because they must."""
FINER = 8
"""Steps of the SDE, at the most, to one of SGD: for its rounding."""
FINITE = "an observable that is finite wherever paths go"
NAMES = {Kind.SGD: "SGD", Kind.SDE: "SDE", Kind.GD: "GD"}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a user claims. label: of the observable; when: at which time, in words; value(theta (..., D)) -> (...);
    starts: their numbers; steps: of SGD, (K,), at which it is looked at; curve: what the mean is there, (K,), or
    reference: the distribution at the one step; margin: how far off still counts as agreement."""

    label: str
    when: str
    value: Callable[[np.ndarray], np.ndarray]
    run: Kind
    starts: tuple[int, ...]
    steps: np.ndarray
    margin: float
    curve: np.ndarray | None = None
    reference: Reference | None = None
    distance: str = "ks"


@dataclass(frozen=True, kw_only=True)
class CurveClaim(Claim):
    """A claim about several numbers at once, its parts; estimate and error are those of the worst. It is supported
    where every part is (an intersection-union test, without correction: Berger 1982), refuted where any is, by
    Bonferroni."""

    parts: tuple[Claim, ...] = ()

    @property
    def hopeful(self) -> bool:
        return self.measured and any(part.hopeful for part in self.parts)

    def p_values(self) -> tuple[float, float]:
        if not self.measured:
            return 1.0, 1.0
        outside, inside = zip(*(part.p_values() for part in self.parts), strict=True)
        return max(outside), min(1.0, len(self.parts) * min(inside))

    def interval(self, level: float) -> tuple[float, float]:
        return super().interval(1 - (1 - level) / len(self.parts))

    def samples_needed(self, level: float) -> float:
        off = [part for part in self.parts if not part.margin[0] < part.estimate < part.margin[1]]
        if off:
            return min(part.samples_needed(level / len(self.parts)) for part in off)
        return max(part.samples_needed(level) for part in self.parts if part.error > 0)


@dataclass(frozen=True, kw_only=True)
class DistanceClaim(Claim):
    """A claim that a distance lies below a margin: tail(x) bounds the chance that the estimate misses by x or more;
    reach: its inverse; same: the p-value of a margin of 0, which can be refuted only."""

    tail: Callable[[float], float] = field(compare=False)
    reach: Callable[[float], float] = field(compare=False)
    same: Callable[[], float] = field(compare=False)

    def p_values(self) -> tuple[float, float]:
        if not self.decidable:
            return 1.0, 1.0
        room = self.margin[1] - self.estimate
        if self.margin[1] == 0:
            return 1.0, self.same()
        return (self.tail(room) if room > 0 else 1.0), (self.tail(-room) if room < 0 else 1.0)

    def interval(self, level: float) -> tuple[float, float]:
        if not self.decidable:
            return (-np.inf, np.inf)
        reach = self.reach(1 - level)
        return max(0.0, self.estimate - reach), self.estimate + reach

    def samples_needed(self, level: float) -> float:
        room = abs(self.margin[1] - self.estimate)
        if not np.isfinite(self.error) or not room:
            return np.inf
        return max(self.paths * (self.reach(level) / room) ** 2, self.least)


def kind_of(expected: Expected) -> ClaimKind:
    """The kind of claim that it is."""
    group = "claimed mean" if expected.reference is None else "claimed distribution"

    def applies(experiment: Experiment) -> Iterator[Case]:
        setting, reason, needs = experiment.setting, "", ""
        if expected.run is not Kind.SGD and not setting.closed:
            reason, needs = "Sigma and the mean gradient have no closed form under this law", "the data as a Dataset"
        for k in expected.starts:
            subject = f"{NAMES[expected.run]} from {experiment.names[k]}, {expected.label}{expected.when}"
            yield Case(runs=(Run(expected.run, k),), subjects=(subject,), start=k, reason=reason, needs=needs)

    def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested | Curves]:
        return _measure(kind, expected, case, evidence)

    kind = ClaimKind(group=group, statement=STATEMENTS[group], applies=applies, measure=measure)
    return kind


def _measure(
    kind: ClaimKind, expected: Expected, case: Case, evidence: Evidence
) -> Iterator[Claim | Untested | Curves]:
    (subject,), given, sample = case.subjects, evidence.experiment, evidence.recorded(expected.run, case.start)
    if not len(sample.states):
        yield kind.untested(subject, "every path exploded", SMALLER)
        return
    values = expected.value(sample.states[:, np.searchsorted(given.recorded, expected.steps)])
    lost = int((~np.isfinite(values)).any(axis=1).sum())
    if lost:
        yield kind.undecided(subject, np.nan, f"on {lost} of {len(values)} paths it is no finite number", FINITE)
        return
    found = [
        Values(v, *_alike(expected, given, sample.states, int(k)))
        for v, k in zip(values.T, expected.steps, strict=True)
    ]
    if expected.curve is None:
        yield undecided_if_exploded(_of_distribution(kind, expected, subject, found[0]), sample)
        return
    time = expected.steps * given.setting.learning_rate
    means = [_mean(kind, expected, subject, v, k) for k, v in enumerate(found)]
    claim = means[0] if len(means) == 1 else _curve(expected, means, time)
    yield undecided_if_exploded(claim, sample)
    if len(means) > 1:
        mean, (low, high) = values.mean(axis=0), np.quantile(values, [0.05, 0.95], axis=0)
        bands = () if expected.run is Kind.GD else (Band(NAMES[expected.run], mean, low, high),)
        descent = mean if expected.run is Kind.GD else None
        yield Curves(expected.label, given.names[case.start], time, expected.curve, bands, descent)


@dataclass(frozen=True)
class Values:
    """Of an observable on paths, (paths,). rounding: what float arithmetic can make of them; certain: whether every
    path must have the same one, as far as the theory knows; rare: paths from which on they tell of the data's rare
    values."""

    each: np.ndarray
    rounding: float
    certain: bool
    rare: int

    @property
    def alike(self) -> bool:
        """Whether they differ by no more than rounding."""
        return float(np.ptp(self.each)) <= self.rounding

    def error(self) -> tuple[float, int, str]:
        """(standard error of the mean, paths that are enough to trust it, why they are not there). Values all alike
        tell nothing of an error: it is infinite then, or 0 where there can be none."""
        n = len(self.each)
        if self.alike and self.certain:
            return 0.0, 0, ""
        if self.alike:
            return np.inf, 0, f"all {n} paths give one value, which leaves the error of their mean unknown"
        least = enough(n, skewness_of_mean(self.each))
        return standard_error(self.each), max(least, self.rare), lacking(n, least, self.rare)


def _alike(expected: Expected, given: Experiment, states: np.ndarray, step: int) -> tuple[float, bool, int]:
    """(rounding, certain, rare) of `Values` at a step; states: recorded ones (paths, times, D)."""
    if expected.run is Kind.GD or step == 0:
        return np.inf, True, 0
    steps = step if expected.run is Kind.SGD else step * FINER
    until = states[:, : int(np.searchsorted(given.recorded, step)) + 1]
    own = rounding.of_observable(expected.value, until[0, -1], steps)
    certain = _noiseless(given, until, rounding.of_states(np.abs(until[0]).max(axis=0), steps))
    return own, certain, math.ceil(given.setting.seen / step) if expected.run is Kind.SGD else 0


def _noiseless(given: Experiment, states: np.ndarray, floor: np.ndarray) -> bool:
    """Whether the theory knows that there was no noise beyond rounding on the way of paths that are alike; states
    (paths, times, D), floor (D,)."""
    if not given.setting.temperature:
        return True
    if not given.setting.closed or not bool((np.ptp(states, axis=0) <= floor).all()):
        return False
    _, factor = given.theory.moments(states[0])
    setting = given.setting
    size = np.sqrt(setting.variance * (factor**2).sum(axis=2)) * setting.learning_rate * setting.speed
    return bool((size <= rounding.UNIT * np.abs(states[0]).max()).all())


def _mean(kind: ClaimKind, expected: Expected, subject: str, values: Values, place: int) -> Claim:
    """Of values at one of the steps."""
    assert expected.curve is not None
    claimed, (error, least, note) = float(expected.curve[place]), values.error()
    around = (claimed - expected.margin, claimed + expected.margin)
    n = len(values.each)
    return kind.claim(subject, float(values.each.mean()), error, around, claimed, n, note, least=least)


def _curve(expected: Expected, means: list[Claim], time: np.ndarray) -> CurveClaim:
    """All of them as one."""
    worst = max(range(len(means)), key=lambda k: (means[k].p_values()[0], abs(means[k].estimate - means[k].expected)))
    found, note = means[worst], f"of {len(means)} times the one that fits worst is t = {time[worst]:.6g}"
    return CurveClaim(
        group=found.group,
        subject=found.subject,
        text=found.text,
        estimate=found.estimate - found.expected,
        error=found.error,
        margin=(-expected.margin, expected.margin),
        expected=0.0,
        paths=found.paths,
        note=f"{note}; {found.note}" if found.note else note,
        least=found.least,
        parts=tuple(means),
    )


def _of_distribution(kind: ClaimKind, expected: Expected, subject: str, values: Values) -> Claim:
    assert expected.reference is not None
    n, (_, least, note) = len(values.each), values.error()
    if values.alike:
        claim = kind.claim(subject, np.nan, np.inf, (0.0, expected.margin), 0.0, n, note)
        why = f"all {n} paths give one value, as there is no noise: it has no distribution"
        return unmeasured(claim, why, EXACT) if values.certain else replace(claim, needs=MORE)
    far = DISTANCES[expected.distance](values.each, expected.reference)
    free = expected.distance == "ks"
    return DistanceClaim(
        group=kind.group,
        subject=subject,
        text=f"{kind.statement}: {subject}",
        estimate=far.value,
        error=far.reach(0.3),
        margin=(0.0, expected.margin),
        expected=0.0,
        paths=n,
        least=0 if free else least,
        note="" if free else note,
        tail=far.tail,
        reach=far.reach,
        same=far.same,
    )
