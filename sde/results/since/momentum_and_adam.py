"""What optimisers make of a charge: momentum has an exact law of its own, Adam keeps another quantity instead."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from sde.api.training import train
from sde.results import drawing
from sde.results.optimisers import Paths, adam, nesterov
from sde.results.result import Effort, Finding, Result, Row
from symbolic.library.linear import matrix_factorization
from symbolic.library.products import rescaling
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED = 1116
HEAVY = SGD(0.01, batch_size=16, weight_decay=0.05, momentum=0.9)
"""For the exact recursion and the stationary law: the charge relaxes within 100 steps."""
SLOW = SGD(0.0005, momentum=0.9)
PLAIN = SGD(0.002)
FACTORS = {"U": [[0.6], [-0.3], [0.4], [0.2]], "W": [[0.8]]}
APART, FARTHER, LEAST = {"u": 1.5, "w": 0.3}, {"u": 1.5, "w": 0.1}, {"u": 1.6, "w": 0.625}
"""Starts of u w: far from the minima u w = 1, where w grows to the twofold and the sixfold, and at one."""
EXACT_STEPS, STEPS, BURNT, ADAM_STEPS = 1000, 4000, 1000, 6000
ADAM_RATE, ADAM_DECAYS, LONG_MEMORY = 0.0005, (0.9, 0.99), (0.002, (0.9, 0.999))
ROUNDING = 1e-9
"""Of terms of order 1: differences of saved weights are divided by the rate."""
STATIONARY = 0.03
"""Of a ratio: sampling decides."""
DECAY_MARGIN = 0.02
"""Of C over its start: the spread of u w about 1, first order in eta/(1 - momentum)."""
ADAM_MARGIN = 0.1
"""Of C and of a ratio: Adam's averages remember 100 steps, in which w/u changes, and u w fluctuates."""


@cache
def theories() -> Mapping[str, Theory]:
    """Of factorisation with one hidden unit, four outputs and one input, and of u w with less and more label noise."""
    return {
        "factors": derive(matrix_factorization(4, 1, 1)),
        "u w": derive(rescaling()),
        "u w, noisy": derive(rescaling(2)),
    }


def weights(run: xr.Dataset, theory: Theory) -> np.ndarray:
    """theta (paths, times, D)."""
    names = list(theory.loss.unpack(np.zeros(theory.loss.dimension)))
    parts = [np.asarray(run[name].values) for name in names]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=-1)


def form(x: np.ndarray, y: np.ndarray, theory: Theory) -> np.ndarray:
    """x A y of the charge's A, over the last axis."""
    return np.einsum("...i,ij,...j->...", x, theory.charges[0].A, y)


def heavy_residual(momentum: float = HEAVY.momentum) -> float:
    """Largest error of docs/theory.md eq. (3.10), with this momentum in it, on paths of HEAVY."""
    theory, eta, decay = theories()["factors"], HEAVY.learning_rate, HEAVY.weight_decay
    every: dict[str, Any] = {"paths": 8, "keep": "paths", "save_at": EXACT_STEPS + 1, "seed": SEED}
    theta = weights(train(theory.loss, HEAVY, start=FACTORS, steps=EXACT_STEPS, **every), theory)
    v = -np.diff(theta, axis=1) / eta
    m, q, c = form(theta[:, :-1], v, theory), form(v, v, theory), form(theta, theta, theory)
    kept = m[:, 1:] - momentum * (m[:, :-1] - eta * q[:, :-1]) - decay * c[:, 1:-1]
    return float(max(np.abs(kept).max(), np.abs(c[:, 1:] - c[:, :-1] + 2 * eta * m - eta**2 * q).max()))


def nesterov_residual(momentum: float = HEAVY.momentum) -> float:
    """Largest error of docs/theory.md eq. (3.11), with this momentum in it, on paths of Nesterov's with HEAVY."""
    theory, eta, decay = theories()["factors"], HEAVY.learning_rate, HEAVY.weight_decay
    path = nesterov(theory.loss, HEAVY, FACTORS, steps=EXACT_STEPS, paths=8, seed=SEED)
    theta, v, u = path.theta, path.velocity, -np.diff(path.theta, axis=1) / eta
    m, s, c = form(theta[:, :-1], v, theory), form(u, v, theory), form(theta, theta, theory)
    kept = m[:, 1:] - momentum * (m[:, :-1] - eta * s[:, :-1]) - decay * c[:, 1:-1]
    moved = c[:, 1:] - c[:, :-1] + 2 * eta * (decay * c[:, :-1] + momentum * m) - eta**2 * form(u, u, theory)
    return float(max(np.abs(kept).max(), np.abs(moved).max()))


def end_of_adam(start: Mapping[str, float]) -> float:
    """u^2 - w^2 at u w = 1 where u - w is what it was."""
    gap = start["u"] - start["w"]
    return float(gap * np.sqrt(gap**2 + 4))


def stationary_ratio(paths: int, threads: int | None) -> np.ndarray:
    """Both sides of docs/theory.md eq. (3.12), one over the other's mean, averaged over late steps, (paths,)."""
    theory = theories()["factors"]
    first = np.linspace(BURNT, STEPS - 1, 400).astype(int)
    at = np.unique(np.concatenate([first, first + 1]))
    told: dict[str, Any] = {"start": FACTORS, "steps": STEPS, "paths": paths, "keep": "paths", "seed": SEED}
    run = train(theory.loss, HEAVY, save_at=at * HEAVY.learning_rate, threads=threads, **told)
    theta = weights(run, theory)
    steps = np.rint(run.time.values / HEAVY.learning_rate).astype(int)
    before = np.flatnonzero((np.diff(steps) == 1) & (steps[:-1] >= BURNT))
    v = (theta[:, before] - theta[:, before + 1]) / HEAVY.learning_rate
    c = form(theta[:, before], theta[:, before], theory).mean()
    ratio = HEAVY.learning_rate * (1 + HEAVY.momentum) * form(v, v, theory) / (2 * HEAVY.weight_decay * c)
    return ratio.mean(axis=1)


def measure(effort: Effort) -> Finding:
    """Exact laws on single paths; the stationary law; the pace with momentum; Adam, SGD and gradient descent on u w."""
    product, threads = theories()["u w"], effort.threads
    recursions = heavy_residual(), nesterov_residual()
    effort.tick(0.2)
    ratio = stationary_ratio(effort(200, 2000), threads)
    effort.tick(0.5)
    noisy = theories()["u w, noisy"]
    rate = noisy.equilibrium(LEAST, SLOW)[0].rate
    steps = round(0.5 / (rate * SLOW.learning_rate))
    paths, seen = effort(200, 2000), {"C": product.charges[0].expression}
    common: dict[str, Any] = {"observables": seen, "keep": "paths", "seed": SEED, "threads": threads}
    slow = train(noisy.loss, SLOW, start=LEAST, steps=steps, paths=paths, save_at=41, **common)
    left = slow.C.values[:, -1] / slow.C.values[:, 0]
    common |= {"start": APART, "steps": ADAM_STEPS}
    plain = train(product.loss, PLAIN, paths=paths, save_at=ADAM_STEPS + 1, **common)
    descent = train(product.loss, PLAIN, paths=2, full_batch=True, save_at=41, **common)
    effort.tick(0.8)
    path = adam(product.loss, ADAM_RATE, APART, steps=ADAM_STEPS, paths=200, seed=SEED, decays=ADAM_DECAYS)
    jump = np.diff(path.theta, axis=1)
    along = 2 * form(path.theta[:, :-1], jump, product).sum(axis=1)
    across = form(jump, jump, product).sum(axis=1)
    begin = form(path.theta[0, 0], path.theta[0, 0], product)
    # both coordinates move alike, as sqrt E g_u^2 = |w| sqrt E q^2 and g_u = w q: u - w stays, and u w ends at 1
    end = end_of_adam(APART)
    sgd_theta = weights(plain, product)
    sgd_along = np.abs(form(sgd_theta[:, :-1], np.diff(sgd_theta, axis=1), product)).max()
    heavy_law = Row.exact(
        "heavy ball",
        f"heavy ball, {EXACT_STEPS} steps: largest error of the charge's recursion with decay",
        recursions[0],
        0.0,
        ROUNDING,
    )
    nesterov_law = Row.exact(
        "Nesterov",
        f"Nesterov, {EXACT_STEPS} steps: largest error of its recursion",
        recursions[1],
        0.0,
        ROUNDING,
    )
    settled = Row.of_mean(
        "stationary", "heavy ball with decay: η(1 + β) E[vᵀAv] = 2λ E[C] (ratio)", ratio, 1.0, STATIONARY
    )
    pace = Row.of_mean(
        "pace",
        "heavy ball at a minimum: what is left of C after half of 1/rate, the rate taken at η/(1 − β)",
        left,
        float(np.exp(-rate * steps * SLOW.learning_rate)),
        DECAY_MARGIN,
    )
    tangent = Row.exact(
        "SGD, along",
        "SGD: 2θᵀAδ of a step, the motion along the orbit to first order, is 0",
        2 * sgd_along,
        0.0,
        ROUNDING,
    )
    adam_end = Row.of_mean(
        "Adam, charge",
        "Adam keeps u − w in place of C: C = u² − w² ends at d√(d² + 4), d = u₀ − w₀",
        form(path.theta[:, -1], path.theta[:, -1], product),
        end,
        ADAM_MARGIN,
    )
    rate_of_long, decays_of_long = LONG_MEMORY
    long = adam(
        product.loss, rate_of_long, FARTHER, steps=ADAM_STEPS // 2, paths=200, seed=SEED + 10_000, decays=decays_of_long
    )
    adam_long = Row.of_mean(
        "Adam, long memory",
        "Adam at rate 0.002 with β₂ = 0.999, from w = 0.1: the same",
        form(long.theta[:, -1], long.theta[:, -1], product),
        end_of_adam(FARTHER),
        ADAM_MARGIN,
        expected="refuted",
        reason="u w arrives within Adam's memory of 1,000 steps: it divides by gradients of smaller w than it has",
    )
    adam_along = Row.of_mean(
        "Adam, along", "Adam: Σ 2θᵀAδ over what C gains, by that theory", along / (end - begin), 1.0, ADAM_MARGIN
    )
    adam_across = Row.of_mean(
        "Adam, across",
        "Adam: Σ δᵀAδ, all that moves C under SGD, over what C gains",
        across / (end - begin),
        0.0,
        DECAY_MARGIN,
    )
    wrong = (
        settled.against(1 + HEAVY.momentum, "η E[vᵀAv] = 2λ E[C], as without momentum"),
        pace.against(
            float(np.exp(-rate * (1 - SLOW.momentum) * steps * SLOW.learning_rate)), "momentum does not change the pace"
        ),
        adam_end.against(float(begin), "Adam keeps the charge, as gradient flow does"),
        adam_end.against(float(plain.C.values[:, -1].mean()), "Adam moves the charge as SGD does"),
    )
    rows = (heavy_law, nesterov_law, settled, pace, tangent, adam_end, adam_long, adam_along, adam_across)
    return Finding(rows=rows, wrong=wrong, figures=_figures(slow, rate, path, plain, descent, end, product))


def _figures(
    slow: xr.Dataset, rate: float, path: Paths, plain: xr.Dataset, descent: xr.Dataset, end: float, theory: Theory
) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    time = slow.time.values
    drawing.band(left, time, slow.C.values, "SGD with momentum 0.9", "sgd")
    drawing.theory(left, time, slow.C.values[0, 0] * np.exp(-rate * time))
    drawing.labels(left, "time t = ηk", "C = u² − w²")
    shown = np.arange(0, ADAM_STEPS + 1, 100)
    drawing.band(right, shown, form(path.theta, path.theta, theory)[:, shown], "Adam", "sde")
    drawing.band(right, shown, plain.C.values[:, shown], "SGD", "sgd")
    drawing.band(right, descent.time.values / PLAIN.learning_rate, descent.C.values, "gradient descent", "gd")
    drawing.theory(right, shown[[0, -1]], np.full(2, end), "theory, Adam")
    drawing.labels(right, "step", "C = u² − w²")
    return {"The charge under momentum; and under Adam, SGD and gradient descent from one start": figure}


RESULT = Result(
    name="momentum-and-adam",
    section="since",
    position=160,
    title="Momentum has an exact law for the charge; Adam leaves the orbit's law and keeps another quantity",
    claim=(
        "Momentum keeps ⟨g, Aθ⟩ = 0 of every gradient, so that on every path the charge obeys an exact recursion, of"
        " the heavy ball and of Nesterov, and over the stationary distribution η(1 + β)E[vᵀAv] = 2λE[C]. Adam divides"
        " the gradient coordinate by coordinate: its steps have a part along the orbit, 2θᵀAδ ≠ 0, and SGD's none,"
        " so that it drifts along the orbit."
    ),
    source="arXiv 2606.29176, abstract (Adam); arXiv 2405.12888 (momentum, in continuous time)",
    beyond=(
        "The recursions, exact at any rate; the stationary law without any assumption on the noise; for u w what Adam"
        " keeps while its memory is short, u − w, and so where its charge ends. Nesterov and Adam are"
        " loops of their own here: the package runs the heavy ball."
    ),
    seed=SEED,
    seconds=(5, 10),
    theories=theories,
    measure=measure,
)
