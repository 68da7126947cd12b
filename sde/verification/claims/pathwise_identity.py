"""C_{k+1} = rho^2 C_k + h^2 g^T A g with rho = 1 - h*weight_decay, on every step of every path."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, Run
from sde.verification.theory_numbers import Charge
from sde.verification.verdicts import Claim, Untested

EXACT = 1e-10
"""Relative tolerance of identities that hold to rounding in float64."""


def applies(experiment: Experiment) -> Iterator[Case]:
    """To SGD and gradient descent without momentum."""
    setting = experiment.setting
    if setting.plain:
        yield Case.of(experiment, experiment.every_charge, "SGD, {charge}", [Run(Kind.EVERY_SGD)])
    if setting.plain and setting.closed:
        yield Case.of(experiment, experiment.every_charge, "GD, {charge}", [Run(Kind.EVERY_GD)])


def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested]:
    """A claim a charge, over every step of every path."""
    given, sample = evidence.experiment, evidence.sample(case.runs[0].kind)
    h = given.step_lengths(np.arange(len(sample.time) - 1))
    for subject, j in case.pairs:
        if not len(sample.states):
            yield CLAIM.untested(subject, "every path exploded", SMALLER)
            continue
        worst = largest_residual(given.theory.charges[j], sample.states, h, given.theory.weight_decay)
        note = f"{len(h)} steps on each path"
        yield CLAIM.claim(subject, worst, 0.0, (0.0, EXACT), 0.0, len(sample.states), note)


def largest_residual(charge: Charge, states: np.ndarray, h: np.ndarray, weight_decay: float) -> float:
    """Of the identity (with b: its general form), relative to the charge's size. states: (paths, steps + 1, D); h:
    (steps,)."""
    now, after, rho = states[:, :-1], states[:, 1:], (1 - h * weight_decay)[None, :]
    shift = rho[..., None] * now - after
    linear = 2 * now @ charge.b
    predicted = rho**2 * (charge.value(now) - linear) + rho * linear
    predicted = (
        predicted
        + np.einsum("pki,ij,pkj->pk", shift, charge.A, shift, optimize=True)
        + 2 * (rho - 1) * (shift @ charge.b)
    )
    residual = np.abs(charge.value(after) - predicted) / np.maximum(charge.size(now), 1e-300)
    return float(residual.max()) if np.isfinite(residual).any() else np.inf


CLAIM = ClaimKind(
    group="pathwise identity",
    statement="C' = (1 − ηλ)²C + η²gᵀAg on every step, C = θᵀAθ, g the step's gradient: largest residual over C's size",
    position=1,
    applies=applies,
    measure=measure,
)
