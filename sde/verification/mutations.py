"""Wrong theories, which a verification must refuse: each a function of the true theory's numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from sde.verification.setting import Setting
from sde.verification.theory_numbers import Charge, Theory

SHIFT = 0.05
"""How far along its orbit the noise equilibrium is moved: the parameters there are wrong by this share."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One way to be wrong. statement: what is wrong, for people; drift: the margin of the mean drift that it is judged
    at, None for that of the verification."""

    name: str
    statement: str
    wrong: Callable[[Theory, Setting], Theory]
    drift: float | None = None


def scaled(theory: Theory, factor: float) -> Theory:
    """Sigma, and with it the drift T Tr[Sigma A] of every charge, times a factor."""

    def moments(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, root = theory.moments(theta)
        return mean, root * np.sqrt(factor)

    return replace(theory, moments=moments)


def flipped(theory: Theory, setting: Setting) -> Theory:
    """The largest entry of the first charge's A has the other sign (A altogether negated would be as good a charge)."""
    if not theory.charges:
        return theory
    a = theory.charges[0].A.copy()
    i, j = np.unravel_index(int(np.argmax(np.abs(a))), a.shape)
    a[i, j] = a[j, i] = -a[i, j]
    return _first(theory, a)


def foreign(theory: Theory, setting: Setting) -> Theory:
    """The first charge is u^2 - 2 w^2 of the first two parameters: that of a loss of u^2 w."""
    if not theory.charges:
        return theory
    a = np.zeros_like(theory.charges[0].A)
    a[:2, :2] = np.diag([1.0, -2.0][: len(a)])
    return _first(theory, a)


def _first(theory: Theory, a: np.ndarray) -> Theory:
    """With another A of the first charge."""
    charge: Charge = replace(theory.charges[0], A=a)
    return replace(theory, charges=(charge, *theory.charges[1:]))


def uncentred(theory: Theory, setting: Setting) -> Theory:
    """Sigma is E[g g^T]: the mean gradient is not taken off."""

    def moments(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, root = theory.moments(theta)
        return mean, np.concatenate([root, mean[:, :, None]], axis=2)

    return replace(theory, moments=moments)


def one_sample(theory: Theory, setting: Setting) -> Theory:
    """The temperature is eta, not eta/S."""
    return scaled(theory, 1 / setting.variance)


def without_decay(theory: Theory, setting: Setting) -> Theory:
    """No weight decay."""
    return replace(theory, weight_decay=0.0)


def moved_rest(theory: Theory, setting: Setting) -> Theory:
    """The first convergent charge rests where exp(SHIFT A) has moved its equilibrium, |A| = 1.

    Sigma(e^A theta) = e^-A Sigma(theta) e^-A on an orbit (docs/theory.md eq. (4.1)), so Sigma moved along it is
    e^A Sigma e^A.
    """
    convergent = [c.A for c in theory.charges if c.kind == "convergent"]
    if not convergent:
        return theory
    linalg: Any = import_module("scipy.linalg")  # slow to load
    moved = linalg.expm(SHIFT * convergent[0] / np.linalg.norm(convergent[0], 2))

    def moments(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, root = theory.moments(theta)
        return mean, moved @ root

    return replace(theory, moments=moments)


def without_rotation(theory: Theory, setting: Setting) -> Theory:
    """Only the charges' generators move theta, and no fluctuations turn it: it comes to rest where all their drifts
    vanish."""
    return replace(theory, motion=None, fluctuating=False)


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(name="drift x 0.9", statement="drift times 0.9", wrong=lambda theory, setting: scaled(theory, 0.9)),
    Mutation(name="drift x 1.1", statement="drift times 1.1", wrong=lambda theory, setting: scaled(theory, 1.1)),
    Mutation(
        name="drift x 1.05",
        statement="drift times 1.05, at a margin of 2 %",
        wrong=lambda theory, setting: scaled(theory, 1.05),
        drift=0.02,
    ),
    Mutation(name="A's sign", statement="an entry of A with the other sign", wrong=flipped),
    Mutation(name="another A", statement="A of another loss", wrong=foreign),
    Mutation(name="uncentred Sigma", statement="Sigma with the mean gradient in it", wrong=uncentred),
    Mutation(name="eta for eta/S", statement="temperature eta instead of eta/S", wrong=one_sample),
    Mutation(name="no decay", statement="weight decay left out", wrong=without_decay),
    Mutation(name="lambda* off", statement="noise equilibrium 5 % off along its orbit", wrong=moved_rest),
    Mutation(name="no rotation", statement="rotation by noise left out", wrong=without_rotation),
)
"""In the order of a calibration's table."""
