"""The steps of the longest level of an estimate: none that misses what changes in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from sde.api import time_steps
from sde.api.survey import LOOKS, Survey
from sde.engine import step_check, time_grid
from sde.engine.time_grid import Grid
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.path_functionals import PathFunctional, TimeIntegral
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.errors import InputError

SMALL, ALIKE = 1e-3, 0.1
"""By what share of its size input must be off, and how much alike on shorter steps, to be taken for input that steps
miss: what they see is off by less, the shorter they are."""


def first_grid(survey: Survey, steps: int, refine: int, jumps: Sequence[float], given: bool) -> Grid:
    """At least `steps` steps, which end at jumps in time; times `refine` until coefficients add up to what they do.

    given: whether the caller named the steps. Raises InputError where no steps are short enough, or warns (StepWarning)
    where they were given."""
    time, began = survey.time, survey.began
    grids = [time_grid.continuous(time, time / steps, [began + time], jumps, begin=began)]
    if not survey.moves_with_time or grids[0].steps > LOOKS:
        return grids[0]
    while grids[-1].steps * refine <= LOOKS:
        grids.append(finer(grids[-1], refine))
    missed = survey.missed(grids)
    off = np.abs(missed) > step_check.TOLERATED
    beside = missed - missed[-1]
    off[:-2] |= _stays(beside[:-2], beside[1:-1]) & _stays(beside[:-2], beside[2:])
    first = 1 + max(np.flatnonzero(off.any(axis=1)), default=-1)
    if first < len(grids):
        return grids[first]
    if not given:
        raise InputError(
            "expectation.sde: coefficients must change in time no faster than steps can follow; got one that adds up to"
            f" {np.abs(missed[-1]).max():.0%} of its size more or less on {grids[-1].steps} steps than by closer looks"
            " (float). Shorten the run, or give steps."
        )
    if unseen := survey.unseen(grids[0]):
        time_steps.warn_of_unseen(unseen, grids[0].longest)
    return grids[0]


def surveyed(survey: Survey, functions: Iterable[Any]) -> Survey:
    """The same with what functions integrate over time as drifts of further states: it is input too."""
    sde, clock = survey.sde, survey.sde.time
    known = {*sde.states, *sde.parameters, clock}
    added = {node.args[0] for f in functions if isinstance(f, sp.Basic) for node in f.atoms(TimeIntegral)}
    added = [e for e in added if clock in e.free_symbols <= known and not e.has(PathFunctional)]
    if not added or isinstance(sde, ArraySDE):
        return survey
    more = [sp.Symbol(f"integral_{k}_of_f", real=True) for k in range(len(added))]
    own = {time_symbol: clock}
    drift, rows = [*sde.drift_vector.xreplace(own), *added], sde.diffusion_matrix.xreplace(own).tolist()
    still = [[0] * sde.noises for _ in more]
    whole = SDE([*sde.states, *more], drift, [*rows, *still], time=clock, parameters=sde.parameters)
    return replace(survey, sde=whole, start={**survey.start, **{s.name: 0.0 for s in more}})


def finer(grid: Grid, times: int) -> Grid:
    """Every step in so many."""
    return replace(grid, firsts=grid.firsts * times, saves=grid.saves * times)


def _stays(here: np.ndarray, later: np.ndarray) -> np.ndarray:
    return (np.abs(here) > SMALL) & (np.abs(later - here) < ALIKE * np.abs(here))
