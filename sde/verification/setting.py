"""What a verification is asked: margins, and the optimiser as numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Margins:
    """How far from the theory's value a measured number may lie and still count as agreement.

    Parameters
    ----------
    drift
        Of mean drifts and orders, relative.
    approach
        Of where SGD ends against its SDE, relative.
    equilibrium
        Of the equilibrium condition, as a share of the noise that enters it.
    divergence
        Of the divergence law, relative.
    """

    drift: float = 0.05
    approach: float = 0.15
    equilibrium: float = 0.05
    divergence: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The optimiser as numbers. factor: the schedule's multiplier at times; population factor f is in temperature and
    variance.

    temperature: f eta/S; variance: f/S, of a minibatch gradient per Sigma; plain: no momentum, so step identities
    apply. closed: whether Sigma has a form to run the SDE with, and the mean gradient one for gradient descent. seen:
    steps of SGD from which on samples tell of the data's rarest values.
    """

    learning_rate: float
    temperature: float
    variance: float
    weight_decay: float
    speed: float
    plain: bool
    closed: bool
    factor: Callable[[np.ndarray], np.ndarray]
    seen: int = 0
