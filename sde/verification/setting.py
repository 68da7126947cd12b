"""What a verification experiment is given, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sde.verification.result import Curves, Entry, Explosions, Untested
from sde.verification.verdicts import Claim, unmeasured

TOLERATED = 1e-3
"""Share of exploded paths beyond which what is left is too biased to decide anything."""


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


@dataclass(frozen=True)
class Sample:
    """States of one run: (paths, times, D) at times (times,), exploded paths dropped and counted; first: time of the
    first of them."""

    states: np.ndarray
    time: np.ndarray
    exploded: int
    total: int
    first: float | None


@dataclass(frozen=True)
class Setting:
    """The optimiser as numbers. factor: the schedule's multiplier at times; population factor f is in temperature and
    variance.

    temperature: f eta/S; variance: f/S, of a minibatch gradient per Sigma; plain: no momentum, so step identities
    apply.
    """

    learning_rate: float
    temperature: float
    variance: float
    weight_decay: float
    speed: float
    plain: bool
    factor: Callable[[np.ndarray], np.ndarray]


class Memory(Protocol):
    """What was computed before an interruption."""

    def load(self) -> dict[str, np.ndarray]: ...
    def save(self, state: dict[str, np.ndarray]) -> object: ...


@dataclass(frozen=True)
class Simulators:
    """How to run things.

    sgd(theta, save steps, number of the start or -1), gd(theta, save steps, learning rate over the setting's),
    sde(theta, times, number of the start). one_sgd and one_sde(states (n, D), seed[, dt]) take a single step from each
    state, without schedule; the SDE's are None when Sigma has no form to run with. equilibrium(theta): the charges at
    the joint equilibrium of its orbit. memory(name, arrays that decide what is kept there): None where nothing is kept.
    """

    sgd: Callable[[np.ndarray, np.ndarray, int], Sample]
    gd: Callable[[np.ndarray, np.ndarray, float], Sample] | None
    sde: Callable[[np.ndarray, np.ndarray, int], Sample] | None
    one_sgd: Callable[[np.ndarray, int], np.ndarray]
    one_sde: Callable[[np.ndarray, int, float], np.ndarray] | None
    equilibrium: Callable[[np.ndarray], np.ndarray | None]
    memory: Callable[[str, tuple[np.ndarray, ...]], Memory | None] = lambda name, arrays: None


@dataclass
class Findings:
    """Claims and what the report draws. reached: stages that are complete; interrupted: Ctrl-C came before all were."""

    claims: list[Claim] = field(default_factory=list)
    curves: list[Curves] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    explosions: list[Explosions] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    untested: list[Untested] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)
    interrupted: bool = False


def undecided_if_exploded(claim: Claim, sample: Sample) -> Claim:
    """The claim, or an undecided one when too many of the run's paths exploded."""
    if sample.exploded > TOLERATED * sample.total:
        return unmeasured(
            claim,
            f"{sample.exploded} of {sample.total} paths exploded: what is left is biased. Lower the learning rate",
        )
    return claim
