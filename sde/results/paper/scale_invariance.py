"""Scale invariance in the plane: |theta|^4 grows at a constant rate under SGD; weight decay makes its radius finite."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import xarray as xr

from sde.api.simulation import simulate
from sde.api.training import train
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.library.normalised import scale_invariant
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED, RATE, BATCH, DECAY = 1101, 0.05, 2, 0.004
START, LEAST = {"w": [0.9, 0.45]}, {"w": np.array([2.0, 1.0]) / np.sqrt(5)}
TIME, TIME_WITH_DECAY = 400.0, 600.0
RADIUS = {"r4": "(w[0]**2 + w[1]**2)**2"}
MARGIN = 0.05
"""Of ratios: predictions leave out how the direction fluctuates about its minimum."""


@cache
def theories() -> Mapping[str, Theory]:
    """Of the loss."""
    return {"scale-invariant": derive(scale_invariant(2))}


def noise() -> float:
    """Tr Sigma at unit norm, in the direction in which the loss is least."""
    left, right = theories()["scale-invariant"].charges[0].sides(LEAST)
    return left - right


def radius(run: xr.Dataset) -> np.ndarray:
    """|theta|^4 (paths, times)."""
    return np.asarray(run.r4.values)


def measure(effort: Effort) -> Finding:
    """SGD, its SDE and gradient descent from one start; then SGD with weight decay."""
    loss, sgd, paths = scale_invariant(2), SGD(RATE, batch_size=BATCH), effort(400, 8000)
    common = {"start": START, "observables": RADIUS, "seed": SEED, "threads": effort.threads}
    steps, kept = round(TIME / RATE), {"paths": paths, "keep": "paths", "save_at": 41}
    gain, begin = 2 * sgd.temperature * noise(), float(np.square(np.square(START["w"]).sum()))
    runs = {"SGD": train(loss, sgd, steps=steps, **common, **kept)}
    effort.tick(0.3)
    runs["SDE"] = simulate(loss, sgd, time=TIME, **common, **kept)
    effort.tick(0.7)
    descent = train(loss, sgd, steps=steps, paths=2, save_at=41, keep="paths", full_batch=True, **common)
    shrinking = SGD(RATE, batch_size=BATCH, weight_decay=DECAY)
    decayed = train(loss, shrinking, steps=round(TIME_WITH_DECAY / RATE), **common, **kept)
    rows = [
        Row.of_mean(
            f"growth, {name}",
            f"{name}: |θ|⁴ gains 2T·Tr Σ(θ/|θ|) per unit time (ratio)",
            (radius(run)[:, -1] - begin) / (gain * TIME),
            1.0,
            MARGIN,
        )
        for name, run in runs.items()
    ]
    middle = len(runs["SGD"].time) // 4
    times = np.asarray(runs["SGD"].time)
    law = begin + gain * times
    span = np.log(times[-1] / times[middle])
    exponents = np.log(radius(runs["SGD"])[:, -1] / radius(runs["SGD"])[:, middle]) / (4 * span)
    exponent = Row.of_mean(
        "exponent",
        f"SGD: |θ| grows as t^p from t = {times[middle]:g} to {times[-1]:g}, p = 1/4 up to the start's share",
        exponents,
        float(np.log(law[-1] / law[middle]) / (4 * span)),
        0.01,
    )
    limit = sgd.temperature * noise() / (2 * DECAY)
    settled = Row.of_mean(
        "radius with decay",
        "SGD with weight decay λ: |θ|⁴ ends at T·Tr Σ(θ/|θ|)/(2λ) (ratio)",
        radius(decayed)[:, 21:].mean(axis=1) / limit,
        1.0,
        MARGIN,
    )
    kept_radius = Row.exact(
        "descent",
        "gradient descent keeps |θ|⁴, up to its finite step (ratio of last to first)",
        float(radius(descent)[0, -1] / begin),
        1.0,
        0.02,
    )
    rows += [exponent, settled, kept_radius]
    wrong = (
        rows[0].against(2.0, "|θ|⁴ gains 4T·Tr Σ: σ² = η/S in place of η/(2S)"),
        exponent.against(0.5, "|θ|² grows linearly, as if Σ did not depend on |θ|"),
        settled.against(0.5, "the penalty taken for λ|θ|² in place of λ|θ|²/2"),
    )
    return Finding(rows=tuple(rows), wrong=wrong, figures=_figures(runs, descent, decayed, law, limit))


def _figures(
    runs: Mapping[str, xr.Dataset], descent: xr.Dataset, decayed: xr.Dataset, law: np.ndarray, limit: float
) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    for name, run in runs.items():
        drawing.band(left, run.time.values, radius(run), name, name.lower())
    drawing.band(left, descent.time.values, radius(descent), "gradient descent", "gd")
    drawing.theory(left, runs["SGD"].time.values, law)
    drawing.labels(left, "time t = ηk", "|θ|⁴")
    drawing.band(right, decayed.time.values, radius(decayed), "SGD with weight decay", "sgd")
    drawing.theory(right, decayed.time.values[[0, -1]], np.full(2, limit))
    drawing.labels(right, "time t = ηk", "|θ|⁴")
    return {"|θ|⁴ without and with weight decay: mean and 5 to 95 % of paths": figure}


RESULT = Result(
    name="scale-invariance",
    section="paper",
    position=10,
    title="Scale invariance: |θ|⁴ grows at a constant rate, and only weight decay stops it",
    claim=(
        "A loss that sees only the direction of θ is kept by θ → cθ. Noise has nothing to balance it on the other side,"
        " so that |θ|² grows without end: |θ|⁴ = |θ₀|⁴ + 2T∫Tr Σ(θ/|θ|)dt, |θ| ~ t^(1/4). Weight decay λ stops it at"
        " |θ|⁴ = T·Tr Σ(θ/|θ|)/(2λ). Gradient descent keeps |θ|."
    ),
    source="arXiv 2402.07193, section on scale invariance",
    beyond=(
        "The fourth power, with its constant, in place of a divergence; discrete SGD and its SDE apart; the finite"
        " radius measured."
    ),
    seed=SEED,
    seconds=(6, 40),
    theories=theories,
    measure=measure,
)
