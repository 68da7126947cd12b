"""The scheme of a run that was told none."""

from __future__ import annotations

from sde.settings import RunSettings
from symbolic.dynamics.equation import SDE
from symbolic.problem.loss import Loss
from symbolic.schemes import within_domain


def chosen(problem: Loss | SDE, settings: RunSettings) -> tuple[str, str]:
    """The scheme's name, and why it where it was chosen for the user. Raises InputError where none fits."""
    if settings.scheme is not None:
        return settings.scheme, ""
    if isinstance(problem, SDE) and problem.domain:
        return within_domain(problem)
    return "euler-maruyama", ""
