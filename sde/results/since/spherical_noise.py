"""A weight in three dimensions under isotropic noise: its radius at a fixed rate and at a fixed effective rate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import sympy as sp
import xarray as xr

from sde.api.simulation import simulate
from sde.api.training import train
from sde.results import drawing
from sde.results.direction import linear_in_direction
from sde.results.result import Effort, Finding, Result, Row
from symbolic.dynamics.equation import SDE
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED, WEIGHTS, RATE, EFFECTIVE, DECAY = 1118, 3, 0.05, 0.02, 0.01
STRENGTH = 0.03
"""Of the loss -STRENGTH cos: a few temperatures, and little beside the noise of one sample, which is 1."""
STEPS, EFFECTIVE_STEPS, SAVES, BURNT = 10_000, 20_000, 101, 40
"""|theta|^4 relaxes in 500 steps at the fixed rate, |theta|^2 in 1,250 at the fixed effective rate."""
MARGIN = 0.02
"""Of ratios: finite steps, in which 2 eta lambda and (STRENGTH)^2/2 are 0.001."""
COSINE = 0.03
"""Of a cosine: finite steps and the rest of the relaxation."""
START = {"w": np.full(WEIGHTS, 1 / np.sqrt(WEIGHTS))}


@cache
def theories() -> Mapping[str, Theory]:
    """Noise alone, and with a least direction."""
    told = (("noise alone", 0.0), ("with a least direction", STRENGTH))
    return {name: derive(linear_in_direction(WEIGHTS, strength, name)) for name, strength in told}


def langevin(x: float) -> float:
    """Mean cosine of exp(x cos) on the sphere in three dimensions."""
    return float(1 / np.tanh(x) - 1 / x)


def sizes(w: np.ndarray) -> np.ndarray:
    """|w|^2, (paths, times)."""
    return np.sum(w**2, axis=-1)


def cosines(w: np.ndarray) -> np.ndarray:
    """With the least direction, late averages, (paths,)."""
    return (w[:, BURNT:, 0] / np.sqrt(sizes(w)[:, BURNT:])).mean(axis=1)


def fixed_effective_flow() -> SDE:
    """dw = -r^2 (grad L + lambda w) dt + r^2 sqrt(eta) Sigma^(1/2) dW, r = |w|, eta the effective rate, t = eta k."""
    theory = theories()["with a least direction"]
    w = sp.Matrix(theory.loss.theta)
    square = w.dot(w)
    slope = sp.Matrix([sp.diff(theory.loss.mean, s) for s in w])
    drift = -square * (slope + sp.nsimplify(DECAY) * w)
    # Sigma = P/r^2, whose root is P/r
    root = sp.sqrt(square) * sp.sqrt(sp.nsimplify(EFFECTIVE)) * (sp.eye(WEIGHTS) - w * w.T / square)
    return SDE(list(w), drift=list(drift), diffusion=root.tolist())


def fixed_effective(paths: int) -> np.ndarray:
    """w (paths, SAVES, 3) under discrete SGD whose rate is EFFECTIVE |w|^2 at every step: a loop of its own, as the
    package's rates do not depend on the weights."""
    rng = np.random.default_rng(SEED)
    w, saved = np.tile(START["w"], (paths, 1)), []
    every = EFFECTIVE_STEPS // (SAVES - 1)
    least = np.eye(WEIGHTS)[0]
    for step in range(EFFECTIVE_STEPS + 1):
        if step % every == 0:
            saved.append(w)
        square = np.sum(w**2, axis=1, keepdims=True)
        pull = rng.standard_normal(w.shape) - STRENGTH * least
        gradient = (pull - np.sum(pull * w, axis=1, keepdims=True) * w / square) / np.sqrt(square)
        w = w - EFFECTIVE * square * (gradient + DECAY * w)
    return np.stack(saved, axis=1)


def measure(effort: Effort) -> Finding:
    """SGD at a fixed rate, with and without a least direction; at a fixed effective rate, and its SDE."""
    paths, sgd, runs = effort(1000, 6000), SGD(RATE, weight_decay=DECAY), dict[str, xr.Dataset]()
    common = {"paths": paths, "keep": "paths", "save_at": SAVES, "seed": SEED, "threads": effort.threads}
    for name, theory in theories().items():
        runs[name] = train(theory.loss, sgd, start=START, steps=STEPS, **common)
    effort.tick(0.3)
    theta = theories()["noise alone"].loss.theta
    begin = dict(zip(theta, START["w"], strict=True))
    time = EFFECTIVE * EFFECTIVE_STEPS
    flow = simulate(fixed_effective_flow(), start=begin, time=time, dt=EFFECTIVE, check=False, **common)
    moving = np.stack([flow[s.name].values for s in theta], axis=-1)
    effort.tick(0.7)
    steered = fixed_effective(paths)
    # at the fixed rate the package says where noise and decay balance; noise is 2 = d - 1 at unit radius
    least = {"w": np.eye(WEIGHTS)[0]}
    charge = theories()["noise alone"].charges[0]
    noise = charge.sides(least)[0]
    radius = {name: theory.equilibrium(least, sgd)[0].value for name, theory in theories().items()}
    temperature = EFFECTIVE / 2
    steered_radius = noise * temperature / DECAY
    fixed = {
        name: Row.of_mean(
            f"fixed rate, {name}",
            f"SGD, {name}: |θ|⁴ ends at ησ²(d − 1)/(2λ) (ratio)",
            (sizes(run.w.values)[:, BURNT:] ** 2).mean(axis=1) / radius[name] ** 2,
            1.0,
            MARGIN,
        )
        for name, run in runs.items()
    }
    own = RATE / (2 * radius["with a least direction"])
    direction = Row.of_mean(
        "fixed rate, direction",
        "SGD at a fixed rate: the mean cosine is that of exp(−L/T), T = ησ²/(2|θ|²)",
        cosines(runs["with a least direction"].w.values),
        langevin(STRENGTH / own),
        COSINE,
    )
    effective = {
        name: Row.of_mean(
            f"fixed effective rate, {name}",
            f"{name} at a fixed effective rate η/|θ|²: |θ|² ends at (d − 1)T/λ, T = σ²η/(2|θ|²) (ratio)",
            sizes(w)[:, BURNT:].mean(axis=1) / steered_radius,
            1.0,
            MARGIN,
        )
        for name, w in (("SGD", steered), ("SDE", moving))
    }
    steered_direction = Row.of_mean(
        "fixed effective rate, direction",
        "SGD at a fixed effective rate: the mean cosine is that of exp(−L/T), T = σ²η/(2|θ|²)",
        cosines(steered),
        langevin(STRENGTH / temperature),
        COSINE,
    )
    wrong = (
        fixed["noise alone"].against(WEIGHTS / noise, "noise along the radius too: d in place of d − 1"),
        effective["SGD"].against(2.0, "T = σ²η/|θ|²: the half forgotten"),
        steered_direction.against(langevin(STRENGTH / (2 * temperature)), "T = σ²η/|θ|²: the half forgotten"),
    )
    rows = (*fixed.values(), direction, *effective.values(), steered_direction)
    figures = _figures(runs, moving, steered, radius["noise alone"], steered_radius)
    return Finding(rows=rows, wrong=wrong, figures=figures)


def _figures(
    runs: Mapping[str, xr.Dataset], flow: np.ndarray, steered: np.ndarray, radius: float, steered_radius: float
) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    for (name, run), colour in zip(runs.items(), ("sgd", "gd"), strict=True):
        drawing.band(left, run.time.values / RATE, sizes(run.w.values), name, colour)
    steps = np.linspace(0, EFFECTIVE_STEPS, SAVES)
    drawing.band(right, steps, sizes(steered), "SGD", "sgd")
    drawing.band(right, steps, sizes(flow), "SDE", "sde")
    drawing.theory(left, np.array([0, STEPS]), np.full(2, radius))
    drawing.theory(right, steps[[0, -1]], np.full(2, steered_radius))
    drawing.labels(left, "step, fixed rate", "|θ|²")
    drawing.labels(right, "step, fixed effective rate", "|θ|²")
    return {"|θ|² at a fixed rate and at a fixed effective rate: mean and 5 to 95 % of paths": figure}


RESULT = Result(
    name="spherical-noise",
    section="since",
    position=180,
    title="Under isotropic noise the radius of a scale-invariant weight is that of an ideal gas",
    claim=(
        "A scale-invariant weight in d dimensions whose gradient noise is isotropic along the sphere, of variance"
        " σ²/|θ|² in every direction, with decay λ: at a fixed rate η its radius settles at |θ|⁴ = ησ²(d − 1)/(2λ), at"
        " a fixed effective rate η/|θ|² at |θ|² = (d − 1)T/λ with temperature T = σ²η/(2|θ|²), and its direction is"
        " distributed as exp(−L/T)."
    ),
    source="arXiv 2511.07308, isotropic noise model",
    beyond=(
        "Discrete SGD on a per-sample loss that has this noise exactly, in three dimensions, where the mean cosine has"
        " a closed form; the fixed rate's radius derived from the charge |θ|²; temperatures checked by the direction"
        " and not by the radius alone."
    ),
    seed=SEED,
    seconds=(5, 20),
    theories=theories,
    measure=measure,
)
