"""Claims about charges, each measured on plain arrays of states."""

from __future__ import annotations

from typing import Any

import numpy as np

from sde.verification.theory_numbers import Charge, Theory
from sde.verification.verdicts import Claim

STATEMENTS = {
    "pathwise identity": "C' = (1 - eta*wd)^2 C + eta^2 g^T A g on every step, largest residual over the charge's size",
    "mean drift": "mean change of the charge per step, measured over predicted",
    "class": (
        "share of the noise in eigenspaces of the generator's minority sign: inside (0, 1) if convergent, 0 if"
        " divergent or frozen"
    ),
    "approach": "mean charge at the end of SGD minus the order-1 SDE's, over the longest way that a charge goes",
    "equilibrium": "net over gross change of the charge per step at the end: 0 at the noise equilibrium",
    "divergence law": "growth of C^2 over the run, measured over predicted",
    "gradient descent": "order in eta of the charge's change under gradient descent",
}
"""What the statistic of each group is; a claim's text is this and its subject."""

EXACT = 1e-10
"""Relative tolerance of identities that hold to rounding in float64."""


def make(group: str, subject: str, *numbers: Any, **more: Any) -> Claim:
    """A claim of a group about a subject; the other arguments are those of `Claim` from `estimate` on."""
    return Claim(group, subject, f"{STATEMENTS[group]}: {subject}", *numbers, **more)


def scatter(values: np.ndarray) -> float:
    """Standard error of a mean over paths (paths,); infinite for fewer than two."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.inf


def pathwise(charge: Charge, states: np.ndarray, h: np.ndarray, weight_decay: float, who: str) -> Claim:
    """C_{k+1} = rho^2 C_k + h^2 g^T A g with rho = 1 - h*weight_decay, on every step of every path (with b: its general
    form).

    states: (paths, steps + 1, D); h: (steps,). The statistic is the largest residual relative to the charge's size.
    """
    now, after, rho = states[:, :-1], states[:, 1:], (1 - h * weight_decay)[None, :]
    shift = rho[..., None] * now - after
    linear = 2 * now @ charge.b
    predicted = rho**2 * (charge.value(now) - linear) + rho * linear
    predicted = (
        predicted
        + np.einsum("pki,ij,pkj->pk", shift, charge.A, shift, optimize=True)
        + 2 * (rho - 1) * (shift @ charge.b)
    )
    residual = np.abs(charge.value(after) - predicted) / np.maximum(charge.size(now), 1e-300)
    worst = float(residual.max()) if np.isfinite(residual).any() else np.inf
    return make(
        "pathwise identity",
        f"{who}, {charge.label}",
        worst,
        0.0,
        (0.0, EXACT),
        0.0,
        len(states),
        note=f"{len(h)} steps on each path",
    )


def mean_drift(
    charge: Charge,
    predicted: np.ndarray,
    size: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    samples: int,
    who: str,
    margin: float,
) -> Claim:
    """The mean change of a charge over one step against the theory's, over many states.

    All (states,): predicted mean change and its gross size, measured mean change and the variance of that mean. The
    statistic is the slope of measured on predicted, in units of the gross size. samples: single steps taken.
    """
    p, r, v = predicted / size, mean / size, variance / size**2
    weight = float((p * p).sum())
    slope, error = (
        (float((p * r).sum() / weight), float(np.sqrt((p * p * v).sum()) / weight)) if weight > 0 else (np.nan, np.nan)
    )
    return make(
        "mean drift",
        f"{who}, {charge.label}",
        slope,
        error,
        (1 - margin, 1 + margin),
        1.0,
        samples,
        note=f"at {len(p)} states, {samples // len(p)} steps from each",
    )


def noise_class(charge: Charge, now: np.ndarray, after: np.ndarray, h: np.ndarray, weight_decay: float) -> Claim:
    """The class of a charge, from where SGD's own steps put their energy.

    g is the step taken. The statistic is the share of g^T |A| g that lies in A's eigenspaces of the sign with less of
    it: positive for a convergent charge, 0 for a divergent one; for a frozen one it is the size of g^T |A| g over
    |g|^2.
    """
    values, vectors = np.linalg.eigh(charge.A)
    rho = (1 - h * weight_decay)[None, :, None]
    g = rho * now - after
    energy = (g @ vectors) ** 2
    up = (energy[..., values > 1e-12] @ values[values > 1e-12]).sum(axis=1)
    down = -(energy[..., values < -1e-12] @ values[values < -1e-12]).sum(axis=1)
    n, total = len(now), up + down
    if charge.kind == "frozen":
        share = float(total.sum() / max((g**2).sum(), 1e-300))
        return make("class", f"{charge.label} is frozen", share, 0.0, (0.0, 1e-12), 0.0, n)
    share = float(down.sum() / total.sum()) if total.sum() > 0 else np.nan
    if charge.kind == "divergent":
        return make("class", f"{charge.label} is divergent", min(share, 1 - share), 0.0, (0.0, 1e-12), 0.0, n)
    error = scatter(down - share * total) / float(total.mean())
    return make("class", f"{charge.label} is convergent", min(share, 1 - share), error, (1e-3, 1 - 1e-3), 0.5, n)


def equilibrium_entry(charge: Charge, net: np.ndarray, gross: np.ndarray, start: str, margin: float) -> Claim:
    """The mean change of the charge per step vanishes at the end (Tr[Sigma A] = 0, and weight decay), as a share of the
    gross change; net, gross: (paths,)."""
    share = float(net.mean() / gross.mean())
    error = scatter(net - share * gross) / float(gross.mean())
    return make("equilibrium", f"SGD from {start}, {charge.label}", share, error, (-margin, margin), 0.0, len(net))


def approach(charge: Charge, sgd: np.ndarray, sde: np.ndarray, way: float, start: str, margin: float) -> Claim:
    """The mean charge at the end of SGD against the SDE's, in units of the longest way that any charge goes under the
    SDE. sgd, sde: (paths,) of two independent ensembles."""
    miss = float(sgd.mean() - sde.mean()) / way
    error = float(np.hypot(scatter(sgd), scatter(sde))) / way
    return make(
        "approach", f"from {start}, {charge.label}", miss, error, (-margin, margin), 0.0, min(len(sgd), len(sde))
    )


def descent_stays(largest: float, at_start: float, start: str, margin: float) -> Claim:
    """Gradient descent does not get to the noise equilibrium: the largest imbalance over charges stays beyond the
    margin."""
    return make(
        "equilibrium", f"GD from {start} stays away, the charge with most", largest, 0.0, (margin, np.inf), at_start, 1
    )


def divergence(
    charge: Charge,
    theory: Theory,
    times: np.ndarray,
    states: np.ndarray,
    factor: np.ndarray,
    h: float,
    temperature: float,
    start: str,
    margin: float,
) -> Claim:
    """d C^2/dt = 2 C s^2 (T Tr[Sigma A] + h gbar^T A gbar), for a one-signed charge (|theta|^4 grows linearly when C =
    |theta|^2).

    states: (paths, times, D); factor: (times,), the schedule's s. The statistic is measured growth of C^2 over its
    integral along the same paths (trapezoid).
    """
    paths, count, d = states.shape
    trace, square = theory.noise(states.reshape(-1, d), [charge.A])
    value = charge.value(states)
    rate = 2 * value * factor**2 * (temperature * trace + h * square).reshape(paths, count)
    predicted = np.trapezoid(rate, times, axis=1)
    grown = value[:, -1] ** 2 - value[:, 0] ** 2
    slope = float(grown.mean() / predicted.mean())
    error = scatter(grown - slope * predicted) / abs(float(predicted.mean()))
    return make(
        "divergence law", f"SGD from {start}, {charge.label}", slope, error, (1 - margin, 1 + margin), 1.0, paths
    )


def gradient_descent_order(charge: Charge, coarse: float, fine: float, size: float) -> Claim | None:
    """Full-batch GD moves a charge by O(eta): halving eta halves the change over the same time. None when nothing
    moves.

    coarse, fine: C(end) - C(0) at eta/4 and eta/8 over the same time; the statistic is log2 of their ratio, theory 1.
    """
    if min(abs(coarse), abs(fine)) < 1e-9 * size or coarse * fine <= 0:
        return None
    return make("gradient descent", charge.label, float(np.log2(coarse / fine)), 0.0, (0.8, 1.2), 1.0, 1)
