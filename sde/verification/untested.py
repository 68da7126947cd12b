"""Claims that a verification would have made and did not come to, each with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sde.verification.claims import STATEMENTS
from sde.verification.result import Untested
from sde.verification.setting import Findings, Setting, Simulators
from sde.verification.theory_numbers import Theory


def untested(group: str, subject: str, reason: str) -> Untested:
    """A claim of a group about a subject, in the words that its verdict would have."""
    return Untested(f"{STATEMENTS[group]}: {subject}", group, subject, reason)


def not_reached(
    found: Findings, theory: Theory, setting: Setting, simulators: Simulators, names: Sequence[str], reason: str
) -> list[Untested]:
    """What is missing of an experiment that was broken off. names: of the starts."""
    made = {(c.group, c.subject) for c in found.claims}
    return [
        untested(group, subject, reason)
        for stage, group, subject in _claims(theory, setting, simulators, names)
        if stage not in found.reached and (group, subject) not in made
    ]


def _claims(
    theory: Theory, setting: Setting, simulators: Simulators, names: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """(stage, group, subject) of all that an experiment may claim, in the order of its report."""
    sde, gd = simulators.sde is not None, simulators.gd is not None
    for c in theory.charges:
        for who in ("SGD", "GD") if setting.plain and gd else ("SGD",) if setting.plain else ():
            yield "identities", "pathwise identity", f"{who}, {c.label}"
    for c in theory.charges if sde else ():
        for who in ("SGD", "SDE") if setting.plain else ("SDE",):
            if c.kind != "frozen":
                yield "drifts", "mean drift", f"{who}, {c.label}"
    for c in theory.charges if setting.plain else ():
        if c.kind:
            yield "classes", "class", f"{c.label} is {c.kind}"
    for group, kind in (("approach", "convergent"), ("equilibrium", "convergent"), ("divergence law", "divergent")):
        grows = setting.plain and theory.weight_decay == 0
        for name in names if sde and (grows or kind == "convergent") else ():
            for c in theory.charges:
                if c.kind == kind:
                    yield (
                        name,
                        group,
                        f"from {name}, {c.label}" if group == "approach" else f"SGD from {name}, {c.label}",
                    )
    for c in theory.charges if sde and gd and not theory.weight_decay else ():
        yield "descent", "gradient descent", c.label
