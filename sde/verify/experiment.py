"""The experiment behind a verification: which runs to make, and which claims to measure on them. Numbers only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from sde.verify import claims
from sde.verify.numbers import Charge, Theory
from sde.verify.report import Band, Curves, Entry, Explosions
from sde.verify.verdicts import Claim, unmeasured


@dataclass(frozen=True)
class Margins:
    """How far from the theory's value a measured number may lie and still count as agreement. Relative, but equilibrium (a share)."""

    drift: float = 0.05
    approach: float = 0.15
    equilibrium: float = 0.05
    divergence: float = 0.05


@dataclass(frozen=True)
class Sample:
    """States of one run: (paths, times, D) at times (times,), exploded paths dropped and counted; first: time of the first of them."""

    states: np.ndarray
    time: np.ndarray
    exploded: int
    total: int
    first: float | None


@dataclass(frozen=True)
class Setting:
    """The optimiser as numbers. factor: the schedule's multiplier at times; population factor f is in temperature and variance.

    temperature: f eta/S; variance: f/S, of a minibatch gradient per Sigma; plain: no momentum, so step identities apply.
    """

    learning_rate: float
    temperature: float
    variance: float
    weight_decay: float
    speed: float
    plain: bool
    factor: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Runs:
    """How to run things.

    sgd(theta, save steps, number of the start or -1), gd(theta, save steps, learning rate over the setting's),
    sde(theta, times, dt). one_sgd and one_sde(states (n, D), seed[, dt]) take a single step from each state, without schedule; the
    SDE's are None when Sigma has no form to run with. equilibrium(theta): the charges at the joint equilibrium of its orbit.
    """

    sgd: Callable[[np.ndarray, np.ndarray, int], Sample]
    gd: Callable[[np.ndarray, np.ndarray, float], Sample] | None
    sde: Callable[[np.ndarray, np.ndarray, float], Sample] | None
    one_sgd: Callable[[np.ndarray, int], np.ndarray]
    one_sde: Callable[[np.ndarray, int, float], np.ndarray] | None
    equilibrium: Callable[[np.ndarray], np.ndarray | None]


@dataclass
class Findings:
    """Claims and what the report draws."""

    claims: list[Claim] = field(default_factory=list)
    curves: list[Curves] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    explosions: list[Explosions] = field(default_factory=list)


TOLERATED = 1e-3
"""Share of exploded paths beyond which what is left is too biased to decide anything."""
LOOKS = 40
"""How many saves, half of them spaced evenly and half by ratio."""
STATES, BATCH, MOST = 512, 131_072, 2_097_152
"""Mean drift: how many states it is measured at, single steps per run, and how many steps at the most."""
FINE = 4
"""The SDE's step is the learning rate over this."""


def orbit_starts(theory: Theory, starts: Sequence[np.ndarray], count: int = 3, size: float = 0.35) -> list[np.ndarray]:
    """The given starts, filled up to `count` with points on the first one's orbit under the convergent charges' generators."""
    out = [np.asarray(s, dtype=np.float64) for s in starts]
    movers = [c.A for c in theory.charges if c.kind == "convergent" and not c.b.any()]
    rng = np.random.default_rng(7)
    while movers and len(out) < count:
        mixed = np.einsum("k,kij->ij", rng.standard_normal(len(movers)), np.array(movers))
        out.append(expm(size * mixed / np.linalg.norm(mixed, 2)) @ out[0])
    return out


def save_steps(steps: int, count: int = LOOKS) -> np.ndarray:
    """Steps to look at, each together with the one after it."""
    base = np.concatenate([np.linspace(0, steps - 1, count // 2), np.geomspace(1, max(steps - 1, 1), count // 2)])
    first = np.unique(np.round(base).astype(np.int64))
    return first[first < steps]


def mean_field(theory: Theory, setting: Setting, theta: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The predicted path (times, D): gradient flow with every charge moved at its predicted rate, made before any run."""

    def velocity(time: float, at: np.ndarray) -> np.ndarray:
        s = float(setting.factor(np.array([time]))[0]) * setting.speed
        return s * theory.closure(at, s * setting.temperature, s * setting.learning_rate if setting.plain else 0.0)

    solution = solve_ivp(velocity, (0.0, float(times[-1])), theta, "LSODA", t_eval=times, rtol=1e-7, atol=1e-9)
    if not solution.success or solution.y.shape[1] != len(times):
        return np.full((len(times), len(theta)), np.nan)
    return solution.y.T


def run_experiment(
    theory: Theory, setting: Setting, runs: Runs, starts: Sequence[np.ndarray], steps: int, margins: Margins
) -> Findings:
    """Run everything and measure every claim that applies."""
    found = Findings()
    if not theory.charges:
        return found
    looks = save_steps(steps)
    saves = np.unique(np.concatenate([[0], looks, looks + 1, [steps]]))
    now, after = np.searchsorted(saves, looks), np.searchsorted(saves, looks + 1)
    times = saves * setting.learning_rate
    names = ["the start"] if len(starts) == 1 else [f"start {i + 1}" for i in range(len(starts))]
    predicted = [mean_field(theory, setting, s, times) for s in starts]
    samples = [runs.sgd(s, saves, i) for i, s in enumerate(starts)]
    for name, sample in zip(names, samples, strict=True):
        found.explosions.append(Explosions(f"SGD from {name}", sample.exploded, sample.total, sample.first))
    pool = np.concatenate([s.states for s in samples])
    if setting.plain:
        _identities(found, theory, setting, runs, starts[0], steps)
        h = setting.learning_rate * setting.factor(times[now])
        found.claims += [
            claims.noise_class(c, pool[:, now], pool[:, after], h, theory.weight_decay)
            for c in theory.charges
            if c.kind and len(pool)
        ]
    _drifts(found, theory, setting, runs, np.concatenate([pool[:, now].reshape(-1, pool.shape[2]), starts]), margins)
    bands: Sample | None = None
    if runs.sde is not None:
        bands = runs.sde(starts[0], times, setting.learning_rate)
        found.explosions.append(Explosions(f"SDE from {names[0]}", bands.exploded, bands.total, bands.first))
    for k, (name, sample, path) in enumerate(zip(names, samples, predicted, strict=True)):
        descent = runs.gd(starts[k], saves, 1.0) if runs.gd is not None else None
        _fates(found, theory, setting, sample, path, descent, name, margins)
        _curves(found, theory, runs, sample, path, descent, bands if k == 0 else None, name)
    _descent(found, theory, runs, starts[0], steps)
    return found


def _doubt(claim: Claim, sample: Sample) -> Claim:
    if sample.exploded > TOLERATED * sample.total:
        return unmeasured(
            claim,
            f"{sample.exploded} of {sample.total} paths exploded: what is left is biased. Lower the learning rate",
        )
    return claim


def _identities(found: Findings, theory: Theory, setting: Setting, runs: Runs, start: np.ndarray, steps: int) -> None:
    """Every single step of a few paths, and of gradient descent."""
    every = np.arange(min(steps, 10_000) + 1)
    h = setting.learning_rate * setting.factor(every[:-1] * setting.learning_rate)
    kinds = [("SGD", runs.sgd(start, every, -1))] + (
        [("GD", runs.gd(start, every, 1.0))] if runs.gd is not None else []
    )
    for who, sample in kinds:
        if len(sample.states):
            found.claims += [claims.pathwise(c, sample.states, h, theory.weight_decay, who) for c in theory.charges]


def _drifts(found: Findings, theory: Theory, setting: Setting, runs: Runs, pool: np.ndarray, margins: Margins) -> None:
    """Mean drift of SGD and of the SDE, by many single steps from states that SGD visited: half of them at random, half where
    the theory predicts most. The number of steps follows from the scatter, not from the outcome."""
    rng = np.random.default_rng(13)
    pool = pool[rng.permutation(len(pool))[: 4 * STATES]]
    strength = np.zeros(len(pool))
    change, size = theory.step_change(pool, setting.learning_rate, setting.variance)
    moving = [j for j, c in enumerate(theory.charges) if c.kind != "frozen"]
    if moving:
        strength = np.abs(change[:, moving] / np.maximum(size[:, moving], 1e-300)).max(axis=1)
    chosen = np.concatenate([np.arange(STATES // 2), STATES // 2 + np.argsort(-strength[STATES // 2 :])[: STATES // 2]])
    states = pool[chosen[chosen < len(pool)]]
    dt = setting.learning_rate / FINE
    kinds: list[tuple[str, float, float, Callable[[np.ndarray, int], np.ndarray]]] = []
    if setting.plain:
        kinds.append(("SGD", setting.learning_rate, setting.variance, runs.one_sgd))
    if runs.one_sde is not None:
        one_sde = runs.one_sde
        kinds.append(("SDE", dt * setting.speed, setting.temperature / dt, lambda x, seed: one_sde(x, seed, dt)))
    for who, h, variance, step in kinds:
        change, size = theory.step_change(states, h, variance)
        mean, spread, repeats = _measure(theory, states, step, change, size, moving, margins.drift)
        found.claims += [
            claims.mean_drift(
                theory.charges[j],
                change[:, j],
                size[:, j],
                mean[:, j],
                spread[:, j],
                repeats * len(states),
                who,
                margins.drift,
            )
            for j in moving
        ]


def _measure(
    theory: Theory,
    states: np.ndarray,
    step: Callable[[np.ndarray, int], np.ndarray],
    change: np.ndarray,
    size: np.ndarray,
    moving: Sequence[int],
    margin: float,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean measured change of every charge at every state, the variance of that mean, and the steps taken from each state."""
    n, each = len(states), max(1, BATCH // len(states))
    before = np.array([c.value(states) for c in theory.charges]).T
    total, squares, repeats = np.zeros_like(before), np.zeros_like(before), 0
    while True:
        after = step(np.repeat(states, each, axis=0), repeats)
        moved = np.array([c.value(after) for c in theory.charges]).T.reshape(n, each, -1) - before[:, None, :]
        total, squares, repeats = total + moved.sum(axis=1), squares + (moved**2).sum(axis=1), repeats + each
        mean = total / repeats
        spread = np.maximum(squares / repeats - mean**2, 0.0) / max(repeats - 1, 1)
        p = change / np.maximum(size, 1e-300)
        error = np.sqrt((p**2 * spread / np.maximum(size, 1e-300) ** 2).sum(axis=0)) / np.maximum(
            (p**2).sum(axis=0), 1e-300
        )
        if (error[list(moving)] < margin / 8).all() or repeats * n >= MOST:
            return mean, spread, repeats


def _late(sample: Sample) -> np.ndarray:
    """States of the last tenth of a run."""
    return sample.states[:, sample.time >= 0.9 * sample.time[-1]]


def _share(theory: Theory, setting: Setting, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted mean change of every charge per step over its gross change, averaged over times: two (paths, charges)."""
    paths, times, d = states.shape
    change, size = theory.step_change(states.reshape(-1, d), setting.learning_rate, setting.variance)
    return change.reshape(paths, times, -1).mean(axis=1), size.reshape(paths, times, -1).mean(axis=1)


def _fates(
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
            found.claims.append(_doubt(claim, sample))
        if c.kind != "convergent":
            continue
        if way > 0.02 * float(c.size(sample.states[0, 0])):
            claim = claims.approach(
                c, c.value(sample.states[:, -1]), float(c.value(path[-1])), way, name, margins.approach
            )
            found.claims.append(_doubt(claim, sample))
        entry = claims.equilibrium_entry(c, net[:, j], gross[:, j], name, margins.equilibrium)
        if not abs(foreseen[j]) <= margins.equilibrium / 2:
            entry = unmeasured(
                entry, f"the predicted path is still {foreseen[j]:.3g} away at the end of the run: it needs more time"
            )
        found.claims.append(_doubt(entry, sample))
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


def _curves(
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
        bands = [_band("SGD", c, sample, sample.time)] + (
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


def _descent(found: Findings, theory: Theory, runs: Runs, start: np.ndarray, steps: int) -> None:
    """Two gradient descents with small steps over the same time: the charge moves in proportion to the step."""
    if theory.weight_decay or runs.gd is None:
        return
    coarse, fine = (runs.gd(start, np.array([0, n * steps]), 1.0 / n) for n in (4, 8))
    if not len(coarse.states) or not len(fine.states):
        return
    for c in theory.charges:
        moved = [float(c.value(r.states[0, -1]) - c.value(r.states[0, 0])) for r in (coarse, fine)]
        claim = claims.gradient_descent_order(c, moved[0], moved[1], float(c.size(start)))
        if claim is not None:
            found.claims.append(claim)


__all__ = [
    "Findings",
    "Margins",
    "Runs",
    "Sample",
    "Setting",
    "mean_field",
    "orbit_starts",
    "run_experiment",
    "save_steps",
]
