"""Whether a run's step is short enough: a few of its paths at half the step, on the same noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from sde import ensemble
from sde.clock import Grid, Ticks
from sde.job import Job
from sde.kernels.drivers import Driver
from sde.kernels.statistics import COUNT, M2, MEAN

COST = 0.05 / 6
"""A check takes this share of the run's steps for every block of its paths: with half steps three times as many, 5 % of the run on two cores."""
FEWEST = 8
"""Steps that a check takes at least, where the run has them."""
SAVES = 4
TOLERATED = 0.05
"""Error, as a share of the spread over paths, from which a step is too long."""
OTHER = 0x5DE_C4EC
"""What makes another seed of a run's."""
CERTAIN = 5.0
"""Standard errors that a difference must be away from 0 to count."""


@dataclass(frozen=True)
class Finding:
    """The largest effect that the step has: on the mean, the standard deviation or the distribution of observable `row` at `time`, estimated as a share of its spread and
    change; lost: how many of `paths` were lost at the step and at half of it. share: of the run's time that was looked at. noise: (O,) what one step's noise moves each
    observable by."""

    row: int
    what: str
    time: float
    error: float
    lost: tuple[int, int]
    paths: int
    share: float
    noise: np.ndarray

    @property
    def weight(self) -> tuple[bool, float]:
        """By what the worst is told: moments first, as everybody knows what they are."""
        return self.what != "distribution" and self.error > TOLERATED, self.error

    @property
    def passed(self) -> bool:
        """Whether the step has no effect that matters."""
        return self.error <= TOLERATED and not self.loses

    @property
    def loses(self) -> bool:
        """Whether paths are lost that half the step keeps."""
        return self.lost[0] - self.lost[1] > max(2, 0.02 * self.paths)


def examine(
    job: Job,
    driver: Callable[[int], Driver],
    ticks: Callable[[Grid], Ticks],
    grid: Grid,
    couples: bool,
    order: float,
    threads: int | None = None,
) -> Finding:
    """Take the first steps of the first paths of a job, as many as COST allows, at its grid's steps and at half of them.

    driver(refine), ticks(grid): what drives the job and clocks it. couples: whether steps can take the noise of finer ones; else the two runs
    are independent, and only gross effects show. order: the scheme's weak order, by which a difference becomes an error.
    """
    lanes = job.program.lanes
    blocks = -(-job.paths // lanes)
    steps = int(min(grid.steps, max(FEWEST, COST * blocks * grid.steps)))
    head = grid.head(steps, SAVES)
    begin = job.start(job.first, min(lanes, job.paths))
    start = np.resize(begin, (lanes, begin.shape[1]))
    base = replace(
        job, start=lambda first, n: start, paths=lanes, slots=lanes, covariance=(), histograms={}, chunk=None
    )
    coarse = replace(base, driver=driver(2 if couples else 1), clock=ticks(head))
    fine = replace(base, driver=driver(1), clock=ticks(head.halved()), seed=job.seed if couples else job.seed ^ OTHER)
    ends = [ensemble.run(j, threads) for j in (coarse, fine)]
    if any(e.interrupted for e in ends):
        raise KeyboardInterrupt
    times = grid.at(head.saves)
    lost = (ends[0].total.lost, ends[1].total.lost)
    a, b = (e.kept.astype(np.float64) for e in ends)
    with np.errstate(all="ignore"):
        noise = (a[1] - a[0]).std(axis=1) / np.sqrt(head.saves[1])
    worst = Finding(0, "mean", 0.0, 0.0, lost, lanes, float(times[-1] / grid.ends[-1]), noise)
    factor, rounding = 2**order / (2**order - 1), 256 * float(np.finfo(job.program.dtype).eps)
    for k, row in np.ndindex(a.shape[:2]):
        alive = np.isfinite(a[k, row]) & np.isfinite(b[k, row])
        if k > 0 and alive.sum() > 1:
            for what, size in _errors(a[k, row, alive], b[k, row, alive], a[0, row, alive], rounding):
                found = replace(worst, row=row, what=what, time=float(times[k]), error=size * factor)
                worst = max(worst, found, key=lambda f: f.weight)
    return worst


def _errors(a: np.ndarray, b: np.ndarray, begin: np.ndarray, rounding: float) -> Iterator[tuple[str, float]]:
    """What the step shifts, as a share of the spread: the mean and the standard deviation, and, where tails are too heavy for these, where paths lie in
    the bulk. Only what chance has not made."""
    root = np.sqrt(len(a))
    with np.errstate(all="ignore"):
        mean, std = b.mean(), b.std()
        spread = np.hypot(std, np.abs(mean - begin.mean()))
        if not spread > rounding * (np.abs(mean) + np.abs(b).max()):
            return
        d, squares = b - a, ((a - a.mean()) ** 2 / a.std(), (b - mean) ** 2 / std)
        shifts = [("mean", d.mean(), d.std(), spread)]
        if std > 0 and a.std() > 0:
            shifts.append(("standard deviation", std - a.std(), (squares[1] - squares[0]).std() / 2, spread))
        low, middle, high = np.quantile(b, [0.25, 0.5, 0.75])
        if high > low:
            for power in (1, 2):
                bounded = [np.tanh((x - middle) / (high - low)) ** power for x in (a, b)]
                gap = bounded[1] - bounded[0]
                shifts.append(("distribution", gap.mean(), gap.std(), bounded[1].std()))
        for what, size, scatter, scale in shifts:
            if abs(size) > CERTAIN * scatter / root:
                yield what, float(abs(size) / scale)


ROUNDED = 0.01
"""Share of its change that rounding may take of a state."""


def rounded_away(job: Job, noise: np.ndarray, moments: np.ndarray, pull: np.ndarray) -> int | None:
    """The first observable whose steps are lost in the last place of the number type, None where there is none. noise: of one step, (O,); moments: the
    run's, (saves, O, 5); pull: what the drift at the start would move the first of them by, (D,).

    Noise larger than the last place makes rounding fair; without it, every step may be off by half of it to the same side.
    """
    mean, eps = moments[:, :, MEAN], float(np.finfo(job.program.dtype).eps)
    with np.errstate(all="ignore"):
        last_place = np.nanmax(np.abs(mean), axis=0) * eps
        change = np.ptp(mean, axis=0) + np.sqrt(moments[-1, :, M2] / np.maximum(moments[-1, :, COUNT], 1))
        change[: len(pull)] = np.maximum(change[: len(pull)], pull)
        lost = (noise < last_place / 2) & (job.clock.steps * last_place / 4 > ROUNDED * change) & (change > last_place)
    return int(np.argmax(lost)) if lost.any() else None
