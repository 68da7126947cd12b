"""Contestants, interleaved runs, ratios: what makes two rates comparable on a machine that others use too."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter, process_time

import numpy as np

AGREEMENT = 5.0
"""Standard errors within which final means must agree."""


@dataclass(frozen=True)
class Outcome:
    """One run. mean, sem: of the charge at the final time. wall, cpu: seconds, where the run knows better than
    a stopwatch around it (compilation and quantiles left out); call: seconds of the whole call.
    """

    path_steps: int
    mean: float
    sem: float
    wall: float | None = None
    cpu: float | None = None


@dataclass(frozen=True)
class Contestant:
    """name, and build() -> run(seed) -> Outcome; build raises ImportError where a package is missing. asked: the
    ratio of our rate to this one's that the issue asks for.
    """

    name: str
    build: Callable[[], Callable[[int], Outcome]]
    asked: float | None = None


@dataclass
class Record:
    """Runs of one contestant: path-steps per wall and per CPU second, charge means, the first call's seconds."""

    name: str
    asked: float | None = None
    missing: str = ""
    first_call: float = 0.0
    wall_rate: list[float] = field(default_factory=list)
    cpu_rate: list[float] = field(default_factory=list)
    whole_call: list[float] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def pooled(self) -> tuple[float, float]:
        """Mean of the charge over all runs, and its standard error."""
        weights = np.array([o.path_steps for o in self.outcomes], dtype=float)
        weights /= weights.sum()
        means, errors = (np.array([getattr(o, f) for o in self.outcomes]) for f in ("mean", "sem"))
        return float(weights @ means), float(np.sqrt(weights**2 @ errors**2))


@dataclass(frozen=True)
class Ratio:
    """Ours over the rival's, run by run: median, least, greatest; per_core: the median per CPU second; z: the
    difference of the final means in standard errors; asked: the least that the median should be.
    """

    rival: str
    asked: float | None
    missing: str
    ours: float
    theirs: float
    middle: float
    low: float
    high: float
    per_core: float
    z: float

    @property
    def agrees(self) -> bool:
        """Whether both computed the same thing."""
        return bool(self.missing) or abs(self.z) <= AGREEMENT

    @property
    def short(self) -> bool:
        """Whether the ratio was measured and is less than what is asked."""
        return self.asked is not None and not self.missing and self.middle < self.asked


def compete(contestants: Sequence[Contestant], repeats: int = 5) -> list[Record]:
    """Run all contestants in turn, `repeats` times over, after one warm-up call each. A rival that fails to build or to
    run is left out, with the reason; ours, the first, is not.
    """
    records, runs = [], []
    for contestant in contestants:
        record = Record(contestant.name, contestant.asked)
        records.append(record)
        began = perf_counter()
        try:
            run = contestant.build()
            run(0)
        except ImportError as error:
            record.missing = f"not installed ({error.name or error})"
            continue
        except Exception as error:
            if contestant is contestants[0]:
                raise
            record.missing = f"failed: {type(error).__name__}"
            print(f"benchmarks: {contestant.name} failed: {error!r:.300}", file=sys.stderr)
            continue
        record.first_call = perf_counter() - began
        runs.append((record, run))
    for repeat in range(repeats):
        for record, run in runs:
            wall, cpu = perf_counter(), process_time()
            outcome = run(1 + repeat)
            wall, cpu = perf_counter() - wall, process_time() - cpu
            record.whole_call.append(wall)
            record.wall_rate.append(outcome.path_steps / (wall if outcome.wall is None else outcome.wall))
            record.cpu_rate.append(outcome.path_steps / (cpu if outcome.cpu is None else outcome.cpu))
            record.outcomes.append(outcome)
    return records


def ratios(records: Sequence[Record]) -> list[Ratio]:
    """The first record (ours) against each other one."""
    ours = records[0]
    return [_ratio(ours, rival) for rival in records[1:]]


def _ratio(ours: Record, rival: Record) -> Ratio:
    rate = median(ours.wall_rate)
    if rival.missing:
        nan = float("nan")
        return Ratio(rival.name, rival.asked, rival.missing, rate, nan, nan, nan, nan, nan, nan)
    each = [a / b for a, b in zip(ours.wall_rate, rival.wall_rate, strict=True)]
    core = median(a / b for a, b in zip(ours.cpu_rate, rival.cpu_rate, strict=True))
    (a, da), (b, db) = ours.pooled(), rival.pooled()
    z = (a - b) / float(np.hypot(da, db))
    return Ratio(
        rival.name, rival.asked, "", rate, median(rival.wall_rate), median(each), min(each), max(each), core, z
    )
