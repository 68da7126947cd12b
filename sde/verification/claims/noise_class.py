"""The class of a charge, from where SGD's own steps put their energy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind, standard_error
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, from_every_start
from sde.verification.theory_numbers import Charge
from sde.verification.verdicts import Claim, Untested


def applies(experiment: Experiment) -> Iterator[Case]:
    """To SGD without momentum, for charges whose class is decided."""
    charges = experiment.theory.charges
    decided = tuple(j for j, c in enumerate(charges) if c.kind)
    if experiment.setting.plain and decided:
        subjects = tuple(f"{charges[j].label} is {charges[j].kind}" for j in decided)
        yield Case(runs=from_every_start(experiment, Kind.SGD), subjects=subjects, charges=decided)


def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested]:
    """The step taken is g. The statistic is the share of g^T |A| g that lies in A's eigenspaces of the sign with less
    of it: positive for a convergent charge, 0 for a divergent one; for a frozen one it is the size of g^T |A| g over
    |g|^2."""
    given, pool = evidence.experiment, evidence.pool
    rho = (1 - given.step_lengths(given.pairs) * given.theory.weight_decay)[None, :, None]
    g, n = rho * pool[:, given.before] - pool[:, given.after], len(pool)
    for subject, j in case.pairs:
        if not n:
            yield CLAIM.untested(subject, "every path exploded", SMALLER)
            continue
        kind, (up, down) = given.theory.charges[j].kind, energies(given.theory.charges[j], g)
        total = up + down
        if kind == "frozen":
            share = float(total.sum() / max((g**2).sum(), 1e-300))
            yield CLAIM.claim(subject, share, 0.0, (0.0, 1e-12), 0.0, n)
            continue
        if not total.sum() > 0:
            yield CLAIM.untested(subject, "no step moves", "another start")
            continue
        share = float(down.sum() / total.sum())
        if kind == "divergent":
            yield CLAIM.claim(subject, min(share, 1 - share), 0.0, (0.0, 1e-12), 0.0, n)
            continue
        error = standard_error(down - share * total) / float(total.mean())
        yield CLAIM.claim(subject, min(share, 1 - share), error, (1e-3, 1 - 1e-3), 0.5, n)


def energies(charge: Charge, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of steps g (paths, steps, D) in A's eigenspaces of either sign, summed over steps: two arrays (paths,)."""
    values, vectors = np.linalg.eigh(charge.A)
    energy = (g @ vectors) ** 2
    up = (energy[..., values > 1e-12] @ values[values > 1e-12]).sum(axis=1)
    return up, -(energy[..., values < -1e-12] @ values[values < -1e-12]).sum(axis=1)


CLAIM = ClaimKind(
    group="class",
    statement="share of the noise in eigenspaces of the generator's minority sign: inside (0, 1) if convergent, 0 if"
    " divergent or frozen",
    position=3,
    applies=applies,
    measure=measure,
)
