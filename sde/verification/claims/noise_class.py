"""The class of a charge, from where the noise of SGD's own steps lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, Run, from_every_start
from sde.verification.sampling_error import enough, lacking, skewness_of_sum
from sde.verification.step_noise import StepNoise
from sde.verification.theory_numbers import Charge
from sde.verification.verdicts import Claim, Untested, unmeasured

NONE = 1e-12
"""Share of the noise that counts as none; states count where rounding makes less."""
LOUD = 1e-6
"""Share of the noise that rounding may make at states where its two sides are compared."""
SILENT = "SGD's steps from there have no noise that is more than rounding"


def applies(experiment: Experiment) -> Iterator[Case]:
    """To SGD without momentum, for charges whose class is decided."""
    charges = experiment.theory.charges
    decided = tuple(j for j, c in enumerate(charges) if c.kind)
    if experiment.setting.plain and decided:
        subjects = tuple(f"{charges[j].label} is {charges[j].kind}" for j in decided)
        runs = (*from_every_start(experiment, Kind.SGD), Run(Kind.NOISE_SGD))
        yield Case(runs=runs, subjects=subjects, charges=decided)


def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested]:
    """n is the noise of a step. The statistic is the share of n^T |A| n, averaged over states, in A's eigenspaces of
    the sign with less of it: positive for a convergent charge, whatever the factor between the two, 0 for a divergent
    one; for a frozen one it is n^T |A| n over |n|^2."""
    given, found = evidence.experiment, evidence.step_noise
    for subject, j in case.pairs:
        charge = given.theory.charges[j]
        if not len(found.states) or not len(evidence.pool):
            yield CLAIM.untested(subject, "every path exploded", SMALLER)
        elif charge.kind == "convergent":
            yield _on_both_sides(given, charge, found, subject)
        else:
            yield _on_one_side_at_most(given, charge, found, subject)


def _on_one_side_at_most(given: Experiment, charge: Charge, found: StepNoise, subject: str) -> Claim | Untested:
    """Of a divergent charge and a frozen one, at states where rounding could not pass for noise."""
    less, more = sides(charge, found)
    part, floor, whole = less.energy.mean(axis=1), less.floor, (less.energy + more.energy).mean(axis=1)
    if charge.kind == "frozen":
        part, floor, whole = whole, less.floor + more.floor, (found.noise**2).sum(axis=2).mean(axis=1)
    counted = (whole > 0) & (floor <= NONE * whole)
    if not counted.any():
        return CLAIM.untested(subject, SILENT, _noise_needed(given))
    share = float((part[counted] / whole[counted]).mean())
    steps, note = _steps(found, counted)
    claim = CLAIM.claim(subject, share, 0.0, (0.0, NONE), 0.0, steps, note)
    rare = lacking(steps, 0, given.setting.seen, "steps") if share <= NONE else ""
    return unmeasured(claim, rare, "a larger batch") if rare else claim


def _on_both_sides(given: Experiment, charge: Charge, found: StepNoise, subject: str) -> Claim | Untested:
    """Of a convergent charge: more than rounding makes, on the side with less. Where the theory expects no more than
    that there, its absence says nothing."""
    less, more = sides(charge, found)
    energy = less.energy + more.energy
    whole = energy.mean(axis=1)
    counted = less.floor + more.floor < LOUD * whole
    if not counted.any():
        return CLAIM.untested(subject, SILENT, _noise_needed(given))
    setting, unit = given.setting, whole[counted]
    part, energy = less.energy[counted] / unit[:, None], energy[counted] / unit[:, None]
    trace, _ = given.theory.noise(found.states[counted], [less.matrix])
    share, low = part.mean(axis=1), float((less.floor[counted] / unit).mean())
    predicted = float((setting.learning_rate**2 * setting.variance * trace[:, 0] / unit).mean())
    if max(float(share.mean()), predicted) <= low:
        reason = "the noise on one side is no more than rounding"
        return CLAIM.untested(subject, reason, "another start, nearer to balance")
    n, each = len(share), found.after.shape[1]
    miss: np.ndarray = part - share[:, None] * energy
    variance, third = np.var(miss, axis=1) / (each - 1), np.asarray((miss**3).mean(axis=1)) / each**2
    error, (steps, note) = float(np.sqrt(variance.sum())) / n, _steps(found, counted)
    least = enough(steps, skewness_of_sum(np.full(n, 1.0), variance, third))
    note = "; ".join(filter(None, (note, lacking(steps, least, 0, "steps"))))
    return CLAIM.claim(
        subject, float(share.mean()), error, (low, 1 - low), 0.5, steps, note, unit="single steps", least=least
    )


@dataclass(frozen=True)
class Side:
    """Of A's eigenvalues of one sign. matrix: |A| on their eigenspaces, (D, D); energy: n^T matrix n of every step,
    (n, each); floor: what rounding makes of it at each state, (n,)."""

    matrix: np.ndarray
    energy: np.ndarray
    floor: np.ndarray


def sides(charge: Charge, found: StepNoise) -> tuple[Side, Side]:
    """That with less noise, and the other one."""
    values, vectors = np.linalg.eigh(charge.A)
    least, out = NONE * float(np.abs(values).max(initial=0.0)), list[Side]()
    for of in (values < -least, values > least):
        size, axes = np.abs(values[of]), vectors[:, of]
        energy, floor = ((found.noise @ axes) ** 2) @ size, ((found.rounding @ np.abs(axes)) ** 2) @ size
        out.append(Side((axes * size) @ axes.T, energy, floor))
    down, up = out
    return (down, up) if down.energy.sum() < up.energy.sum() else (up, down)


def _steps(found: StepNoise, counted: np.ndarray) -> tuple[int, str]:
    """How many count, and where they are from."""
    n, each = int(counted.sum()), found.after.shape[1]
    return n * each, f"at {n} states, {each} steps from each"


def _noise_needed(given: Experiment) -> str:
    return "data that differ, or another start" if given.setting.variance else "a batch smaller than the data"


CLAIM = ClaimKind(
    group="class",
    statement="share of the noise in eigenspaces of the generator's minority sign: inside (0, 1) if convergent, 0 if"
    " divergent or frozen",
    position=3,
    applies=applies,
    measure=measure,
)
