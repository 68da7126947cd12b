"""Claims about charges (THEORY section 7), each measured on plain arrays of states."""

from __future__ import annotations

import numpy as np

from sde.verify.numbers import Charge, Theory
from sde.verify.verdicts import Claim

EXACT = 1e-10
"""Relative tolerance of identities that hold to rounding in float64."""


def pathwise(charge: Charge, states: np.ndarray, h: np.ndarray, weight_decay: float, who: str) -> Claim:
    """C_{k+1} = rho^2 C_k + h^2 g^T A g with rho = 1 - h*weight_decay, on every step of every path (with b: its general form).

    states: (paths, steps + 1, D); h: (steps,). The statistic is the largest residual relative to the charge's size.
    """
    now, after, rho = states[:, :-1], states[:, 1:], (1 - h * weight_decay)[None, :]
    move = rho[..., None] * now - after
    linear = 2 * now @ charge.b
    predicted = rho**2 * (charge.value(now) - linear) + rho * linear
    predicted = predicted + np.einsum("pki,ij,pkj->pk", move, charge.A, move, optimize=True) + 2 * (rho - 1) * (move @ charge.b)
    residual = np.abs(charge.value(after) - predicted) / np.maximum(charge.size(now), 1e-300)
    worst = float(residual.max()) if np.isfinite(residual).any() else np.inf
    text = f"{who}: C' = (1 - eta*wd)^2 C + eta^2 g^T A g on every step, for C = {charge.label}"
    return Claim("pathwise identity", text, worst, 0.0, (0.0, EXACT), 0.0, len(states), note=f"{len(h)} steps on each path")


def mean_drift(
    charge: Charge, predicted: np.ndarray, size: np.ndarray, mean: np.ndarray, variance: np.ndarray, samples: int, who: str, margin: float
) -> Claim:
    """The mean change of a charge over one step against the theory's, over many states.

    All (states,): predicted mean change and its gross size, measured mean change and the variance of that mean. The statistic is
    the slope of measured on predicted, in units of the gross size. samples: single steps taken.
    """
    p, r, v = predicted / size, mean / size, variance / size**2
    weight = float((p * p).sum())
    slope, error = (float((p * r).sum() / weight), float(np.sqrt((p * p * v).sum()) / weight)) if weight > 0 else (np.nan, np.nan)
    text = f"{who}: mean change of {charge.label} per step, measured over predicted"
    return Claim("mean drift", text, slope, error, (1 - margin, 1 + margin), 1.0, samples, note=f"at {len(p)} states, {samples // len(p)} steps from each")


def noise_class(charge: Charge, now: np.ndarray, after: np.ndarray, h: np.ndarray, weight_decay: float) -> Claim:
    """The class of a charge, from where SGD's own steps put their energy.

    The statistic is the share of g^T |A| g that lies in A's negative eigenspaces: strictly between 0 and 1 for a convergent
    charge, 0 or 1 for a divergent one; for a frozen one it is the relative size of g^T |A| g itself.
    """
    values, vectors = np.linalg.eigh(charge.A)
    rho = (1 - h * weight_decay)[None, :, None]
    g = (rho * now - after) / h[None, :, None]
    energy = (g @ vectors) ** 2
    up = (energy[..., values > 1e-12] @ values[values > 1e-12]).sum(axis=1)
    down = -(energy[..., values < -1e-12] @ values[values < -1e-12]).sum(axis=1)
    n, total = len(now), up + down
    if charge.kind == "frozen":
        share = float(total.sum() / max((g**2).sum(), 1e-300))
        text = f"{charge.label} is frozen: no noise on the range of its generator"
        return Claim("class", text, share, 0.0, (0.0, 1e-12), 0.0, n)
    share = float(down.sum() / total.sum()) if total.sum() > 0 else np.nan
    if charge.kind == "divergent":
        one_sign = min(share, 1 - share)
        text = f"{charge.label} is divergent: noise in eigenspaces of one sign only"
        return Claim("class", text, one_sign, 0.0, (0.0, 1e-12), 0.0, n)
    error = float(np.std(down - share * total, ddof=1) / np.sqrt(n) / total.mean())
    text = f"{charge.label} is convergent: noise in eigenspaces of both signs (share on the negative ones)"
    return Claim("class", text, share, error, (1e-3, 1 - 1e-3), 0.5, n)


def equilibrium_entry(charge: Charge, net: np.ndarray, gross: np.ndarray, start: str, margin: float) -> Claim:
    """The mean change of the charge per step vanishes at the end (Tr[Sigma A] = 0, and weight decay), as a share of the gross
    change; net, gross: (paths,)."""
    share = float(net.mean() / gross.mean())
    error = float(np.std(net - share * gross, ddof=1) / np.sqrt(len(net)) / gross.mean())
    text = f"SGD from {start} ends at the noise equilibrium of {charge.label}: net over gross noise"
    return Claim("equilibrium", text, share, error, (-margin, margin), 0.0, len(net))


def approach(charge: Charge, last: np.ndarray, predicted: float, way: float, start: str, margin: float) -> Claim:
    """The mean charge at the end against the end of the mean-field path, in units of the longest way that any charge was predicted
    to go from there. last: (paths,)."""
    error = float(np.std(last, ddof=1) / np.sqrt(len(last)) / way)
    text = f"SGD from {start}: {charge.label} ends where it was predicted to, miss over the predicted way"
    return Claim("approach", text, float((last.mean() - predicted) / way), error, (-margin, margin), 0.0, len(last))


def descent_stays(largest: float, at_start: float, start: str, margin: float) -> Claim:
    """Gradient descent does not get to the noise equilibrium: the largest imbalance over charges stays beyond the margin."""
    text = f"GD from {start} stays away from the noise equilibrium: largest net over gross noise of any charge"
    return Claim("equilibrium", text, largest, 0.0, (margin, np.inf), at_start, 1)


def divergence(charge: Charge, theory: Theory, times: np.ndarray, states: np.ndarray, h: float, temperature: float, start: str, margin: float) -> Claim:
    """d C^2/dt = 2 C (T Tr[Sigma A] + h gbar^T A gbar - 2 weight_decay C), for a one-signed charge (|theta|^4 grows linearly when C = |theta|^2).

    states: (paths, times, D). The statistic is measured growth of C^2 over its integral along the same paths (trapezoid).
    """
    paths, count, d = states.shape
    trace, square = theory.noise(states.reshape(-1, d), [charge.A])
    value = charge.value(states)
    rate = 2 * value * ((temperature * trace + h * square).reshape(paths, count) - 2 * theory.weight_decay * value)
    predicted = np.trapezoid(rate, times, axis=1)
    grown = value[:, -1] ** 2 - value[:, 0] ** 2
    slope = float(grown.mean() / predicted.mean())
    error = float(np.std(grown - slope * predicted, ddof=1) / np.sqrt(paths) / abs(predicted.mean()))
    text = f"SGD from {start}: growth of ({charge.label})^2 over the run, measured over predicted"
    return Claim("divergence law", text, slope, error, (1 - margin, 1 + margin), 1.0, paths)


def gradient_descent_order(charge: Charge, coarse: float, fine: float, size: float) -> Claim | None:
    """Full-batch GD moves a charge by O(eta): halving eta halves the change over the same time. None when nothing moves.

    coarse, fine: C(end) - C(0) at eta and eta/2; the statistic is log2 of their ratio, theory 1.
    """
    if min(abs(coarse), abs(fine)) < 1e-9 * size or coarse * fine <= 0:
        return None
    text = f"GD: the change of {charge.label} over the run is of order eta (log2 of the ratio at eta/4 and eta/8)"
    return Claim("gradient descent", text, float(np.log2(coarse / fine)), 0.0, (0.8, 1.2), 1.0, 1)
