"""The mean change of charges over a window of steps, from what is known at its beginning: the parameters, the
optimiser's momentum, the noise and the mean of a step's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sde.networks.identity import Identity
from sde.networks.optimiser_rules import Rule


@dataclass(frozen=True)
class Start:
    """Where a window begins, as products (products,) and sums (sums,), which the charges are combined from: of the
    parameters theta, the momentum v, and of theta with v; zeros where no momentum has been gathered."""

    theta: np.ndarray
    sums: np.ndarray
    across: np.ndarray
    momentum: np.ndarray
    momentum_sums: np.ndarray


def forecast(
    identity: Identity,
    rules: Sequence[tuple[Rule, ...]],
    start: Start,
    step: np.ndarray,
    mean: np.ndarray,
    along: np.ndarray,
    *,
    seen: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The change (charges,), docs/theory.md eq. (11.9), and what of it is no forecast: that of gradients before the
    window, which momentum brings along, and of its first where that was seen. NaN where tensors of a charge differ in
    learning rate or momentum, or where momentum is switched on or off.

    rules: of the blocks at every step; products (products,): step: E g g^T of a step's gradient, mean: of two steps'
    gradients, along: of the momentum at the start and the mean gradient; seen: they are of the first step's gradient
    itself.
    """
    signs = np.array([r.sign for r in rules[0]])[identity.block]
    parts = (start.theta, start.across, start.momentum, along, step, mean)
    lines = (start.sums, start.momentum_sums)
    state = np.array([*map(identity.of_parts, parts), *map(identity.lines_of_parts, lines)])
    state[ALONG] *= signs
    moves = np.array([_window([each[b] for each in rules], seen) for b in range(len(rules[0]))])
    change, known = (moves[identity.block] * state.T[:, None]).sum(2).T
    out = np.array([identity.total(change), identity.total(known)])
    if any(len({each[b].buffered for each in rules if not each[b].still}) > 1 for b in range(len(rules[0]))):
        out[:] = np.nan  # momentum that is begun, or left where it was, is none that these forms know
    if any(len({(r.lr, r.momentum, r.dampening) for r in each if not r.still}) > 1 for each in rules):
        several = np.bincount(identity.charge, minlength=out.shape[1]) > 1
        out[:, several] = np.nan
    return out[0], out[1]


ALONG, TO_COME, PLACE = 3, [3, 4, 5], [0, 6]
"""In what `after` takes forward: v^T A g; all that is of gradients to come; of the parameters alone."""


def _window(rules: Sequence[Rule], seen: bool) -> np.ndarray:
    """(2, 8): what the steps add to a charge, and what of it is known, as forms of the eight numbers of `after`."""
    kept, known = np.eye(8), np.eye(8)
    for k, r in enumerate(rules):
        if k == seen:
            known[TO_COME] = 0
        kept, known = after(r) @ kept, after(r) @ known
    kept -= np.eye(8)
    if len(rules) == seen:
        known = kept
    else:
        known[:, PLACE] = 0
    return np.array([kept[0] + 2 * kept[6], known[0] + 2 * known[6]])


@lru_cache(maxsize=256)
def after(rule: Rule) -> np.ndarray:
    """(8, 8): what a step makes, in the mean, of theta^T A theta, theta^T A v, v^T A v, v^T A g, E g_t^T A g_t,
    g^T A g, b^T theta, b^T v, with g the mean gradient: docs/theory.md eq. (11.9)."""
    square, across, inner, along, step, mean, line, moving = np.eye(8)
    lr, beta, fresh, lam, rho = rule.lr, rule.momentum, 1 - rule.dampening, rule.coupled, rule.shrink
    hh, vh = step + lam**2 * square, along + lam * across
    theta_v = beta * across + fresh * lam * square
    vv = beta**2 * inner + 2 * beta * fresh * vh + fresh**2 * hh
    b_v = beta * moving + fresh * lam * line
    theta_u, uv, uu, b_u = theta_v, vv, vv, b_v
    if rule.nesterov:
        hv = beta * vh + fresh * hh
        theta_u, b_u = lam * square + beta * theta_v, lam * line + beta * b_v
        uv, uu = hv + beta * vv, hh + 2 * beta * hv + beta**2 * vv
    return np.array(
        [
            rho**2 * square - 2 * lr * rho * theta_u + lr**2 * uu,
            rho * theta_v - lr * uv,
            vv,
            beta * along + fresh * mean,
            step,
            mean,
            rho * line - lr * b_u,
            b_v,
        ]
    )
