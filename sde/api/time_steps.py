"""The steps of a run: how long when nothing is said, where they must end, and what is said when they are too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sde.api.step_inputs import Motion
from sde.api.unseen import Unseen
from sde.engine import step_check
from sde.engine.accumulators.moments import Moments
from sde.engine.ensemble import Outcome
from sde.engine.plan import Plan
from sde.engine.quantiles import exact
from sde.engine.time_grid import Grid
from sde.kernels.statistics.moments import HIGH, LOW
from symbolic.errors import InputError, warn


class StepWarning(UserWarning):
    """A run's steps are too long, or not those that were asked for."""


@dataclass(frozen=True)
class Steps:
    """The steps of a run. order: the scheme's weak order, by which they are checked, None to leave it out; pull: what
    the drift at the start would move each state by over the run."""

    grid: Grid
    refine: int = 1
    order: float | None = None
    pull: Any = ()

    @property
    def taken(self) -> float:
        """The longest step, as it would be written."""
        return float(f"{self.grid.longest:.12g}")

    def trial(self, plan: Plan, moving: Motion) -> step_check.Trial | None:
        """What tells whether they are short enough, None to leave that out."""
        if self.order is None:
            return None
        return step_check.Trial(plan, moving.driver, moving.clock, self.grid, moving.couples)

    def check(self, trial: step_check.Trial, outcome: Outcome, names: Sequence[str]) -> float:
        """Warn where a few paths at half the step end elsewhere, or steps are lost in rounding; the step's error, as a
        share of the spread."""
        assert self.order is not None
        plan, moments = trial.plan, outcome.total[Moments].cells
        try:
            found = step_check.examine(trial, self.order, moments, lambda: _quartiles(outcome))
        except KeyboardInterrupt:  # the run itself is complete
            return float("nan")
        if not found.passed:
            report(found, names, self.taken, self.order)
        row = step_check.rounded_away(plan, found.noise, moments, np.asarray(self.pull))
        if row is not None:
            warn_of_rounding(names[row], plan.program.dtype.name, self.grid.steps)
        return float(f"{found.error:.3g}")


def _quartiles(outcome: Outcome) -> np.ndarray | None:
    """Of all saved observables, (3, saves, O), None where paths went to a file."""
    moments, at = outcome.total[Moments].cells, [0.25, 0.5, 0.75]
    if outcome.sketches:
        found = outcome.sketches[0].quantiles(at, moments[:, :, LOW].ravel(), moments[:, :, HIGH].ravel())[0]
    elif outcome.kept.size:
        some = outcome.kept[:, :, : step_check.ENOUGH].copy()  # which `exact` puts in order
        found = exact(some.reshape(moments.shape[0] * moments.shape[1], -1), at)
    else:
        return None
    return found.reshape(3, *moments.shape[:2])


def places(steps_at: Any, time: float, began: float = 0.0) -> list[float]:
    """The times, of a run of length `time` from `began`, that `steps_at` gives. Raises ValueError."""
    try:
        at = np.asarray([] if steps_at is None else steps_at, dtype=np.float64)
    except (TypeError, ValueError):
        at = np.full((1, 1), np.nan)
    if at.ndim != 1 or not np.isfinite(at).all() or (at < began).any() or (at > began + time).any():
        rule = f"must be times within [{began:g}, {began + time:g}]"
        raise InputError.of("steps_at", rule, steps_at, "Give a list of times, e.g. [0.5, 0.501].")
    return [float(x) for x in at]


def warn_of_short_steps(grid: Grid, dt: float, time: float) -> None:
    """Saves that lie closer than dt take shorter steps: say so."""
    requested = int(np.ceil(time / dt * (1 - 1e-12)))
    closest = float(np.diff(grid.at(grid.saves)).min(initial=time))
    if closest < dt * (1 - 1e-6) and grid.steps > requested:
        warn(
            f"save_at: saves that lie {closest:.3g} apart shorten the steps between them below dt = {dt:g}:"
            f" {grid.steps} steps instead of {requested}, and another error than that of dt. Save less often, or take"
            " the smaller dt throughout.",
            StepWarning,
        )


def warn_of_unseen(found: Unseen, dt: float) -> None:
    """Say that something changes within a step."""
    warn(
        f"dt: {found.what} changes in time within a step of {dt:g}: over the run it {found.does}"
        f" {found.by_steps:.4g} by the steps, and {found.by_looks:.4g} by closer looks. Take a smaller dt, or name the"
        " times with steps_at=.",
        StepWarning,
    )


def warn_of_rounding(name: str, dtype: str, steps: int) -> None:
    """Say that a state's steps are lost in rounding."""
    warn(
        f"dtype: the steps of {name} are so small beside it that {dtype} rounds {steps} of them to the same side, which"
        f" adds up to more than {step_check.ROUNDED:.0%} of its change. Use"
        f" {'float64' if dtype == 'float32' else 'a longer dt'}.",
        StepWarning,
    )


def unevenness(grid: Grid, refine: int, dt: float) -> None:
    """Raise ValueError where a run of `refine` times shorter steps would not be made of this one's."""
    gaps = np.diff(grid.ends) / dt
    if refine > 1 and np.abs(gaps - np.round(gaps)).max() > 1e-6:
        raise InputError(
            "refine: dt must divide the time between saves and jumps, or finer steps would not be parts of these; got"
            f" {refine!r} (int) with dt = {dt:g}. Save at multiples of dt."
        )


def report(finding: step_check.Finding, names: Sequence[str], dt: float, order: float) -> None:
    """Warn with the size of the step's effect."""
    part = "" if finding.share > 0.999 else f" in the first {finding.share:.2g} of the run"
    if finding.loses:
        recorded = (
            f"{finding.exploded_paths[0]} of {finding.paths} paths are lost at dt = {dt:g}{part},"
            f" {finding.exploded_paths[1]} at half of it"
        )
    else:
        recorded = (
            f"dt = {dt:g} puts the {finding.what} of {names[finding.row]} off by about {finding.error:.0%} of its"
            f" spread at time {finding.time:.4g}{part}, by {finding.paths} paths at half the step on the same noise"
        )
    shorter = (
        dt / 2 if finding.loses else dt * min(0.5, (step_check.TOLERATED / 2 / finding.error) ** (1 / max(order, 0.5)))
    )
    warn(f"dt: {recorded}. Try dt = {shorter:.2g}; check=False leaves this check out.", StepWarning)
