"""What a watched training must show, as claims that can be refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sde.networks.records import Records, kinds_of
from sde.networks.slope_claim import SlopeClaim
from sde.verification.claim_kind import ClaimKind
from sde.verification.verdicts import Claim, Untested

LEAST = 8
"""Windows behind an error that is believed."""
SLOPE = (0.95, 1.05)
ONE_SIGN = 1e-6
"""Share of the noise on one sign of A below which there is none."""
NEAR = 1e-3
"""Distance from equilibrium along the orbit, below which nothing has to approach it."""


def _kind(group: str, statement: str) -> ClaimKind:
    """A kind whose claims are made here, of a monitor's records: no runs are asked for."""
    return ClaimKind(applies=lambda _: (), measure=lambda *_: (), group=group, statement=statement)


IDENTITY = _kind(
    "identity", "largest difference of a charge from what the optimiser's steps make of it exactly, over its scale"
)
DRIFT = _kind(
    "drift",
    "slope of the measured change of charges on the predicted one, window by window, no constant fitted; what gradients"
    " make that a forecast has seen is taken off both",
)
CLASS = _kind("class", "share of charges whose noise has the signs that the theory gives it")
APPROACH = _kind("approach", "change, a window, of the mean distance to equilibrium along the orbit")
STILL = 1e-15
"""Predicted change, of a charge's size, that is rounding."""
PROBE = (
    "noise is that of the probe's {rows} rows: where the loop draws others too, what these differ by, of order"
    " {share:.1%}, is in no error"
)
TINY = 1e-300
NO_NOISE = "no noise was measured"
MOVED = "charges that noise moves, or weight decay"
FORECAST = "gradients that come to the step as they were made, one learning rate and momentum for tensors of a charge"
LONGER = "a larger every=, or a probe="
MORE = "more windows: train longer, or a smaller every="


def claims_of(
    records: Records, kinds: Sequence[str], noises: Sequence[str], rows: int = 0
) -> Iterator[Claim | Untested]:
    """Of every kind of charge; kinds, noises: of each charge; rows: of a probe that the loop may draw others than."""
    for kind, at in kinds_of(kinds):
        subject = f"{kind}, {len(at)} charge{'s' * (len(at) != 1)}"
        yield _identity(records, at, subject, len(kinds))
        yield _drift(records, at, subject, len(kinds), PROBE.format(rows=rows, share=rows**-0.5) if rows else "")
        yield _class(records, at, subject, noises)
        yield _approach(records, at, subject, len(kinds))


def _identity(records: Records, at: np.ndarray, subject: str, charges: int) -> Claim | Untested:
    """By the charge and window that is worst against its own rounding."""
    found, rounding = (records.field(name, charges)[1:, at] for name in ("residual", "rounding"))
    good = np.isfinite(found) & np.isfinite(rounding)
    if not good.any():
        reason = "no identity is known for this optimiser, or none could be followed"
        return IDENTITY.untested(subject, reason, "SGD, with one learning rate for tensors that are coupled")
    allowed = _allowed(records, rounding)
    with np.errstate(invalid="ignore", divide="ignore"):
        worst = np.unravel_index(
            np.argmax(np.where(good, np.abs(found) / np.maximum(allowed, TINY), -1.0)), found.shape
        )
    margin = (0.0, float(allowed[worst]))
    windows = int(good.any(1).sum())
    return IDENTITY.claim(subject, float(np.abs(found[worst])), 0.0, margin, 0.0, windows, unit="windows")


def _allowed(records: Records, rounding: np.ndarray) -> np.ndarray:
    """What rounding of all its steps may add up to in a window: docs/theory.md eq. (11.10)."""
    return 8 * np.nan_to_num(rounding) * np.sqrt(np.diff(records.steps))[:, None]


def _drift(records: Records, at: np.ndarray, subject: str, charges: int, note: str) -> Claim | Untested:
    """By the window before as instrument: noise in a prediction is noise in what it is compared with, and would pull
    the slope to 0. What gradients make that were seen is exact, and would pull it to 1."""
    known = np.nan_to_num(records.field("known", charges)[1:, at])
    whole, measured = (records.field(name, charges)[1:, at] for name in ("predicted", "measured"))
    predicted, measured = whole - known, measured - known
    size, reach, blur = (records.field(name, charges)[1:, at] for name in ("scale", "reach", "blur"))
    scale, steps = size + np.nan_to_num(reach), np.diff(records.steps)[:, None]
    made_of_rounding = size <= np.sqrt(np.cumsum(np.nan_to_num(blur) ** 2 * steps, axis=0))
    good = np.isfinite(predicted) & np.isfinite(measured) & (scale > 0)
    if good.any() and not (good & ~made_of_rounding).any():
        return DRIFT.untested(subject, "they are 0, but for rounding", "charges that are not 0")
    good &= ~made_of_rounding
    told, x, y = (np.where(good, v, 0.0) / np.where(scale > 0, scale, 1.0) for v in (predicted, predicted, measured))
    top, bottom = (told[:-1] * y[1:]).sum(1), (told[:-1] * x[1:]).sum(1)
    kept = good[:-1].any(1) & good[1:].any(1)
    top, bottom = top[kept], bottom[kept]
    n = len(top)
    if n and np.abs(x).max() <= STILL:
        if np.max(np.diff(records.steps)) == 1 and np.any(good & (np.abs(whole) > STILL * scale)):
            return DRIFT.untested(subject, "every window is the one step whose gradient its forecast is of", LONGER)
        return DRIFT.untested(subject, "noise and decay leave them where they are: no drift is predicted", MOVED)
    if n < LEAST:
        if not good.any() and np.isfinite(records.field("noise", charges)[:, at]).any():
            return DRIFT.untested(subject, "noise was measured, and no forecast of it was made", FORECAST)
        return DRIFT.untested(subject, NO_NOISE if not n else f"{n} windows are too few", MORE)
    return SlopeClaim.of(top, bottom, DRIFT.claim(subject, 1.0, np.inf, SLOPE, 1.0, n, note, unit="windows"))


def _class(records: Records, at: np.ndarray, subject: str, noises: Sequence[str]) -> Claim | Untested:
    noise, size = (records.field(name, len(noises))[:, at] for name in ("noise", "noise_size"))
    rows = np.isfinite(noise).any(1)
    if not rows.any():
        return CLASS.untested(subject, NO_NOISE, MORE)
    net, whole = np.nansum(noise[rows], axis=0), np.nansum(size[rows], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        weak = np.minimum(whole + net, whole - net) / (2 * whole)
    moved = whole > 1e-12 * max(float(np.max(whole, initial=0.0)), 1e-300)
    seen = np.where(~moved, "frozen", np.where(weak > ONE_SIGN, "convergent", "divergent"))
    dead = ~moved & np.array([noises[i] != "frozen" for i in at])
    if dead.all():
        return CLASS.untested(subject, "no noise reached any of its tensors", "data that moves them")
    right = np.array([s == noises[i] for s, i in zip(seen, at, strict=True)])[~dead]
    note = f"{int(dead.sum())} charges whose tensors no noise reached are left out" if dead.any() else ""
    return CLASS.claim(subject, float(right.mean()), 0.0, (1.0, 1.0), 1.0, int(rows.sum()), note, unit="windows")


def _approach(records: Records, at: np.ndarray, subject: str, charges: int) -> Claim | Untested:
    found = np.abs(records.field("equilibrium", charges)[:, at])
    finite = np.isfinite(found)
    rows = finite.any(1)
    always = finite[rows].all(0) if rows.any() else np.zeros(len(at), bool)
    if not always.any():
        reason = "no equilibrium was measured that all windows have"
        return APPROACH.untested(subject, reason, "charges with noise on both signs, or weight decay")
    distance = found[rows][:, always].mean(1)
    n = len(distance)
    if n < LEAST:
        return APPROACH.untested(subject, f"{n} windows are too few", MORE)
    if distance[0] < NEAR:
        return APPROACH.untested(subject, "it begins at its equilibrium", "another start")
    place = np.arange(n) - (n - 1) / 2
    slope = float(place @ distance / (place @ place))
    left = distance - distance.mean() - slope * place
    error = float(np.sqrt(left @ left / max(n - 2, 1) / (place @ place)))
    return APPROACH.claim(subject, slope, error, (-np.inf, 0.0), float("nan"), n - 1, unit="windows")
