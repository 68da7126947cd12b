"""Make the runs that claims need, and measure each claim as soon as its runs are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sde.verification.claim_kind import Case, ClaimKind, Finding, Note, Reader
from sde.verification.claims import CLAIMS
from sde.verification.experiment import Experiment
from sde.verification.result import Curves, Entry, Explosions
from sde.verification.runs import Evidence, Kind, Run, Simulators, in_order
from sde.verification.trajectories import CURVES
from sde.verification.verdicts import Claim, Untested

Task = tuple[Reader, Case]


@dataclass
class Findings:
    """Claims and what the report draws. interrupted: Ctrl-C came before all runs were made."""

    claims: list[Claim] = field(default_factory=list[Claim])
    curves: list[Curves] = field(default_factory=list[Curves])
    entries: list[Entry] = field(default_factory=list[Entry])
    explosions: list[Explosions] = field(default_factory=list[Explosions])
    notes: list[str] = field(default_factory=list[str])
    untested: list[Untested] = field(default_factory=list[Untested])
    interrupted: bool = False

    def add(self, findings: Iterable[Finding]) -> None:
        """What a claim found, each where it belongs."""
        for finding in findings:
            match finding:
                case Claim():
                    self.claims.append(finding)
                case Untested():
                    self.untested.append(finding)
                case Entry():
                    self.entries.append(finding)
                case Curves():
                    self.curves.append(finding)
                case Note():
                    self.notes.append(finding.text)

    def leave(self, tasks: Iterable[Task], reason: str, needs: str) -> None:
        """List the claims of these tasks that were not made as not tested."""
        made = {(c.group, c.subject) for c in self.claims}
        for kind, case in tasks:
            if isinstance(kind, ClaimKind):
                left = [s for s in case.subjects if (kind.group, s) not in made]
                self.untested += [kind.untested(s, case.reason or reason, case.needs or needs) for s in left]


def tasks(experiment: Experiment, claims: Sequence[ClaimKind] = ()) -> list[Task]:
    """All that is read off the runs, in the order of the report. claims: kinds beside those that the theory makes."""
    readers = [*CLAIMS, CURVES] if experiment.theory.charges or experiment.turning else []
    return [(reader, case) for reader in [*readers, *claims] for case in reader.applies(experiment)]


def runs_of(found: Iterable[Task]) -> list[Run]:
    """The runs that tasks need, in the order in which they are made."""
    return in_order(run for _, case in found if not case.reason for run in case.runs)


def run_experiment(experiment: Experiment, simulators: Simulators, claims: Sequence[ClaimKind] = ()) -> Findings:
    """Run everything and measure every claim that applies; claims: kinds beside those that the theory makes. Ctrl-C
    ends it with what was measured, and the list of what was not; KeyboardInterrupt goes on where nothing was."""
    found, evidence, pending = Findings(), Evidence(experiment, simulators), tasks(experiment, claims)
    found.leave([task for task in pending if task[1].reason], "", "")
    pending = [task for task in pending if not task[1].reason]
    try:
        for run in runs_of(pending):
            evidence.make(run)
            if run.kind in (Kind.SGD, Kind.SDE):
                sample = evidence.sample(run.kind, run.start)
                name = run.phase(experiment.names)
                found.explosions.append(Explosions(name, sample.exploded, sample.total, sample.first))
            for task in [task for task in pending if evidence.holds(task[1].runs)]:
                found.add(task[0].measure(task[1], evidence))
                pending.remove(task)
    except KeyboardInterrupt:
        if not found.claims:
            raise
        found.interrupted = True
        found.leave(
            pending, "interrupted before it was measured", "the rest of the runs: resume its checkpoint, or call again"
        )
    order = [kind.group for kind in [*CLAIMS, *claims]]
    found.claims.sort(key=lambda claim: order.index(claim.group))
    return found
