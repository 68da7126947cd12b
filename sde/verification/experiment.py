"""The experiment behind a verification: which runs to make, and which claims to measure on them. Numbers only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sde.verification import claims
from sde.verification.one_step_drift import drifts
from sde.verification.result import Explosions
from sde.verification.setting import Findings, Margins, Setting, Simulators
from sde.verification.theory_numbers import Theory
from sde.verification.trajectories import curves, trajectories
from sde.verification.untested import not_reached
from sde.verification.verdicts import unmeasured

LOOKS = 40
"""How many saves, half of them spaced evenly and half by ratio."""
EVERY = 10_000
"""Most steps whose identities are looked at one by one."""


def orbit_starts(theory: Theory, starts: Sequence[np.ndarray], count: int = 3, size: float = 0.35) -> list[np.ndarray]:
    """The given starts, filled up to `count` with points on the first one's orbit under the convergent charges'
    generators."""
    from scipy.linalg import expm  # slow to load

    out = [np.asarray(s, dtype=np.float64) for s in starts]
    movers = [c.A for c in theory.charges if c.kind == "convergent" and not c.b.any()]
    rng = np.random.default_rng(7)
    while movers and len(out) < count:
        mixed = np.einsum("k,kij->ij", rng.standard_normal(len(movers)), np.array(movers))
        out.append(expm(size * mixed / np.linalg.norm(mixed, 2)) @ out[0])
    return out


def start_names(count: int) -> list[str]:
    """What starts are called."""
    return ["the start"] if count == 1 else [f"start {i + 1}" for i in range(count)]


def save_steps(steps: int, count: int = LOOKS) -> np.ndarray:
    """Steps to look at, each together with the one after it."""
    base = np.concatenate([np.linspace(0, steps - 1, count // 2), np.geomspace(1, max(steps - 1, 1), count // 2)])
    first = np.unique(np.round(base).astype(np.int64))
    return first[first < steps]


def mean_field(theory: Theory, setting: Setting, theta: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The predicted path (times, D): gradient flow with every charge moved at its predicted rate, made before any
    run."""

    def velocity(time: float, at: np.ndarray) -> np.ndarray:
        s = float(setting.factor(np.array([time]))[0]) * setting.speed
        return s * theory.closure(at, s * setting.temperature, s * setting.learning_rate if setting.plain else 0.0)

    from scipy.integrate import solve_ivp  # slow to load

    method = "LSODA" if theory.smooth else "RK23"  # a multistep method crawls over kinks
    solution = solve_ivp(velocity, (0.0, float(times[-1])), theta, method, t_eval=times, rtol=1e-4, atol=1e-6)
    if not solution.success or solution.y.shape[1] != len(times):
        return np.full((len(times), len(theta)), np.nan)
    return solution.y.T


def run_experiment(
    theory: Theory, setting: Setting, simulators: Simulators, starts: Sequence[np.ndarray], steps: int, margins: Margins
) -> Findings:
    """Run everything and measure every claim that applies. Ctrl-C ends it with what was measured, and the list of what
    was not; KeyboardInterrupt goes on where nothing was."""
    found = Findings()
    if not theory.charges:
        return found
    names = start_names(len(starts))
    try:
        _run(found, theory, setting, simulators, starts, names, steps, margins)
    except KeyboardInterrupt:
        if not found.claims:
            raise
        found.interrupted = True
        reason = "interrupted before it was measured"
        found.untested += not_reached(found, theory, setting, simulators, names, reason)
    if simulators.sde is not None:
        order = list(claims.STATEMENTS)
        found.claims.sort(key=lambda c: order.index(c.group))
    return found


def _run(
    found: Findings,
    theory: Theory,
    setting: Setting,
    simulators: Simulators,
    starts: Sequence[np.ndarray],
    names: Sequence[str],
    steps: int,
    margins: Margins,
) -> None:
    looks = save_steps(steps)
    saves = np.unique(np.concatenate([[0], looks, looks + 1, [steps]]))
    now, after = np.searchsorted(saves, looks), np.searchsorted(saves, looks + 1)
    times = saves * setting.learning_rate
    predicted = [mean_field(theory, setting, s, times) for s in starts] if simulators.sde is not None else []
    samples = [simulators.sgd(s, saves, i) for i, s in enumerate(starts)]
    for name, sample in zip(names, samples, strict=True):
        found.explosions.append(Explosions(f"SGD from {name}", sample.exploded, sample.total, sample.first))
    pool = np.concatenate([s.states for s in samples])
    if setting.plain:
        _identities(found, theory, setting, simulators, starts[0], steps)
        found.reached.add("identities")
        h = setting.learning_rate * setting.factor(times[now])
        found.claims += [
            claims.noise_class(c, pool[:, now], pool[:, after], h, theory.weight_decay)
            for c in theory.charges
            if c.kind and len(pool)
        ]
        found.reached.add("classes")
    if simulators.sde is None:
        _without_noise(found, theory)
        return
    drifts(
        found, theory, setting, simulators, np.concatenate([pool[:, now].reshape(-1, pool.shape[2]), starts]), margins
    )
    found.reached.add("drifts")
    for k, (name, sample, path) in enumerate(zip(names, samples, predicted, strict=True)):
        flow = simulators.sde(starts[k], times, k)
        found.explosions.append(Explosions(f"SDE from {name}", flow.exploded, flow.total, flow.first))
        descent = simulators.gd(starts[k], saves, 1.0) if simulators.gd is not None else None
        trajectories(found, theory, setting, sample, path, flow, descent, name, margins)
        found.reached.add(name)
        curves(found, theory, simulators, sample, path, descent, flow, name)
    _descent(found, theory, simulators, starts[0], steps)
    found.reached.add("descent")


def _without_noise(found: Findings, theory: Theory) -> None:
    """Sigma is known from samples only: its own error would pass for one of the theory's, so nothing is claimed of
    it."""
    for c in theory.charges:
        if c.kind != "frozen":
            claim = claims.make("mean drift", f"SGD, {c.label}", np.nan, np.inf, (0.0, 0.0), 1.0, 0)
            why = "Sigma has no closed form under this law: give the data as a Dataset, a sample of the law will do"
            found.claims.append(unmeasured(claim, why))


def _identities(
    found: Findings, theory: Theory, setting: Setting, simulators: Simulators, start: np.ndarray, steps: int
) -> None:
    """Every single step of a few paths, and of gradient descent."""
    every = np.arange(min(steps, EVERY) + 1)
    h = setting.learning_rate * setting.factor(every[:-1] * setting.learning_rate)
    kinds = [("SGD", simulators.sgd(start, every, -1))] + (
        [("GD", simulators.gd(start, every, 1.0))] if simulators.gd is not None else []
    )
    for who, sample in kinds:
        if len(sample.states):
            found.claims += [claims.pathwise(c, sample.states, h, theory.weight_decay, who) for c in theory.charges]


def _descent(found: Findings, theory: Theory, simulators: Simulators, start: np.ndarray, steps: int) -> None:
    """Two gradient descents with small steps over the same time: the charge moves in proportion to the step."""
    if theory.weight_decay or simulators.gd is None:
        return
    coarse, fine = (simulators.gd(start, np.array([0, n * steps]), 1.0 / n) for n in (4, 8))
    if not len(coarse.states) or not len(fine.states):
        return
    for c in theory.charges:
        moved = [float(c.value(r.states[0, -1]) - c.value(r.states[0, 0])) for r in (coarse, fine)]
        claim = claims.gradient_descent_order(c, moved[0], moved[1], float(c.size(start)))
        if claim is not None:
            found.claims.append(claim)
