"""What a kind of claim is: a statement, where it applies, and how it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from sde.verification.experiment import Experiment
from sde.verification.result import Curves, Entry
from sde.verification.runs import Evidence, Run, Sample
from sde.verification.verdicts import Claim, Untested, unmeasured

SMALLER = "a smaller learning rate"
"""What it takes where paths explode."""
TOLERATED = 1e-3
"""Share of exploded paths beyond which what is left is too biased to decide anything."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Claims that are measured together, and the runs that they need.

    subjects: what each is about; charges: the place of its charge in the theory, where it has one; start: number of the
    start. reason: why they are not tested, where that is known before any run; needs: what it would take.
    """

    runs: tuple[Run, ...]
    subjects: tuple[str, ...] = ()
    charges: tuple[int, ...] = ()
    start: int = 0
    reason: str = ""
    needs: str = ""

    @classmethod
    def of(
        cls, experiment: Experiment, charges: Iterable[int], subject: str, runs: Iterable[Run], start: int = 0
    ) -> Case:
        """One claim for each charge. subject: with {charge} for its label."""
        which = tuple(charges)
        subjects = tuple(subject.replace("{charge}", experiment.theory.charges[j].label) for j in which)
        return cls(runs=tuple(runs), subjects=subjects, charges=which, start=start)

    @property
    def pairs(self) -> Iterator[tuple[str, int]]:
        """Subjects, each with the place of its charge."""
        return zip(self.subjects, self.charges, strict=True)


Finding = Claim | Untested | Entry | Curves


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What is read off the runs. applies(experiment): its cases, before any run; measure(case, evidence): what it
    finds, once the runs of a case are made."""

    applies: Callable[[Experiment], Iterable[Case]]
    measure: Callable[[Case, Evidence], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class ClaimKind(Reader):
    """A kind of claim. group: its name; statement: what its statistic is, for people; position: among the groups of a
    report."""

    group: str
    statement: str
    position: int = 1000

    def claim(
        self,
        subject: str,
        estimate: float,
        error: float,
        margin: tuple[float, float],
        expected: float,
        paths: int,
        note: str = "",
        *,
        unit: str = "paths",
        least: int = 0,
    ) -> Claim:
        """A claim about a subject; the numbers are those of `Claim`."""
        text = f"{self.statement}: {subject}"
        return Claim(
            group=self.group,
            subject=subject,
            text=text,
            estimate=estimate,
            error=error,
            margin=margin,
            expected=expected,
            paths=paths,
            note=note,
            unit=unit,
            least=least,
        )

    def undecided(self, subject: str, expected: float, why: str, needs: str) -> Claim:
        """A claim for which nothing could be measured, and what it would take."""
        return unmeasured(self.claim(subject, np.nan, np.inf, (0.0, 0.0), expected, 0), why, needs)

    def untested(self, subject: str, reason: str, needs: str) -> Untested:
        """A claim that was not tested, in the words that its verdict would have, why, and what it would take."""
        text = f"{self.statement}: {subject}"
        return Untested(claim=text, group=self.group, subject=subject, reason=reason, needs=needs)


def undecided_if_exploded(claim: Claim, *samples: Sample) -> Claim:
    """The claim, or an undecided one when too many paths of one of the runs exploded."""
    for sample in samples:
        if sample.exploded > TOLERATED * sample.total:
            why = f"{sample.exploded} of {sample.total} paths exploded: what is left is biased. Lower the learning rate"
            return unmeasured(claim, why, SMALLER)
    return claim


def standard_error(values: np.ndarray) -> float:
    """Of a mean over paths (paths,); infinite for fewer than two."""
    with np.errstate(over="ignore"):
        return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.inf
