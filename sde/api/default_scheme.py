"""The scheme of a run that was told none, or to choose one."""

from __future__ import annotations

import numpy as np

from sde.api import per_path, sweep, timed
from sde.api.survey import Survey
from sde.settings import RunSettings
from symbolic.dynamics.equation import SDE
from symbolic.problem.loss import Loss
from symbolic.schemes import exact_in_distribution, fitting, for_step, within_domain

AUTO = "auto"
STIFF = -1.0
"""Eigenvalues of the drift's Jacobian, times the step, from which on an explicit step is not trusted; it is unstable
from -2 on."""
MOST_STATES = 200
"""Of how many states the Jacobian is taken."""
EXACT = "exponential-coupled"
STRONG = {"additive": "sra1", "scalar": "sriw1", "diagonal": "sriw1", "commutative": "milstein"}
WEAK = {"additive": "sra1"}


def chosen(problem: Loss | SDE, settings: RunSettings) -> tuple[str, str]:
    """The scheme's name, and why it where it was chosen for the user. Raises InputError where none fits."""
    if settings.scheme not in (None, AUTO):
        return str(settings.scheme), ""
    if isinstance(problem, SDE) and problem.domain:
        return within_domain(problem)
    if settings.scheme is None:
        return "euler-maruyama", ""
    return by_equation(problem, settings) if isinstance(problem, SDE) else ("euler-maruyama", "the noise of a loss")


def by_equation(problem: SDE, settings: RunSettings) -> tuple[str, str]:
    """By stiffness at the start, noise class and what is asked for: paths, or their statistics."""
    fit, noise = fitting(problem), problem.noise_class
    if problem.interpretation == "stratonovich":
        return "heun", "an equation in Stratonovich's sense"
    assert settings.time is not None
    numbers = sweep.numbers(problem, settings.parameters)
    own = per_path.read(problem, settings.parameters, settings.paths, settings.seed)
    given = (settings.start, settings.paths, settings.seed, settings.time, settings.start_time, own)
    survey = Survey(problem, numbers, *given, timed.of_problem(problem, settings.gather))
    step = min(settings.dt or survey.step(), settings.time)
    stiff, rate = stiffness(survey, step)
    if stiff:
        why = f"stiff: at the start the drift pulls back {-rate:.3g} times as far as a state is away, per step"
        if stiff == AUTO and EXACT in fit and exact_in_distribution(problem):
            return EXACT, f"{why}; linear in the states with noise of constants, which it steps exactly in distribution"
        for name in (*((stiff,) if stiff != AUTO else ()), "implicit-euler", "exponential-euler", "adaptive-euler"):
            if name in fit and not survey.singular_end(for_step(problem, name, step), step):
                return name, why
    strong = settings.saves.keep == "paths"
    best = STRONG.get(noise, "milstein-levy") if strong else WEAK.get(noise, "platen-weak-2")
    looked = (name for name in (best, "milstein") if name in fit)
    name = next((s for s in looked if not survey.singular_end(for_step(problem, s, step), step)), "euler-maruyama")
    rest = "stiff, but no scheme for that fits: take a shorter dt" if stiff else "not stiff"
    return name, f"{noise} noise, {'paths' if strong else 'statistics'} asked for, {rest}"


def stiffness(survey: Survey, step: float) -> tuple[str, float]:
    """What to do about eigenvalues of the drift's Jacobian at the start that are far below 0 for the step ("" where
    none is), and the lowest of their real parts, per step."""
    jacobian = survey.jacobian() if survey.sde.dimension <= MOST_STATES else None
    if jacobian is None or not np.isfinite(jacobian).all():
        return "", 0.0
    lowest = float(np.linalg.eigvals(jacobian).real.min() * step)
    if lowest > STIFF:
        return "", lowest
    coupled = jacobian - np.diag(np.diag(jacobian))
    own = not coupled.any() or float(np.abs(np.linalg.eigvals(coupled)).max() * step) < -STIFF
    return ("exponential-euler" if own else AUTO), lowest
