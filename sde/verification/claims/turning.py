"""Where the theory predicts that SGD never rests, it turns at the predicted speed: claimed once the forecast has
arrived at the relative equilibrium (docs/theory.md eq. (5.7))."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from sde.verification.claim_kind import SMALLER, Case, ClaimKind, standard_error, undecided_if_exploded
from sde.verification.experiment import Experiment
from sde.verification.runs import Evidence, Kind, Run
from sde.verification.theory_numbers import Theory
from sde.verification.valley_motion import End
from sde.verification.verdicts import Claim, Untested, more_time

NEWTON = 20
"""Steps of Newton's method for an angle."""
VISIBLE = 0.05
"""Share of their size that charges must move by for one radian, to be the clock."""


def applies(experiment: Experiment) -> Iterator[Case]:
    """From every start for which turning is predicted; each by itself, as starts may turn in opposite directions. Where
    it is not known whether SGD turns, that is said."""
    for k, why in experiment.unsettled.items():
        yield Case(
            runs=(),
            subjects=(f"SGD from {experiment.names[k]}",),
            start=k,
            reason=f"whether it turns is not known: {why}",
            needs="another start",
        )
    for k in experiment.turning:
        reason, needs = experiment.lacks(k) or ("", "")
        subject = f"SGD from {experiment.names[k]}"
        yield Case(runs=(Run(Kind.SGD, k),), subjects=(subject,), start=k, reason=reason, needs=needs)


def measure(case: Case, evidence: Evidence) -> Iterator[Claim | Untested]:
    """The angle that theta turns by over the second half of the run, by the predicted rotation's own clock."""
    given, sample, (subject,) = evidence.experiment, evidence.sample(Kind.SGD, case.start), case.subjects
    end = given.ends[case.start]
    if end is None or not len(sample.states):
        yield CLAIM.untested(subject, "every path exploded", SMALLER)
        return
    late = np.flatnonzero(sample.time >= sample.time[-1] / 2)
    passed, margin = sample.time[-1] - sample.time[late[0]], given.margins.approach
    seen, clock = clock_of(given.theory, end)
    ahead, middle = given.forecasts[case.start].expected(seen, late)[None], len(late) // 2
    earlier, later = (
        float(turned(ahead[:, part], clock, time)[0]) / (time[-1] - time[0])
        for part, time in ((part, sample.time[late[part]]) for part in (slice(middle + 1), slice(middle, None)))
    )
    settling = abs(later / earlier - 1)
    if not settling <= margin / 2:
        further = 4 * np.log(2 * settling / margin) / end.rate if end.rate else np.inf  # quarters begin at a half
        until = float(sample.time[-1] + further)
        needs = more_time(until) if np.isfinite(until) else "more time: how much, the forecast does not tell"
        yield CLAIM.untested(subject, "by the forecast the run ends before it turns steadily", needs)
        return
    ratio = turned(seen(sample.states[:, late]), clock, sample.time[late]) / passed
    note = f"predicted: {2 * np.pi / end.period:.4g} per unit time, once in {end.period:.4g}"
    claim = CLAIM.claim(
        subject, float(ratio.mean()), standard_error(ratio), (1 - margin, 1 + margin), 1.0, len(ratio), note
    )
    yield undecided_if_exploded(claim, sample)


def clock_of(theory: Theory, end: End) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """What turns, states (..., D) -> (..., n), and the antisymmetric matrix (n, n) by which: the charges, which have no
    fast fluctuations, where the rotation moves them; else theta itself."""
    linear = [c.A for c in theory.charges if not c.b.any()]
    if linear:
        flat = np.array([a.ravel() for a in linear])
        sizes, axes = np.linalg.eigh(flat @ flat.T)
        white = (axes[:, sizes > 1e-10 * sizes[-1]] / np.sqrt(sizes[sizes > 1e-10 * sizes[-1]])).T
        forms = (white @ flat).reshape(-1, *end.rotation.shape)
        turns = forms @ end.rotation - end.rotation @ forms
        clock = turns.reshape(len(forms), -1) @ forms.reshape(len(forms), -1).T
        there = np.einsum("i,kij,j->k", end.theta, forms, end.theta)
        if np.linalg.norm(clock @ there) > VISIBLE * np.linalg.norm(clock, 2) * np.linalg.norm(there) > 0:
            return partial(_forms, forms), (clock - clock.T) / 2
    return np.asarray, end.rotation


def _forms(forms: np.ndarray, states: np.ndarray) -> np.ndarray:
    """theta^T M theta (..., k) for each of the forms M (k, D, D), of states (..., D)."""
    return np.einsum("...i,kij,...j->...k", states, forms, states, optimize=True)


def turned(states: np.ndarray, rotation: np.ndarray, times: np.ndarray) -> np.ndarray:
    """For how long e^{t Omega} would take to turn states (paths, times, D) as far as they have turned, (paths,).

    Between two times it is the s at which <theta', e^{s Omega} theta> is largest, by Newton's method from the time that
    has passed; what is not turned by Omega does not count.
    """
    frequencies, axes = np.linalg.eigh(1j * rotation)  # e^{s Omega} = sum e^{-iws} z z^H
    phases, top = states @ axes.conj(), float(np.abs(frequencies).max())
    total = np.zeros(len(states))
    for k in range(len(times) - 1):
        overlap = phases[:, k + 1].conj() * phases[:, k]
        s: np.ndarray = np.zeros(len(states)) + (times[k + 1] - times[k])
        for _ in range(NEWTON):
            shifted = overlap * np.exp(-1j * s[:, None] * frequencies)
            slope = np.sum(np.imag(shifted) * frequencies, axis=1)
            bend = np.maximum(np.sum(np.real(shifted) * frequencies**2, axis=1), 1e-300)
            s = s + np.clip(slope / bend, -1 / top, 1 / top)
        total = total + s
    return total


CLAIM = ClaimKind(
    group="turning",
    statement="angular velocity at the end, measured over predicted",
    position=9,
    applies=applies,
    measure=measure,
)
