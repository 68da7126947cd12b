"""Whether a run's step is short enough: a few of its paths at half the step, on the same noise."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from sde.engine.chunk import Worker, advance
from sde.engine.initial_states import Listed
from sde.engine.interruption import Stop, Stopped, heeded
from sde.engine.plan import CHUNK_STEPS, Plan
from sde.engine.quantiles import exact
from sde.engine.scratch import SCRATCH
from sde.engine.time_grid import Grid, RunClock
from sde.kernels.drivers import Driver
from sde.kernels.statistics.moments import COUNT, M2, MEAN

COST = 0.01 / 6
"""A check takes this share of the run's steps for every block of its paths: with half steps three times as many, 1 % of
the run on two cores."""
FEWEST = 6
"""Steps that a check takes at least, where the run has them."""
SAVES = 3
TOLERATED = 0.05
"""Error, as a share of the spread over paths, from which a step is too long."""
OTHER = 0x5DE_C4EC
"""What makes another seed of a run's."""
EARLY = 24.0
"""Most times its spread and change so far that an observable's in the whole run count: a run that explodes has no other
measure."""
WIDE = 0.2
"""Share of what an observable does in the run that its bulk must have spread to before where paths lie in it tells
anything."""
HEAVY = 1.0
"""Standard deviation, as a share of the distance between quartiles, from which on tails are so heavy that what an
observable does in the run is measured by quartiles too; of a normal it is 0.74."""
ENOUGH = 4096
"""Paths by which a run's quartiles are known well enough."""
CERTAIN = 5.0
"""Standard errors that a difference must be away from 0 to count."""
KINDS, MOMENTS = ("mean", "standard deviation", "distribution", "distribution"), 2
"""What errors are of; the first are moments."""


@dataclass(frozen=True)
class Finding:
    """The largest effect that the step has: on the mean, the standard deviation or the distribution of observable `row`
    at `time`, estimated as a share of its spread and change; lost: how many of `paths` were lost at the step and at
    half of it. share: of the run's time that was looked at. noise: (O,) what one step's noise moves each observable
    by."""

    row: int
    what: str
    time: float
    error: float
    exploded_paths: tuple[int, int]
    paths: int
    share: float
    noise: np.ndarray

    @property
    def passed(self) -> bool:
        """Whether the step has no effect that matters."""
        return self.error <= TOLERATED and not self.loses

    @property
    def loses(self) -> bool:
        """Whether paths are lost that half the step keeps."""
        return self.exploded_paths[0] - self.exploded_paths[1] > max(2, 0.02 * self.paths)


@dataclass
class Trial:
    """The first steps of the first paths of a plan, as many as COST allows, at its grid's steps and at half of them.

    driver(refine), clock(grid): what drives the run and clocks it. couples: whether steps can take the noise of finer
    ones; else the two runs are independent, and only gross effects show.
    """

    plan: Plan
    driver: Callable[[int], Driver]
    clock: Callable[[Grid], RunClock]
    grid: Grid
    couples: bool
    _ends: list[tuple[np.ndarray, int]] | None = field(default=None, init=False, repr=False)

    @property
    def lanes(self) -> int:
        """How many paths."""
        return self.plan.program.lanes

    @cached_property
    def head(self) -> Grid:
        """The steps that are taken."""
        share = min(1.0, COST * -(-self.plan.paths // self.lanes))
        return self.grid.head(int(min(self.grid.steps, max(FEWEST, share * self.grid.steps))), SAVES)

    @property
    def brief(self) -> bool:
        """Whether it is over before anybody could wait for it."""
        return self.plan.brief and self.lanes * self.head.steps < CHUNK_STEPS

    def _plans(self) -> tuple[Plan, Plan]:
        plan, lanes, couples = self.plan, self.lanes, self.couples
        begin = plan.start(plan.first, min(lanes, plan.paths))
        few = partial(
            replace,
            plan,
            start=Listed(np.resize(begin, (lanes, begin.shape[1])), plan.first),
            paths=lanes,
            keep=True,
            covariance=(),
            histograms={},
            blocks=1,
            piece=1,
        )
        return (
            few(driver=self.driver(2 if couples else 1), clock=self.clock(self.head)),
            few(
                driver=self.driver(1),
                clock=self.clock(self.head.halved()),
                seed=plan.seed if couples else plan.seed ^ OTHER,
            ),
        )

    def take(self, stop: Stop) -> None:
        """Run both, one after the other, unless `stop` is set meanwhile."""
        with suppress(Stopped):
            self._ends = [_saves(plan, stop) for plan in self._plans()]

    def ends(self) -> list[tuple[np.ndarray, int]]:
        """All saves of both, (saves, O, n), and how many paths each lost; run by now, or else now. Raises
        KeyboardInterrupt."""
        if self._ends is None:
            stop = Stop()
            try:
                with heeded(stop, False), ThreadPoolExecutor() as pool:
                    self._ends = list(pool.map(partial(_saves, stop=stop), self._plans()))
            except Stopped:
                raise KeyboardInterrupt from None
        return self._ends


def _saves(plan: Plan, stop: Stop) -> tuple[np.ndarray, int]:
    """All saves of a plan of one chunk, and how many paths it lost. Raises Stopped."""
    rows = SCRATCH.take((len(plan.clock.saves), plan.rows, plan.chunk_size), plan.program.dtype)
    paths = advance(plan, 0, rows, Worker(stop))
    saved = rows[:, :, : paths.count].astype(np.float64)
    SCRATCH.give(rows)
    return saved, int((paths.events.dead >= 0).sum())


def examine(
    trial: Trial, order: float, moments: np.ndarray, quartiles: Callable[[], np.ndarray | None] = lambda: None
) -> Finding:
    """What the step does, by a trial. order: the scheme's weak order, by which a difference becomes an error. moments:
    the run's own, (saves, O, 5): errors count beside what an observable does in the whole run, as what is smooth is all
    discretisation in its first steps. quartiles: its own (3, saves, O), asked for where tails are heavy. Raises
    KeyboardInterrupt."""
    (a, lost), (b, fewer) = trial.ends()
    plan, grid, saves = trial.plan, trial.grid, trial.head.saves
    times = grid.at(saves)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rows in which no path is left
        noise = _moments([a[1] - a[0]])[1][0] / np.sqrt(saves[1])
        mean = moments[:, :, MEAN]
        std = np.sqrt(moments[:, :, M2] / np.maximum(moments[:, :, COUNT] - 1, 1))
        scale = np.nanmax(np.hypot(std, mean - mean[0]), axis=0)
        sizes = _errors(a, b, scale, 256 * float(np.finfo(plan.program.dtype).eps), partial(_extent, quartiles))
    largest = sizes.reshape(len(KINDS), -1).max(axis=1) * 2**order / (2**order - 1)
    moved = largest[:MOMENTS].max() > TOLERATED  # moments first, as everybody knows what they are
    kind = int(np.argmax(largest[: MOMENTS if moved else None]))
    at, row = np.unravel_index(np.argmax(sizes[kind]), sizes.shape[1:])
    share = float((times[-1] - grid.begin) / grid.ends[-1])
    error = float(largest[kind])
    return Finding(int(row), KINDS[kind], float(times[at]), error, (lost, fewer), trial.lanes, share, noise)


def _extent(quartiles: Callable[[], np.ndarray | None]) -> np.ndarray | None:
    """Distance between quartiles and change of the median, the most of a run, (O,)."""
    found = quartiles()
    return None if found is None else np.nanmax(np.hypot(found[2] - found[0], found[1] - found[1][0]), axis=0)


def _errors(
    a: np.ndarray,
    b: np.ndarray,
    scale: np.ndarray,
    rounding: float,
    extent: Callable[[], np.ndarray | None] = lambda: None,
) -> np.ndarray:
    """What the step shifts, as a share of the spread and change in the run, scale (O,), by save: the mean and the
    standard deviation, and, where tails are too heavy for these, where paths lie in the bulk, near and far from its
    middle; 0 where chance may have made it: (KINDS, saves, O). a, b: (saves, O, n); extent: of the bulk in the run."""
    missing = ~(np.isfinite(a) & np.isfinite(b))
    if missing.any():
        a, b = np.where(missing, np.nan, a), np.where(missing, np.nan, b)
    root = np.sqrt((~missing).sum(axis=2))
    (other_mean, mean, shift), (other, std, shift_scatter) = _moments([a, b, b - a])
    own = np.hypot(std, np.abs(mean - mean[0]))
    spread = np.clip(np.where(np.isfinite(scale), scale, np.inf), own, EARLY * own)
    tells = spread > rounding * (np.abs(mean) + np.nanmax(np.abs(b), axis=2))
    spreads = (std > 0) & (other > 0)
    one, two = (np.where(spreads, scatter, np.inf)[..., None] for scatter in (other, std))
    squares = (b - mean[..., None]) ** 2 / two - (a - other_mean[..., None]) ** 2 / one
    low, middle, high = exact(b.reshape(-1, b.shape[2]).copy(), [0.25, 0.5, 0.75]).reshape(3, *b.shape[:2])
    between = high - low
    middle, width = middle[..., None], np.where(between > 0, between, np.inf)[..., None]
    fine, coarse = (np.tanh((x - middle) / width) for x in (b, a))
    wide = between > WIDE * spread
    if (heavy := ~wide & (between > 0) & (std > HEAVY * between)).any() and (whole := extent()) is not None:
        done = np.maximum(whole, np.hypot(between, middle[..., 0] - middle[0, ..., 0]))
        wide |= heavy & (between > WIDE * done)
    means, scatters = _moments([squares, fine - coarse, fine**2 - coarse**2, fine, fine**2])
    size = np.abs([shift, std - other, means[1], means[2]])
    scatter = np.stack([shift_scatter, scatters[0] / 2, scatters[1], scatters[2]])
    unit = np.stack([spread, np.where(spreads, spread, 0.0), *np.where(wide, scatters[3:], 0.0)])
    certain = tells & (size > CERTAIN * scatter / root) & (unit > 0)
    certain[:, 0] = False
    return np.nan_to_num(np.where(certain, size / unit, 0.0))


def _moments(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of each, over their last axis and what is a number there."""
    every = np.stack(rows)
    if np.isnan(every).any():
        return np.nanmean(every, axis=-1), np.nanstd(every, axis=-1)
    mean = every.mean(axis=-1)
    every -= mean[..., None]
    return mean, np.sqrt(np.einsum("...i,...i->...", every, every) / every.shape[-1])


ROUNDED = 0.01
"""Share of its change that rounding may take of a state."""


def rounded_away(plan: Plan, noise: np.ndarray, moments: np.ndarray, pull: np.ndarray) -> int | None:
    """The first observable whose steps are lost in the last place of the number type, None where there is none. noise:
    of one step, (O,); moments: the run's, (saves, O, 5); pull: what the drift at the start would move the first of them
    by, (D,).

    Noise larger than the last place makes rounding fair; without it, every step may be off by half of it to the same
    side.
    """
    mean, eps = moments[:, :, MEAN], float(np.finfo(plan.program.dtype).eps)
    with np.errstate(all="ignore"):
        last_place = np.nanmax(np.abs(mean), axis=0) * eps
        change = np.ptp(mean, axis=0) + np.sqrt(moments[-1, :, M2] / np.maximum(moments[-1, :, COUNT], 1))
        change[: len(pull)] = np.maximum(change[: len(pull)], pull)
        exploded_paths = (
            (noise < last_place / 2) & (plan.clock.steps * last_place / 4 > ROUNDED * change) & (change > last_place)
        )
    return int(np.argmax(exploded_paths)) if exploded_paths.any() else None
