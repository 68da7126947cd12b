"""A theory's motion in the valley of minima, and its matrices of charges, as numbers for a verification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sde.verification.theory_numbers import MatrixCharge
from sde.verification.valley_motion import End, ValleyMotion
from symbolic.algebra.field_span import FieldSpan
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory

LARGEST = 64
"""D up to which turning is forecast."""


def motion(theory: Theory, sgd: SGD) -> ValleyMotion | None:
    """Generators beside the charges' and where they lead; None without them, where Sigma has no closed form, or above
    D = 64."""
    algebra, loss = theory.algebra, theory.loss
    if algebra.dimension == algebra.symmetric or not theory.noise.exact:
        return None
    if loss.dimension > LARGEST:
        return None
    further = FieldSpan(algebra.symmetric_fields).extended([*algebra.antisymmetric_fields, *algebra.fields])
    pairs = [x.arrays() for x in further]

    def end(theta: np.ndarray) -> tuple[End | None, str]:
        if not np.isfinite(theta).all():
            return None, ""
        found = theory.equilibrium(loss.unpack(theta), replace(sgd, schedule=None))
        at = found.finite_step or found.relative
        if at is None or not at.converged:
            return None, at.reason if at is not None and at.given_up else ""
        limit = at.theta if found.relative is None else found.relative.theta
        return End(at.theta, at.rotation, float(next((r for r in at.rates if r > 0), 0.0)), limit), ""

    return ValleyMotion(np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]), end)


def matrices(theory: Theory) -> tuple[MatrixCharge, ...]:
    """Families of charges that are symmetric matrices, in terms of the charges."""
    points = np.random.default_rng(5).standard_normal((2 * len(theory.charges) + 1, theory.loss.dimension))
    values = np.array([[c.value(theta) for c in theory.charges] for theta in points])
    found: list[MatrixCharge] = []
    for family in theory.families:
        if family.symmetric:
            entries = np.array([family.at(theta) for theta in points])
            n = entries.shape[1]
            weights = np.linalg.lstsq(values, entries.reshape(len(points), -1), rcond=None)[0]
            found.append(MatrixCharge(family.text, weights.T.reshape(n, n, -1)))
    return tuple(found)
