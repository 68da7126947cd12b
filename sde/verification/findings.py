"""Make the runs that claims need, and measure each claim as soon as its runs are there, or again once they have
grown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from sde.verification.claim_kind import Case, ClaimKind, Finding, Reader
from sde.verification.claims import CLAIMS
from sde.verification.experiment import Experiment
from sde.verification.result import Curves, Entry, Explosions
from sde.verification.runs import Evidence, Kind, Run, Simulators, in_order
from sde.verification.trajectories import CURVES
from sde.verification.verdicts import Claim, Key, Untested

Task = tuple[Reader, Case]
GROWING = frozenset({Kind.SGD, Kind.SDE})
"""Runs that more paths may be added to."""


@dataclass
class Findings:
    """Claims and what the report draws. interrupted: Ctrl-C came before all runs were made."""

    claims: list[Claim] = field(default_factory=list[Claim])
    curves: list[Curves] = field(default_factory=list[Curves])
    entries: list[Entry] = field(default_factory=list[Entry])
    explosions: list[Explosions] = field(default_factory=list[Explosions])
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

    def leave(self, tasks: Iterable[Task], reason: str, needs: str) -> None:
        """List the claims of these tasks that were not made as not tested."""
        made = {(c.group, c.subject) for c in self.claims}
        for kind, case in tasks:
            if isinstance(kind, ClaimKind):
                left = [s for s in case.subjects if (kind.group, s) not in made]
                self.untested += [kind.untested(s, case.reason or reason, case.needs or needs) for s in left]


def tasks(experiment: Experiment, claims: Sequence[ClaimKind] = (), *, drawn: bool = True) -> list[Task]:
    """All that is read off the runs, in the order of the report. claims: kinds beside those that the theory makes.
    drawn: with the curves."""
    readers = [*CLAIMS, *[CURVES] * drawn] if experiment.theory.charges or experiment.turning else []
    return [(reader, case) for reader in [*readers, *claims] for case in reader.applies(experiment)]


def runs_of(found: Iterable[Task]) -> list[Run]:
    """The runs that tasks need, in the order in which they are made."""
    return in_order(run for _, case in found if not case.reason for run in case.runs)


class Course:
    """The runs of a verification as they are made, and what was read off them. claims: kinds beside those that the
    theory makes."""

    def __init__(
        self, experiment: Experiment, simulators: Simulators, claims: Sequence[ClaimKind] = (), *, drawn: bool = True
    ) -> None:
        self.evidence, self.interrupted = Evidence(experiment, simulators), False
        self._kinds, self._tasks = [*CLAIMS, *claims], tasks(experiment, claims, drawn=drawn)
        self._read: dict[int, list[Finding]] = {}
        self._explosions: dict[Run, Explosions] = {}

    def begin(self) -> None:
        """Run everything and measure every claim that applies. Ctrl-C ends it with what was measured;
        KeyboardInterrupt goes on where nothing was."""
        pending = [i for i, (_, case) in enumerate(self._tasks) if not case.reason]
        try:
            for run in runs_of(self._tasks):
                self.evidence.make(run)
                self._count(run)
                for i in [i for i in pending if self.evidence.holds(self._tasks[i][1].runs)]:
                    self._measure(i)
                    pending.remove(i)
        except KeyboardInterrupt:
            if not self.findings.claims:
                raise
            self.interrupted = True

    def go_on(self, undecided: Set[Key], look: int) -> bool:
        """Add the paths of a further look to the runs of those claims that hang on paths alone, and measure them
        again; whether there are any."""
        again = [i for i, task in enumerate(self._tasks) if _grows(task) and undecided & self._keys(i)]
        try:
            for run in in_order(run for i in again for run in self._tasks[i][1].runs if run.kind in GROWING):
                self.evidence.extend(run, look)
                self._count(run)
            read = {i: list(self._tasks[i][0].measure(self._tasks[i][1], self.evidence)) for i in again}
        except KeyboardInterrupt:
            self.interrupted = True
            return False
        self._read |= read
        return bool(again)

    def redraw(self) -> None:
        """Read everything but claims again."""
        for i in [i for i in self._read if not isinstance(self._tasks[i][0], ClaimKind)]:
            self._measure(i)

    @property
    def findings(self) -> Findings:
        """All that was found so far, and the list of what was not tested."""
        found = Findings(explosions=list(self._explosions.values()), interrupted=self.interrupted)
        found.leave([task for task in self._tasks if task[1].reason], "", "")
        for read in self._read.values():
            found.add(read)
        if self.interrupted:
            left = [task for i, task in enumerate(self._tasks) if i not in self._read and not task[1].reason]
            found.leave(left, "interrupted before it was measured", "the rest of its runs: call again, or resume")
        order = [kind.group for kind in self._kinds]
        found.claims.sort(key=lambda claim: order.index(claim.group))
        return found

    def _measure(self, i: int) -> None:
        reader, case = self._tasks[i]
        self._read[i] = list(reader.measure(case, self.evidence))

    def _keys(self, i: int) -> set[Key]:
        return {(f.group, f.subject) for f in self._read.get(i, ()) if isinstance(f, Claim)}

    def _count(self, run: Run) -> None:
        if run.kind in GROWING:
            sample, name = self.evidence.recorded(run.kind, run.start), run.phase(self.evidence.experiment.names)
            self._explosions[run] = Explosions(name, sample.exploded, sample.total, sample.first)


def _grows(task: Task) -> bool:
    """Whether more paths change what is read, and nothing else has to be run again for it."""
    kinds = {run.kind for run in task[1].runs}
    return isinstance(task[0], ClaimKind) and bool(kinds & GROWING) and kinds <= {*GROWING, Kind.GD}


def run_experiment(
    experiment: Experiment, simulators: Simulators, claims: Sequence[ClaimKind] = (), *, drawn: bool = True
) -> Findings:
    """What one look at all runs finds; see `Course`."""
    course = Course(experiment, simulators, claims, drawn=drawn)
    course.begin()
    return course.findings
