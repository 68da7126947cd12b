"""Where each charge goes over a run: to its noise equilibrium, away, or nowhere; and the curves that show it."""

from __future__ import annotations

import numpy as np

from sde.verify import claims
from sde.verify.numbers import Charge, Theory
from sde.verify.records import Findings, Margins, Runs, Sample, Setting, doubt
from sde.verify.report import Band, Curves, Entry
from sde.verify.verdicts import unmeasured


def _late(sample: Sample) -> np.ndarray:
    """States of the last tenth of a run."""
    return sample.states[:, sample.time >= 0.9 * sample.time[-1]]


def _share(theory: Theory, setting: Setting, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted mean change of every charge per step over its gross change, averaged over times: two (paths, charges)."""
    paths, times, d = states.shape
    change, size = theory.step_change(states.reshape(-1, d), setting.learning_rate, setting.variance)
    return change.reshape(paths, times, -1).mean(axis=1), size.reshape(paths, times, -1).mean(axis=1)


def fates(
    found: Findings,
    theory: Theory,
    setting: Setting,
    sample: Sample,
    path: np.ndarray,
    descent: Sample | None,
    name: str,
    margins: Margins,
) -> None:
    """Where each charge goes: to its equilibrium, away, or nowhere."""
    late = _late(sample)
    if not len(late):
        gone = "every path exploded: lower the learning rate"
        for c in theory.charges:
            group = {"convergent": "equilibrium", "divergent": "divergence law"}.get(c.kind)
            if group:
                found.claims.append(
                    unmeasured(
                        claims.make(group, f"SGD from {name}, {c.label}", np.nan, np.inf, (0.0, 0.0), 0.0, 0), gone
                    )
                )
        return
    net, gross = _share(theory, setting, late)
    at_start = _ratio(*_share(theory, setting, sample.states[:1, :1]))
    foreseen = (
        _ratio(*_share(theory, setting, path[None, -1:]))
        if np.isfinite(path[-1]).all()
        else np.full(len(theory.charges), np.nan)
    )
    resting = (
        _ratio(*_share(theory, setting, descent.states[:, -1:]))
        if descent is not None and len(descent.states)
        else None
    )
    ends = np.array([c.value(path[-1]) - c.value(path[0]) if c.kind == "convergent" else 0.0 for c in theory.charges])
    way = float(np.abs(ends).max())
    for j, c in enumerate(theory.charges):
        if c.kind == "divergent" and theory.weight_decay == 0:
            claim = claims.divergence(
                c,
                theory,
                sample.time,
                sample.states,
                setting.learning_rate if setting.plain else 0.0,
                setting.temperature * setting.speed,
                name,
                margins.divergence,
            )
            found.claims.append(doubt(claim, sample))
        if c.kind != "convergent":
            continue
        if way > 0.02 * float(c.size(sample.states[0, 0])):
            claim = claims.approach(
                c, c.value(sample.states[:, -1]), float(c.value(path[-1])), way, name, margins.approach
            )
            found.claims.append(doubt(claim, sample))
        entry = claims.equilibrium_entry(c, net[:, j], gross[:, j], name, margins.equilibrium)
        if not abs(foreseen[j]) <= margins.equilibrium / 2:
            entry = unmeasured(
                entry, f"the predicted path is still {foreseen[j]:.3g} away at the end of the run: it needs more time"
            )
        found.claims.append(doubt(entry, sample))
        interval = entry.interval(0.99) if entry.measured else (np.nan, np.nan)
        found.entries.append(
            Entry(
                c.label,
                name,
                float(at_start[j]),
                entry.estimate,
                interval,
                float(resting[j]) if resting is not None else np.nan,
            )
        )
    convergent = [j for j, c in enumerate(theory.charges) if c.kind == "convergent"]
    if convergent and resting is not None and np.abs(at_start[convergent]).max() > 4 * margins.equilibrium:
        worst = np.abs(resting[convergent]).max()
        found.claims.append(
            claims.descent_stays(float(worst), float(np.abs(at_start[convergent]).max()), name, margins.equilibrium)
        )


def _ratio(net: np.ndarray, gross: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return net.mean(axis=0) / gross.mean(axis=0)


def curves(
    found: Findings,
    theory: Theory,
    runs: Runs,
    sample: Sample,
    path: np.ndarray,
    descent: Sample | None,
    sde: Sample | None,
    name: str,
) -> None:
    resting = runs.equilibrium(path[-1]) if np.isfinite(path[-1]).all() else None
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
                float(resting[j])
                if resting is not None and np.isfinite(resting[j]) and c.kind == "convergent"
                else None,
            )
        )


def _band(label: str, charge: Charge, sample: Sample, times: np.ndarray) -> Band:
    """Mean and quantiles over paths at a run's own times, read off at `times` (a display, so nearest earlier save)."""
    at = np.clip(np.searchsorted(sample.time, times, side="right") - 1, 0, None)
    values = charge.value(sample.states[:, at])
    low, high = np.quantile(values, [0.05, 0.95], axis=0)
    return Band(label, values.mean(axis=0), low, high)
