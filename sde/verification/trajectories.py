"""Where each charge goes over a run: to its noise equilibrium, away, or nowhere; and the curves that show it."""

from __future__ import annotations

import numpy as np

from sde.verification import claims
from sde.verification.result import Band, Curves, Entry
from sde.verification.setting import Findings, Margins, Sample, Setting, Simulators, undecided_if_exploded
from sde.verification.theory_numbers import Charge, Theory
from sde.verification.untested import untested
from sde.verification.verdicts import unmeasured


def _share(theory: Theory, setting: Setting, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted mean change of every charge per step over its gross change, averaged over times: two (paths,
    charges)."""
    paths, times, d = states.shape
    change, size = theory.step_change(states.reshape(-1, d), setting.learning_rate, setting.variance)
    return change.reshape(paths, times, -1).mean(axis=1), size.reshape(paths, times, -1).mean(axis=1)


def trajectories(
    found: Findings,
    theory: Theory,
    setting: Setting,
    sample: Sample,
    path: np.ndarray,
    sde: Sample,
    descent: Sample | None,
    name: str,
    margins: Margins,
) -> None:
    """Where each charge goes: to its equilibrium, away, or nowhere. path: the mean-field forecast (times, D)."""
    grows = setting.plain and theory.weight_decay == 0
    divergent = [c for c in theory.charges if c.kind == "divergent"] if grows else []
    convergent = [j for j, c in enumerate(theory.charges) if c.kind == "convergent"]
    if not len(sample.states):
        unreached = [("divergence law", c) for c in divergent] + [
            ("equilibrium", theory.charges[j]) for j in convergent
        ]
        for group, c in unreached:
            claim = claims.make(group, f"SGD from {name}, {c.label}", np.nan, np.inf, (0.0, 0.0), 0.0, 0)
            found.claims.append(unmeasured(claim, "every path exploded: lower the learning rate"))
        return
    for c in divergent:
        claim = claims.divergence(
            c,
            theory,
            sample.time,
            sample.states,
            setting.factor(sample.time),
            setting.learning_rate,
            setting.temperature,
            name,
            margins.divergence,
        )
        found.claims.append(undecided_if_exploded(claim, sample))
    if convergent and len(sde.states):
        _meet(found, theory, sample, sde, name, margins, convergent)
    if convergent and np.isfinite(path).all():
        _settle(found, theory, setting, sample, path, descent, name, margins, convergent)


def _meet(
    found: Findings, theory: Theory, sample: Sample, sde: Sample, name: str, margins: Margins, which: list[int]
) -> None:
    """SGD and the SDE end alike, however far they have come."""
    last = [(theory.charges[j], sample.states[:, -1], sde.states[:, -1]) for j in which]
    way = max(abs(float(c.value(b).mean() - c.value(sde.states[0, 0]))) for c, _, b in last)
    if way > 0.02 * max(float(c.size(sde.states[0, 0])) for c, _, _ in last):
        for c, a, b in last:
            claim = claims.approach(c, c.value(a), c.value(b), way, name, margins.approach)
            found.claims.append(undecided_if_exploded(undecided_if_exploded(claim, sample), sde))


def _settle(
    found: Findings,
    theory: Theory,
    setting: Setting,
    sample: Sample,
    path: np.ndarray,
    descent: Sample | None,
    name: str,
    margins: Margins,
    which: list[int],
) -> None:
    """SGD ends at the noise equilibrium and gradient descent does not: claimed once the forecast has arrived there."""
    late = sample.time >= 0.9 * sample.time[-1]
    net, gross = _share(theory, setting, sample.states[:, late])
    at_start = _ratio(*_share(theory, setting, path[None, :1]))
    foreseen = _ratio(*_share(theory, setting, path[None, late]))
    resting = np.full(len(theory.charges), np.nan)
    if descent is not None and len(descent.states):
        resting = _ratio(*_share(theory, setting, descent.states[:, -1:]))
    distance = float(np.abs(foreseen[which]).max())
    arrived = distance <= margins.equilibrium / 2
    if not arrived:
        found.notes.append(
            f"By the mean-field forecast the run from {name} ends before the noise equilibrium (largest net over gross"
            f" noise {distance:.2g}), so no equilibrium is claimed there: it needs more time."
        )
    for j in which:
        entry = claims.equilibrium_entry(theory.charges[j], net[:, j], gross[:, j], name, margins.equilibrium)
        entry = undecided_if_exploded(entry, sample)
        if arrived:
            found.claims.append(entry)
        else:
            found.untested.append(
                untested(
                    entry.group,
                    entry.subject,
                    "by the forecast the run ends before the noise equilibrium: it needs more time",
                )
            )
        interval = entry.interval(0.99) if entry.measured else (np.nan, np.nan)
        label = theory.charges[j].label
        found.entries.append(Entry(label, name, float(at_start[j]), entry.estimate, interval, float(resting[j])))
    began = float(np.abs(at_start[which]).max())
    if arrived and began > 4 * margins.equilibrium and np.isfinite(resting[which]).all():
        rest = float(np.abs(resting[which]).max())
        found.claims.append(claims.descent_stays(rest, began, name, margins.equilibrium))


def _ratio(net: np.ndarray, gross: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return net.mean(axis=0) / gross.mean(axis=0)


def curves(
    found: Findings,
    theory: Theory,
    simulators: Simulators,
    sample: Sample,
    path: np.ndarray,
    descent: Sample | None,
    sde: Sample | None,
    name: str,
) -> None:
    """Add every charge's curves from one start to `found`: the theory's, SGD's, the SDE's, gradient descent's."""
    resting = simulators.equilibrium(path[-1]) if np.isfinite(path[-1]).all() else None
    for j, c in enumerate(theory.charges):
        bands = ([_band("SGD", c, sample, sample.time)] if len(sample.states) else []) + (
            [_band("SDE", c, sde, sample.time)] if sde is not None and len(sde.states) else []
        )
        found.curves.append(
            Curves(
                c.label,
                name,
                sample.time,
                c.value(path) if np.isfinite(path).all() else None,
                tuple(bands),
                c.value(descent.states[0]) if descent is not None and len(descent.states) else None,
                (
                    float(resting[j])
                    if resting is not None and np.isfinite(resting[j]) and c.kind == "convergent"
                    else None
                ),
            )
        )


def _band(label: str, charge: Charge, sample: Sample, times: np.ndarray) -> Band:
    """Mean and quantiles over paths at a run's own times, read off at `times` (a display, so nearest earlier save)."""
    at = np.clip(np.searchsorted(sample.time, times, side="right") - 1, 0, None)
    values = charge.value(sample.states[:, at])
    low, high = np.quantile(values, [0.05, 0.95], axis=0)
    return Band(label, values.mean(axis=0), low, high)
