"""A verification in looks: paths are added until every claim is decided or the budget is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sde.verification.claim_kind import ClaimKind
from sde.verification.experiment import Experiment
from sde.verification.findings import Course, Findings
from sde.verification.runs import Simulators
from sde.verification.verdicts import Key, Verdict, judge, not_tested


@dataclass(frozen=True)
class Outcome:
    """What was found, its verdicts, and how many looks it took."""

    findings: Findings
    verdicts: tuple[Verdict, ...]
    looks: int


def sizes(paths: int, most: int | None) -> tuple[int, ...]:
    """Paths from each start at every look: as many as before and as many again, up to `most`. One look without."""
    out = [paths]
    while most is not None and out[-1] < most:
        out.append(min(2 * out[-1], most))
    return tuple(out)


def run_in_looks(
    experiment: Experiment, simulators: Simulators, claims: Sequence[ClaimKind], alpha: float, looks: int
) -> Outcome:
    """Look up to `looks` times, each at alpha/looks, so that by Bonferroni the chance of any wrong verdict at any look
    is at most alpha, whatever made the looks end; a verdict that was reached stays. Claims that nothing but paths can
    decide are looked at again, others once."""
    course, look = Course(experiment, simulators, claims), 1
    course.begin()
    verdicts, decided = judge(course.findings.claims, alpha, looks=looks), dict[Key, Verdict]()
    while look < looks and not course.interrupted:
        decided |= {(v.group, v.subject): v for v in verdicts if v.decided}
        hopeful = {(c.group, c.subject) for c in course.findings.claims if c.hopeful}
        if not course.go_on(hopeful - decided.keys(), look):
            break
        look += 1
        verdicts = judge(course.findings.claims, alpha, look=look, looks=looks, decided=decided)
    if look > 1 and not course.interrupted:
        course.redraw()
    found = course.findings
    return Outcome(found, verdicts + not_tested(found.untested, alpha), look)
