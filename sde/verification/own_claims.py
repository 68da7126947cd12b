"""Claims of a user's own: an observable of a run against a number, a curve or a distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind, standard_error, undecided_if_exploded
from sde.verification.distances import DISTANCES, Reference
from sde.verification.experiment import Experiment
from sde.verification.result import Band, Curves
from sde.verification.runs import Evidence, Kind, Run
from sde.verification.verdicts import Claim, Untested

SKEW = 25
"""Student's interval of a mean is trusted from this many times the squared skewness on (Cochran 1977, section 2.15)."""
STATEMENTS = {
    "claimed mean": "mean of an observable over paths, against what is claimed (of a curve: its largest miss)",
    "claimed distribution": "distance of an observable's distribution over paths from the claimed one",
}
"""What the statistic of each group is."""
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

    @property
    def decidable(self) -> bool:
        return super().decidable and self.paths >= self.least

    def p_values(self) -> tuple[float, float]:
        if not self.decidable:
            return 1.0, 1.0
        room = self.margin[1] - self.estimate
        if self.margin[1] == 0:
            return 1.0, self.same()
        return (self.tail(room) if room > 0 else 1.0), (self.tail(-room) if room < 0 else 1.0)

    def interval(self, level: float) -> tuple[float, float]:
        if not self.measured or not np.isfinite(self.error):
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
    if expected.curve is None:
        yield undecided_if_exploded(_of_distribution(kind, expected, subject, values[:, 0]), sample)
        return
    time = expected.steps * given.setting.learning_rate
    means = [_mean(kind, expected, subject, values[:, k], k) for k in range(len(time))]
    claim = means[0] if len(means) == 1 else _curve(expected, means, time)
    yield undecided_if_exploded(claim, sample)
    if len(means) > 1:
        mean, (low, high) = values.mean(axis=0), np.quantile(values, [0.05, 0.95], axis=0)
        bands = () if expected.run is Kind.GD else (Band(NAMES[expected.run], mean, low, high),)
        descent = mean if expected.run is Kind.GD else None
        yield Curves(expected.label, given.names[case.start], time, expected.curve, bands, descent)


def _mean(kind: ClaimKind, expected: Expected, subject: str, values: np.ndarray, place: int) -> Claim:
    """Of values (paths,) at one of the steps."""
    assert expected.curve is not None
    claimed, known = float(expected.curve[place]), expected.run is Kind.GD or expected.steps[place] == 0
    error, least, note = (0.0, 0, "") if known else _error(values)
    around = (claimed - expected.margin, claimed + expected.margin)
    claim = kind.claim(subject, float(values.mean()), error, around, claimed, len(values), note)
    return replace(claim, least=least)


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


def _error(values: np.ndarray) -> tuple[float, int, str]:
    """(standard error of the mean, paths that are enough to trust it, why they are not there). Values all alike tell
    nothing of an error: it is infinite then."""
    n, spread = len(values), float(np.std(values))
    if not spread > 0:
        return np.inf, 0, f"all {n} paths give one value, which leaves the error of their mean unknown"
    least = math.ceil(SKEW * float((((values - values.mean()) / spread) ** 3).mean()) ** 2)
    note = f"its values are skew: {n} paths do not tell the error of their mean well" if n < least else ""
    return standard_error(values), least, note


def _of_distribution(kind: ClaimKind, expected: Expected, subject: str, values: np.ndarray) -> Claim:
    assert expected.reference is not None
    n, (error, least, note) = len(values), _error(values)
    if not np.isfinite(error):
        return kind.claim(subject, np.nan, error, (0.0, expected.margin), 0.0, n, note)
    far = DISTANCES[expected.distance](values, expected.reference)
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
