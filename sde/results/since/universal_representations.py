"""Linear networks of different width and depth become alike under SGD, and not under gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import sympy as sp
import xarray as xr

from sde.api.training import train
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import parameters
from symbolic.theory import Theory, derive

SEED, RATE, BATCH, TIME = 1115, 0.02, 4, 1200.0
TARGET, INPUTS, LABELS = np.array([[1.0, 0.3], [-0.2, 0.7]]), (1.4, 0.7), 0.5
WIDTHS = {"narrow": (2,), "wide": (4,), "deep": (2, 2)}
"""Hidden widths; inputs and outputs are 2 each."""
SPREAD, SAVES, BURNT = 0.6, 61, 40
"""Standard deviation of the starts' weights, saved times, and how many are left out: 800 units of time, of which the
slowest rate, by the theory, makes 5 e-folds."""
NEAR = 0.06
"""Relative: a path's average over 400 units of time still fluctuates, and 1 % of the slowest starts is left."""
ENTRY = 0.04
"""Of entries near 1: as NEAR, and fluctuations beyond first order in eta/S."""


def network(widths: tuple[int, ...], name: str) -> Loss:
    """|W_L ... W_1 x - M x - e|^2 with hidden widths, isotropic labels' noise."""
    sizes = (2, *widths, 2)
    shapes = {f"W{k + 1}": (sizes[k + 1], sizes[k]) for k in range(len(sizes) - 1)}
    *layers, x, e = parameters(**shapes, x=(2,), e=(2,))
    out = x
    for layer in layers:
        out = layer * out
    residual = out - sp.Matrix(TARGET) * x - e
    return Loss(residual.dot(residual), layers, {x: Normal(0, list(INPUTS)), e: Normal(0, LABELS)}, name=name)


@cache
def theories() -> Mapping[str, Theory]:
    """Of the three networks."""
    return {name: derive(network(widths, name)) for name, widths in WIDTHS.items()}


def kernel(weights: np.ndarray) -> np.ndarray:
    """Inner products of what a layer makes of the whitened inputs: Sigma_x^(1/2) W' W Sigma_x^(1/2), (..., 2, 2)."""
    return np.einsum("i,...hi,...hj,j->...ij", INPUTS, weights, weights, INPUTS)


def settled(run: xr.Dataset, layers: int = 1) -> np.ndarray:
    """The kernel behind so many layers, averaged over late times of every path, (paths, 2, 2)."""
    weights = run["W1"].values[:, BURNT:]
    for k in range(2, layers + 1):
        weights = run[f"W{k}"].values[:, BURNT:] @ weights
    return kernel(weights).mean(axis=1)


def predicted(name: str, sgd: SGD) -> np.ndarray:
    """The kernel behind the first layer in which SGD is to end, (2, 2)."""
    theory = theories()[name]
    start = {str(k): v[0] for k, v in starts(name, 1).items()}
    end = theory.equilibrium(start, sgd).finite_step
    assert end is not None and end.converged
    return kernel(theory.loss.unpack(end.theta)["W1"])


def decayed(name: str) -> np.ndarray:
    """The kernel that weight decay without noise would lead to, (2, 2)."""
    theory = theories()[name]
    start = {str(k): v[0] for k, v in starts(name, 1).items()}
    relative = theory.equilibrium(start, SGD(RATE, batch_size=BATCH)).relative
    assert relative is not None
    joint = theory.equilibrium(theory.loss.unpack(relative.theta), SGD(1e-9, weight_decay=0.01)).joint
    assert joint is not None and joint.converged
    return kernel(theory.loss.unpack(joint.theta)["W1"])


def starts(name: str, paths: int) -> dict[str, np.ndarray]:
    """Another random start for every path."""
    rng = np.random.default_rng([SEED, list(WIDTHS).index(name)])
    loss = theories()[name].loss
    rows = [loss.unpack(row) for row in rng.normal(0, SPREAD, (paths, loss.dimension))]
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Relative distance of kernels, path by path."""
    size = np.linalg.norm(one, axis=(-2, -1)) + np.linalg.norm(other, axis=(-2, -1))
    return 2 * np.linalg.norm(one - other, axis=(-2, -1)) / size


def likeness(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosine of the angle between kernels: 1 where representations agree up to rotation and scale."""
    size = np.linalg.norm(one, axis=(-2, -1)) * np.linalg.norm(other, axis=(-2, -1))
    return np.sum(one * other, axis=(-2, -1)) / size


def measure(effort: Effort) -> Finding:
    """Three networks from random starts, by SGD and by gradient descent."""
    paths, sgd, steps = effort(64, 1000), SGD(RATE, batch_size=BATCH), round(TIME / RATE)
    runs, descents = dict[str, xr.Dataset](), dict[str, xr.Dataset]()
    for k, (name, theory) in enumerate(theories().items()):
        common = {"start": starts(name, paths), "paths": paths, "keep": "paths", "threads": effort.threads}
        # seeds apart: with one seed all networks would see the same samples
        runs[name] = train(theory.loss, sgd, steps=steps, save_at=SAVES, seed=SEED + 10_000 * k, **common)
        descents[name] = train(theory.loss, sgd, steps=steps // 4, save_at=SAVES, full_batch=True, **common)
        effort.tick((k + 1) / len(WIDTHS))
    ends = {name: settled(run) for name, run in runs.items()}
    told = {name: predicted(name, sgd) for name in WIDTHS}
    entries = [
        Row.of_mean(
            f"wide, entry {i}{j}",
            f"SGD, width 4: entry ({i}, {j}) of the hidden layer's kernel",
            ends["wide"][:, i, j],
            float(told["wide"][i, j]),
            ENTRY,
        )
        for i, j in ((0, 0), (0, 1), (1, 1))
    ]
    alike = Row.of_mean(
        "widths, SGD", "SGD: kernels of widths 2 and 4 agree (distance)", apart(ends["narrow"], ends["wide"]), 0, NEAR
    )
    unlike = Row.of_mean(
        "widths, descent",
        "gradient descent: kernels of widths 2 and 4 agree (distance)",
        apart(settled(descents["narrow"]), settled(descents["wide"])),
        0.0,
        NEAR,
        expected="refuted",
        reason="gradient descent keeps the charges, so that its kernels tell where it began",
    )
    depth = Row.of_mean(
        "depth, SGD",
        "SGD: kernels of two and three layers agree up to scale (cosine)",
        likeness(ends["wide"], ends["deep"]),
        1.0,
        NEAR**2,
    )
    behind = Row.of_mean(
        "depth, second layer",
        "SGD: both hidden layers of three agree up to scale (cosine)",
        likeness(ends["deep"], settled(runs["deep"], 2)),
        1.0,
        NEAR**2,
    )
    scale = Row.of_mean(
        "depth, scale",
        "SGD: size of the kernel of three layers over that of two",
        np.linalg.norm(ends["deep"], axis=(1, 2)) / np.linalg.norm(ends["wide"].mean(axis=0)),
        float(np.linalg.norm(told["deep"]) / np.linalg.norm(told["wide"])),
        ENTRY,
    )
    wrong = (
        entries[0].against(float(decayed("narrow")[0, 0]), "the layers balance as weight decay makes them: UᵀU = WWᵀ"),
        depth.against(
            float(likeness(settled(descents["wide"]), settled(descents["deep"])).mean()),
            "SGD leaves kernels as unlike as gradient descent does",
        ),
        scale.against(1.0, "depth changes nothing, scale included", 0.01),
    )
    rows = (alike, unlike, *entries, depth, behind, scale)
    return Finding(rows=rows, wrong=wrong, figures=_figures(runs, descents))


def _figures(runs: Mapping[str, xr.Dataset], descents: Mapping[str, xr.Dataset]) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    for label, colour, of in (("SGD", "sgd", runs), ("gradient descent", "gd", descents)):
        one, other, third = (kernel(of[name]["W1"].values) for name in WIDTHS)
        time = of["wide"].time.values
        drawing.band(left, time, apart(one, other), label, colour)
        drawing.band(right, time, likeness(other, third), label, colour)
    for axes, value in ((left, 0.0), (right, 1.0)):
        drawing.theory(axes, runs["wide"].time.values[[0, -1]], np.full(2, value), "theory for SGD")
    drawing.labels(left, "time t = ηk", "distance, widths 2 and 4")
    drawing.labels(right, "time t = ηk", "cosine, two and three layers")
    return {"Kernels of networks from unrelated random starts: mean and 5 to 95 % of pairs": figure}


RESULT = Result(
    name="universal-representations",
    section="since",
    position=150,
    title="Linear networks of different width and depth become alike under SGD, not under gradient descent",
    claim=(
        "Trained by SGD on noisy labels, deep linear networks of any width and depth end with the same representation"
        " of the data up to rotation and scale, though most minima have another: noise alone selects it. Gradient"
        " descent keeps what its start had."
    ),
    source="arXiv 2507.01098, for embedded deep linear networks",
    beyond=(
        "The common kernel itself, with its scale at every depth, predicted entry by entry before the run, at the"
        " learning rate itself; weight decay's representation told apart from it; gradient descent beside it."
    ),
    seed=SEED,
    seconds=(6, 15),
    theories=theories,
    measure=measure,
)
