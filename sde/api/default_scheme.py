"""The scheme of a run that was told none, or to choose one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sde.api import per_path, sweep, timed
from sde.api.relaxed_steps import relaxed
from sde.api.survey import Survey
from sde.settings import RunSettings
from symbolic.dynamics.equation import SDE
from symbolic.problem.loss import Loss
from symbolic.schemes import couplings, exact_in_distribution, fitting, for_step, within_domain

AUTO = "auto"
STIFF = -1.0
"""Eigenvalues of the drift's Jacobian, times the step, from which on an explicit step is not trusted; it is unstable
from -2 on."""
MOST_STATES = 200
"""Of how many states the Jacobian is taken."""
EXACT = "exponential-coupled"
EXACTLY = "linear in the states with noise of constants, which it steps exactly in distribution"
OWN, COUPLED, TURNING = "own", "coupled", "turning"
INSTEAD = {
    OWN: ("exponential-euler", "implicit-euler", "adaptive-euler"),
    COUPLED: ("implicit-euler", "exponential-euler", "adaptive-euler"),
    TURNING: (EXACT,),
}
"""Schemes for states that relax by themselves, for those that relax together, and for those that oscillate."""
WORTH = 4
"""Times longer than steps that resolve all, from which on a step is that resolves the rest."""
STRONG = {"additive": "sra1", "scalar": "sriw1", "diagonal": "sriw1", "commutative": "milstein"}
WEAK = {"additive": "sra1"}


@dataclass(frozen=True)
class Choice:
    """A scheme's name; why it, where it was chosen for the user; and the step that it was chosen for, where it goes by
    that and none was given."""

    scheme: str
    why: str = ""
    step: float | None = None


def chosen(problem: Loss | SDE, settings: RunSettings) -> Choice:
    """The scheme of a run. Raises InputError where none fits."""
    if settings.scheme not in (None, AUTO):
        return Choice(str(settings.scheme))
    if isinstance(problem, SDE) and problem.domain:
        return Choice(*within_domain(problem))
    if settings.scheme is None:
        return Choice("euler-maruyama")
    return (
        by_equation(problem, settings) if isinstance(problem, SDE) else Choice("euler-maruyama", "the noise of a loss")
    )


def by_equation(problem: SDE, settings: RunSettings) -> Choice:
    """By stiffness at the start, noise class and what is asked for: paths, or their statistics."""
    fit, noise = fitting(problem), problem.noise_class
    if problem.interpretation == "stratonovich":
        return Choice("heun", "an equation in Stratonovich's sense")
    assert settings.time is not None
    numbers = sweep.numbers(problem, settings.parameters)
    own = per_path.read(problem, settings.parameters, settings.paths, settings.seed)
    given = (settings.start, settings.paths, settings.seed, settings.time, settings.start_time, own)
    survey = Survey(problem, numbers, *given, timed.of_problem(problem, settings.gather))
    if settings.dt is None and (found := relaxing(survey, fit)):
        return found
    step = min(settings.dt or survey.step(), settings.time)
    stiff, fastest = stiffness(survey, step)
    if stiff:
        why = _told(fastest)
        if stiff != OWN and EXACT in fit and exact_in_distribution(problem):
            return Choice(EXACT, f"{why}; {EXACTLY}")
        solved = stiff != TURNING or (EXACT in fit and turned(survey, step))
        for name in INSTEAD[stiff] if solved else ():
            if name in fit and not survey.singular_end(for_step(problem, name, step), step):
                return Choice(name, why)
    strong = settings.saves.keep == "paths"
    best = STRONG.get(noise, "milstein-levy") if strong else WEAK.get(noise, "platen-weak-2")
    looked = (name for name in (best, "milstein") if name in fit)
    name = next((s for s in looked if not survey.singular_end(for_step(problem, s, step), step)), "euler-maruyama")
    rest = f"{_told(fastest)}, but no scheme for that fits: take a shorter dt" if stiff else "not stiff"
    return Choice(name, f"{noise} noise, {'paths' if strong else 'statistics'} asked for, {rest}")


def relaxing(survey: Survey, fit: Sequence[str]) -> Choice | None:
    """Of a run without a step whose drift is fast in a linear part alone: a scheme that solves that, and a step that
    the rest asks for. None where that is not so."""
    found = max(relaxed(survey, fit, MOST_STATES), key=lambda pair: pair[1], default=None)
    if found is None or found[1] < WORTH * survey.pilot.step:
        return None
    name, step = found
    stiff, fastest = stiffness(survey, step)
    exact = f"; {EXACTLY}" if name == EXACT and exact_in_distribution(survey.sde) else ""
    return Choice(name, f"{_told(fastest)}{exact}", step) if stiff else None


def stiffness(survey: Survey, step: float) -> tuple[str, complex]:
    """What to do about eigenvalues of the drift's Jacobian at the start that are too far from 0 for the step ("" where
    none is), and the one that says so, per step: the lowest, or of the fastest oscillation."""
    jacobian = survey.jacobian() if survey.sde.dimension <= MOST_STATES else None
    if jacobian is None or not np.isfinite(jacobian).all():
        return "", 0.0
    rates = np.linalg.eigvals(jacobian) * step
    lowest, turning = complex(rates[rates.real.argmin()]), complex(rates[np.abs(rates.imag).argmax()])
    if lowest.real > STIFF:
        return (TURNING, turning) if abs(turning.imag) > -STIFF else ("", lowest)
    coupled = jacobian - np.diag(np.diag(jacobian))
    own = not coupled.any() or float(np.abs(np.linalg.eigvals(coupled)).max() * step) < -STIFF
    return (OWN if own else COUPLED), lowest.real


def turned(survey: Survey, step: float) -> bool:
    """Whether the fastest oscillation at the start is that of numbers that couple states, within a radian a step."""
    jacobian = survey.jacobian()
    assert jacobian is not None and isinstance(survey.sde, SDE)
    solved = np.array(couplings(survey.sde).tolist(), dtype=float)
    seen, known = (np.abs(np.linalg.eigvals(m).imag).max() * step for m in (jacobian, solved))
    return bool(abs(seen - known) < -STIFF)


def _told(fastest: complex) -> str:
    if complex(fastest).imag:
        return f"oscillates: at the start the drift turns states by {abs(complex(fastest).imag):.3g} radians per step"
    return f"stiff: at the start the drift pulls back {-fastest.real:.3g} times as far as a state is away, per step"
