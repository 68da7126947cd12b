"""Scale-invariant weights with decay and momentum end at one angle a step, whatever the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import sympy as sp
import xarray as xr

from sde.api.training import train
from sde.results import drawing
from sde.results.direction import linear_in_direction
from sde.results.result import Effort, Finding, Result, Row
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED, RATE, DECAY, MOMENTUM, WEIGHTS = 1117, 0.1, 1e-4, 0.9, 16
ANGLE = float(np.sqrt(2 * RATE * DECAY / (1 + MOMENTUM)))
"""arXiv 2305.17212: 3.244e-3 a step."""
SIGNAL = 160.0
"""Mean gradient at right angles to the least direction, in units of one weight's noise: the direction then relaxes in
(1 - momentum)|theta|^2/(rate * signal), about two steps, well within momentum's memory of ten."""
STEPS, BURNT, PAIRS = 24_000, 12_000, 240
"""|theta|^4 relaxes in 2,500 steps; pairs of steps next to each other are saved from BURNT on."""
MARGIN = 0.02
"""Of ratios: formulas are of first order in the step's angle and in 1 - momentum; a path's radius fluctuates."""
ANGLE_MARGIN = 0.01 * ANGLE
LEAST = np.eye(WEIGHTS)[0]
"""Where runs start too: far from it a strong signal throws the weights out, and decay takes long to fetch them."""


def settings(momentum: float = MOMENTUM) -> SGD:
    """Rate 0.1, decay 1e-4, momentum 0.9."""
    return SGD(RATE, weight_decay=DECAY, momentum=momentum)


@cache
def theories() -> Mapping[str, Theory]:
    """Noise alone, and with a mean gradient."""
    return {
        name: derive(linear_in_direction(WEIGHTS, strength, name))
        for name, strength in (("noise alone", 0.0), ("with a signal", SIGNAL))
    }


@cache
def radius(name: str, momentum: float = MOMENTUM) -> float:
    """|theta|^2 where noise and decay balance, momentum taken for a rate of eta/(1 - momentum)."""
    theory = theories()[name]
    return theory.equilibrium({"w": LEAST}, settings(momentum))[0].value


def observables(name: str) -> Mapping[str, sp.Expr]:
    """E|g|^2 of one sample, at unit radius."""
    charge = theories()[name].charges[0]
    noise, mean = charge.noise.trace(charge.generator[0]), charge.noise.mean_form(charge.generator[0])
    assert noise is not None and mean is not None
    return {"square": charge.expression * (noise + mean)}


def grid() -> np.ndarray:
    """Steps at which paths are saved: some, then pairs of neighbours."""
    first = np.linspace(BURNT, STEPS - 1, PAIRS).astype(int)
    return np.unique(np.concatenate([np.arange(0, BURNT, 400), first, first + 1]))


def moves(run: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Late (angle^2 of a step, its length^2, |theta|^2), each (paths, pairs)."""
    steps, w = grid(), run.w.values
    before = np.flatnonzero(np.diff(steps) == 1)
    one, other = w[:, before], w[:, before + 1]
    size, length = np.sum(one**2, axis=-1), np.sum((other - one) ** 2, axis=-1)
    chord = one / np.linalg.norm(one, axis=-1, keepdims=True) - other / np.linalg.norm(other, axis=-1, keepdims=True)
    return 4 * np.arcsin(np.linalg.norm(chord, axis=-1) / 2) ** 2, length, size


def fourth_power(run: xr.Dataset) -> float:
    """eta E|g|^2/(2 lambda (1 - momentum)), with E|g|^2 at unit radius as it is late in a run."""
    square = run.square.values[:, grid() >= BURNT].mean()
    return float(RATE * square / (2 * DECAY * (1 - MOMENTUM)))


def decoupled(paths: int, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """(rms angle a step, |theta|^4) of late steps of SGD with decoupled decay on noise alone, v <- beta v + g, theta <-
    (1 - eta lambda) theta - eta v, (paths,): a loop of its own, as the package has no decoupled decay."""
    rng = np.random.default_rng(SEED)
    w = LEAST * np.sqrt(radius("noise alone")) * np.ones((paths, 1))
    v, turned, fourth = np.zeros_like(w), np.zeros(paths), np.zeros(paths)
    for step in range(STEPS):
        size = np.sqrt(np.sum(w**2, axis=1, keepdims=True))
        unit = w / size
        x = rng.standard_normal(w.shape)
        v = MOMENTUM * v + (x - np.sum(x * unit, axis=1, keepdims=True) * unit) / size
        w = (1 - RATE * decay) * w - RATE * v
        if step >= BURNT:
            after = w / np.sqrt(np.sum(w**2, axis=1, keepdims=True))
            turned += np.sum((after - unit) ** 2, axis=1)
            fourth += size[:, 0] ** 4
    return np.sqrt(turned / (STEPS - BURNT)), fourth / (STEPS - BURNT)


def measure(effort: Effort) -> Finding:
    """Momentum SGD on noise alone, from half the squared radius, and with a signal; then decoupled decay."""
    paths, runs = effort(64, 512), dict[str, xr.Dataset]()
    for k, (name, theory) in enumerate(theories().items()):
        start = {"w": LEAST * np.sqrt(radius(name) / 2)}
        runs[name] = train(
            theory.loss,
            settings(),
            start=start,
            steps=STEPS,
            paths=paths,
            keep="paths",
            save_at=grid() * RATE,
            observables=observables(name),
            seed=SEED,
            threads=effort.threads,
        )
        effort.tick(0.4 * (k + 1))
    turned, _, size = moves(runs["noise alone"])
    signal_turned, signal_length, signal_size = moves(runs["with a signal"])
    fourth = Row.of_mean(
        "radius",
        "noise alone: |θ|⁴ ends at η E|ĝ|²/(2λ(1 − α)), |ĝ| at unit radius (ratio)",
        (size**2).mean(axis=1) / radius("noise alone") ** 2,
        1.0,
        MARGIN,
    )
    angle = Row.of_mean(
        "angle",
        "noise alone: root mean square angle of a step, √(2ηλ/(1 + α))",
        np.sqrt(turned.mean(axis=1)),
        ANGLE,
        ANGLE_MARGIN,
    )
    signal_angle = Row.of_mean(
        "angle with a signal",
        "with a strong mean gradient: the same angle",
        np.sqrt(signal_turned.mean(axis=1)),
        ANGLE,
        ANGLE_MARGIN,
    )
    law = 2 * RATE * DECAY / (1 + MOMENTUM)
    charge = Row.of_mean(
        "charge's law",
        "with a strong mean gradient: E|Δθ|² = 2ηλ/(1 + α) E|θ|², from the charge's law alone (ratio)",
        signal_length.mean(axis=1) / (law * signal_size.mean()),
        1.0,
        MARGIN,
    )
    formula = {name: fourth_power(run) for name, run in runs.items()}
    signal_fourth = Row.of_mean(
        "radius with a signal",
        "with a strong mean gradient: |θ|⁴ ends at η E|ĝ|²/(2λ(1 − α)) all the same (ratio)",
        (signal_size**2).mean(axis=1) / formula["with a signal"],
        1.0,
        MARGIN,
        expected="refuted",
        reason="the mean gradient is anticorrelated in time: what it adds, it takes back within momentum's memory",
    )
    decay = DECAY / (1 - MOMENTUM)
    own_angle, own_fourth = decoupled(paths, decay)
    apart = (
        Row.of_mean(
            "decoupled, angle",
            f"decoupled decay λ = {decay:g}: angle √(2ηλ(1 − α)/(1 + α))",
            own_angle,
            float(np.sqrt(2 * RATE * decay * (1 - MOMENTUM) / (1 + MOMENTUM))),
            ANGLE_MARGIN,
        ),
        Row.of_mean(
            "decoupled, radius",
            f"decoupled decay λ = {decay:g}: |θ|⁴ ends at η E|ĝ|²/(2λ(1 − α)²) (ratio)",
            own_fourth * 2 * decay * (1 - MOMENTUM) ** 2 / (RATE * (WEIGHTS - 1)),
            1.0,
            MARGIN,
        ),
    )
    wrong = (
        fourth.against((radius("noise alone", 0.0) / radius("noise alone")) ** 2, "momentum leaves the radius alone"),
        angle.against(float(np.sqrt(2 * RATE * DECAY)), "momentum leaves the angle alone"),
        apart[0].against(float(np.sqrt(2 * RATE * decay / (1 + MOMENTUM))), "decoupled decay turns as coupled decay"),
    )
    rows = (fourth, angle, signal_angle, charge, signal_fourth, *apart)
    return Finding(rows=rows, wrong=wrong, figures=_figures(runs, formula))


def _figures(runs: Mapping[str, xr.Dataset], formula: Mapping[str, float]) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    steps = grid()
    for (name, run), colour in zip(runs.items(), ("sgd", "sde"), strict=True):
        drawing.band(left, steps, np.sum(run.w.values**2, axis=-1) ** 2 / formula[name], name, colour)
        late = steps[np.flatnonzero(np.diff(steps) == 1)]
        drawing.band(right, late, np.sqrt(moves(run)[0]) * 1e3, name, colour)
    drawing.theory(left, steps[[0, -1]], np.ones(2))
    drawing.theory(right, np.array([BURNT, STEPS]), np.full(2, ANGLE * 1e3))
    drawing.labels(left, "step", "|θ|⁴ over η E|ĝ|²/(2λ(1 − α))")
    drawing.labels(right, "step", "angle of a step (10⁻³)", ylim=(0, 6))
    return {"Radius and angle of a step: a signal moves one and not the other (mean, 5 to 95 % of paths)": figure}


RESULT = Result(
    name="rotational-equilibrium",
    section="since",
    position=170,
    title="Weight decay sets the angle of every step, whatever the gradient",
    claim=(
        "A scale-invariant weight under SGD with momentum α and decay λ comes to a rotational equilibrium: its size"
        " settles, |θ|⁴ → η E|ĝ|²/(2λ(1 − α)), and every step turns it by √(2ηλ/(1 + α)), 3.244e-3 at rate 0.1, decay"
        " 1e-4 and momentum 0.9."
    ),
    source="arXiv 2305.17212, random-walk model of SGD with momentum",
    beyond=(
        "The angle follows from the charge's own law, η(1 + α)E|v|² = 2λE|θ|² over the stationary distribution, with no"
        " word about how gradients are correlated: it stays right with a strong signal, where the size is another."
    ),
    seed=SEED,
    seconds=(5, 10),
    theories=theories,
    measure=measure,
)
