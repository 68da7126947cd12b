"""The mean change of charges over a window of steps, from the noise at its beginning and the optimiser's settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sde.networks.identity import Identity
from sde.networks.optimiser_rules import Rule


def forecast(
    identity: Identity,
    rules: Sequence[tuple[Rule, ...]],
    spread: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    sums: np.ndarray,
) -> np.ndarray:
    """(charges,), docs/theory.md eq. (11.6); NaN where tensors of a charge differ in learning rate or momentum.

    rules: of the blocks at every step; spread, mean (products,): of the covariance of a step's gradient and of its
    mean; square, sums: of the parameters before the first step.
    """
    of = identity.of_parts
    noise, drift, here, line = of(spread), of(mean), of(square), identity.lines_of_parts(sums)
    grown = np.zeros_like(noise)
    kept, kept_line = np.ones_like(noise), np.ones_like(noise)
    for each in rules:
        gain, mean_gain, loss = (np.array([f(r) for r in each])[identity.block] for f in (_noise, _mean, _decay))
        grown = grown * (1 - 2 * loss) + gain * noise + mean_gain * drift
        kept, kept_line = kept * (1 - loss) ** 2, kept_line * (1 - loss)
    change = grown + (kept - 1) * here + 2 * (kept_line - 1) * line
    out = identity.total(change)
    if any(len({(r.lr, r.momentum, r.dampening) for r in each if not r.still}) > 1 for each in rules):
        several = np.bincount(identity.charge, minlength=len(out)) > 1
        out[several] = np.nan
    return out


def _noise(rule: Rule) -> float:
    return 0.0 if rule.still else rule.lr**2 * rule.noise_factor


def _mean(rule: Rule) -> float:
    return 0.0 if rule.still else rule.lr**2 * rule.mean_factor


def _decay(rule: Rule) -> float:
    """Share of a parameter that decay takes in a step, once momentum has gathered it."""
    if rule.decoupled or rule.still:
        return rule.lr * rule.decay
    return rule.lr * rule.decay * (1 - rule.dampening) / (1 - rule.momentum)
