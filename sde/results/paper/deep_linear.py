"""Deep linear networks, depth 3 to 6: SGD ends with all intermediate layers one number times an orthogonal matrix,
unless the noise makes the weights turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import sympy as sp
import xarray as xr

from sde.api.training import train
from sde.reports.figures import COLOURS
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import entries
from symbolic.theory import Theory, derive

SEED = 1109
DEPTHS, TURNING = (3, 4, 5, 6), 4
TEACHER = np.array([[1.2, 0.6], [-0.6, 0.6]])
SGDS = {"rest": SGD(0.008, batch_size=2), "turn": SGD(0.005), "turn, half": SGD(0.005, batch_size=2)}
TIMES = {"rest": 450.0, "turn": 500.0, "turn, half": 1000.0}
SAVES, LATE, GROUP = 101, 5, 10
"""Times kept, of which the last LATE are averaged over, and paths averaged over."""
SPREAD, RHO = 0.02, 0.03
"""Margins, of a spread and of ratios of sizes: predictions leave out fluctuations about the end, of order T in W'W, and
what is left of the start after some five relaxation times."""


def loss(depth: int, turning: bool = False) -> Loss:
    """|W_L ... W_1 x - V x - e|^2 with all layers 2 x 2; label noise is isotropic unless SGD is to turn."""
    layers = {f"W{k + 1}": entries(f"W{k + 1}", (2, 2)) for k in range(depth)}
    x, e = entries("x", (2,)), entries("e", (2,))
    out = x
    for layer in layers.values():
        out = layer @ out
    target = np.vectorize(sp.nsimplify, otypes=[object])(TEACHER) @ x + e
    half = [sp.Rational(3, 2), sp.Rational(1, 2)]
    inputs, labels = (half, half[::-1]) if turning else ([sp.Rational(5, 4), sp.Rational(3, 4)], 1)
    data = {sp.ImmutableDenseNDimArray(x): Normal(0, inputs), sp.ImmutableDenseNDimArray(e): Normal(0, labels)}
    name = f"deep-linear-{depth}{'-turning' if turning else ''}"
    return Loss(sp.Add(*(r**2 for r in out - target)), layers, data, name=name)


@cache
def theories() -> Mapping[str, Theory]:
    """Of each depth, and of the noise that makes SGD turn."""
    return {f"depth {d}": derive(loss(d)) for d in DEPTHS} | {"turning": derive(loss(TURNING, True))}


def start(depth: int) -> dict[str, np.ndarray]:
    """Unbalanced, away from the minima."""
    draws = np.random.default_rng(SEED).normal(0, 0.25, (depth, 2, 2))
    return {f"W{k + 1}": np.eye(2) * c + draws[k] for k, c in enumerate([1.3, 0.9, 1.0, 0.8, 1.2, 0.9][:depth])}


def minimum(depth: int) -> dict[str, np.ndarray]:
    """A point where L is least: all minima of a depth lie on its orbit, but for signs."""
    return {f"W{k}": np.eye(2) if k < depth else TEACHER for k in range(1, depth + 1)}


def sizes(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of W'W (..., 2, 2): spread (s1 - s2)/(s1 + s2) of the singular values, and their root mean square."""
    small, large = np.moveaxis(np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0)), -1, 0)
    return (large - small) / (large + small), np.sqrt(np.trace(gram, axis1=-2, axis2=-1) / 2)


def predicted(theta: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Spread and size of the intermediate layers at theta."""
    layers = theta.reshape(depth, 2, 2)[1:-1]
    return sizes(np.swapaxes(layers, 1, 2) @ layers)


def grams(run: xr.Dataset, depth: int) -> np.ndarray:
    """W'W of the intermediate layers (layers, groups, times, 2, 2), averaged over the paths of a group: they turn in
    step, and their fluctuations go."""
    values = np.stack([run[f"G{k}"].values for k in range(2, depth)])
    return values.reshape(depth - 2, -1, GROUP, *values.shape[2:]).mean(axis=2)


def ends(run: xr.Dataset, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Spread and size of the intermediate layers at the end (layers, groups)."""
    return sizes(grams(run, depth)[:, :, -LATE:].mean(axis=2))


def trained(name: str, depth: int, effort: Effort, *, descent: bool = False) -> xr.Dataset:
    """A run of one of SGDS from the depth's start, or gradient descent beside it, with every W'W."""
    sgd = SGDS[name]
    return train(
        loss(depth, name != "rest"),
        sgd,
        start=start(depth),
        steps=round(TIMES[name] / sgd.learning_rate),
        paths=GROUP if descent else effort(200, 800),
        seed=SEED,
        observables={f"G{k}": f"W{k}.T@W{k}" for k in range(1, depth + 1)},
        save_at=SAVES,
        keep="paths",
        full_batch=descent,
        threads=effort.threads,
    )


def _row(key: str, claim: str, values: np.ndarray, expected: float, margin: float) -> Row:
    return Row.of_mean(key, claim, values, float(expected), margin, unit=f"groups of {GROUP} paths")


def resting(depth: int, sgd: xr.Dataset, descent: xr.Dataset) -> tuple[list[Row], Row]:
    """Where noise is the same in all labels: SGD's rows, and gradient descent against the same end."""
    joint = theories()[f"depth {depth}"].equilibrium(minimum(depth), SGDS["rest"]).joint
    assert joint is not None and joint.converged
    (spread, size), (still, _), (expected, rho) = ends(sgd, depth), ends(descent, depth), predicted(joint.theta, depth)
    text = f"depth {depth}: the intermediate layers"
    claim = f"{text} end with equal singular values: (σ₁ − σ₂)/(σ₁ + σ₂), the largest of a layer"
    rows = [_row(f"spread, depth {depth}", claim, spread.max(axis=0), round(expected.max(), 12), SPREAD)]
    claim = f"{text} end at the size ρ of the joint equilibrium (ratio)"
    rows.append(_row(f"size, depth {depth}", claim, size.mean(axis=0) / rho.mean(), 1.0, RHO))
    if depth > 3:
        claim = f"{text} end with one ρ, largest over smallest"
        rows.append(_row(f"common, depth {depth}", claim, size.max(axis=0) / size.min(axis=0), 1.0, RHO))
    claim = f"depth {depth}: gradient descent makes the singular values equal too, smallest spread of a layer"
    return rows, Row.exact(f"descent, depth {depth}", claim, float(still.min()), 0.0, SPREAD).against(
        0.0, "the end of SGD, reached without its noise"
    )


def same_noise(sgd: xr.Dataset, depth: int) -> Row:
    """Largest over smallest E|g_i|^2 of the layers, covariances averaged over a group's ends."""
    theta = np.stack([sgd[f"W{k}"].values[:, -1].reshape(-1, 4) for k in range(1, depth + 1)], axis=1)
    sigma = theories()[f"depth {depth}"].sigma(theta.reshape(len(theta), -1))
    layers = np.einsum("nii->ni", sigma).reshape(-1, GROUP, depth, 4).sum(axis=3).mean(axis=1)
    claim = f"depth {depth}: the gradient noise E|gᵢ|² ends the same for all layers, largest over smallest"
    return _row(f"noise, depth {depth}", claim, layers.max(axis=1) / layers.min(axis=1), 1.0, 0.1)


def kept_charges(descent: xr.Dataset, depth: int) -> Row:
    """Largest change of W_i W_i' - W_{i+1}' W_{i+1} under gradient descent, over the size of W_i W_i'."""
    theta = np.concatenate([descent[f"W{k}"].values[0].reshape(SAVES, -1) for k in range(1, depth + 1)], axis=1)
    values = np.stack([charge.value(theta) for charge in theories()[f"depth {depth}"].charges])
    change = np.abs(values[:, -1] - values[:, 0]).max() / np.square(theta[0]).sum() * depth
    claim = f"depth {depth}: gradient descent keeps WᵢWᵢᵀ − Wᵢ₊₁ᵀWᵢ₊₁, largest change over a layer's size"
    return Row.exact("charges", claim, float(change), 0.0, 0.05)


def turning(runs: Sequence[xr.Dataset], end: np.ndarray) -> tuple[list[Row], list[Row]]:
    """Unequal noise in the labels: SGD at T and T/2, extrapolated to T = 0, against the turning end and the claim."""
    (spread, size), (half_spread, half_size) = (ends(run, TURNING) for run in runs)
    spread, size = 2 * half_spread - spread, 2 * half_size - size
    expected, rho = predicted(end, TURNING)
    rows = [
        _row(
            f"turning, layer {k + 2}",
            f"labels of unequal noise: layer {k + 2} of {TURNING} ends with the spread (σ₁ − σ₂)/(σ₁ + σ₂) of the"
            " relative equilibrium",
            spread[k],
            expected[k],
            SPREAD,
        )
        for k in range(TURNING - 2)
    ]
    claim = "labels of unequal noise: ρ of layer 3 over that of layer 2 is that of the relative equilibrium"
    ratio = _row("turning, sizes", claim, size[1] / size[0], rho[1] / rho[0], RHO)
    claim = "labels of unequal noise: every intermediate layer ends as ρ times an orthogonal matrix, spread of layer 3"
    reason = "SGD turns, and rests at no point where all charges' drifts vanish"
    published = replace(rows[-1].against(0.0, reason), key="turning, published", claim=claim)
    return [*rows, ratio, published], [ratio.against(1.0, "one ρ common to all, as where SGD rests", 0.01)]


def measure(effort: Effort) -> Finding:
    """SGD and gradient descent from one unbalanced start a depth; then under noise that makes SGD turn."""
    rows, wrong, pairs = list[Row](), list[Row](), dict[int, tuple[xr.Dataset, xr.Dataset]]()
    for k, depth in enumerate(DEPTHS):
        pairs[depth] = trained("rest", depth, effort), trained("rest", depth, effort, descent=True)
        more, against = resting(depth, *pairs[depth])
        rows, wrong = [*rows, *more], [*wrong, against]
        effort.tick(0.15 * (k + 1))
    singular = np.linalg.svd(TEACHER)[1] ** (1 / DEPTHS[0])
    balanced = "layers balanced as weight decay leaves them, WᵢWᵢᵀ = Wᵢ₊₁ᵀWᵢ₊₁"
    wrong.append(rows[0].against(float((singular[0] - singular[1]) / singular.sum()), balanced))
    rows += [same_noise(pairs[6][0], 6), kept_charges(pairs[6][1], 6)]
    relative = theories()["turning"].equilibrium(minimum(TURNING), SGDS["turn"]).finite_step
    assert relative is not None and relative.turns
    runs = [trained(name, TURNING, effort) for name in ("turn", "turn, half")]
    more, against = turning(runs, relative.theta)
    note = f"Under labels of unequal noise SGD of T = {SGDS['turn'].temperature:g} turns once in {relative.period:.4g}"
    return Finding(
        rows=(*rows, *more),
        wrong=(*wrong, *against),
        figures={
            "How unequal the singular values of intermediate layers are: depth 6 under SGD and gradient descent (left),"
            " depth 4 where unequal noise in the labels makes SGD turn (right)": _figure(pairs[6], runs, relative.theta)
        },
        notes=(f"{note} time units.",),
    )


def _figure(rest: tuple[xr.Dataset, xr.Dataset], turn: Sequence[xr.Dataset], end: np.ndarray) -> object:
    figure, (left, right) = drawing.panels(2)
    for run, name, colour in zip(rest, ("SGD", "gradient descent"), ("sgd", "gd"), strict=True):
        for k, layer in enumerate(sizes(grams(run, 6))[0]):
            label = f"{name}, layers 2 to 5" if k == 0 else None
            left.plot(run.time, layer.mean(axis=0), color=COLOURS[colour], lw=1, label=label)
    drawing.theory(left, rest[0].time.values[[0, -1]], np.zeros(2))
    drawing.labels(left, "time t = ηk", "(σ₁ − σ₂)/(σ₁ + σ₂)")
    for run, alpha, name in zip(turn, (0.45, 1.0), ("T", "T/2"), strict=True):
        layer = sizes(grams(run, TURNING))[0][-1]
        scaled = run.time * (1.0 if name == "T" else 0.5)
        right.plot(scaled, layer.mean(axis=0), color=COLOURS["sgd"], alpha=alpha, lw=1, label=f"SGD at {name}, layer 3")
    edge = turn[0].time.values[[0, -1]]
    drawing.theory(right, edge, np.full(2, predicted(end, TURNING)[0][-1]), "turning end, T → 0")
    drawing.theory(right, edge, np.zeros(2), "ρ times orthogonal", ":")
    drawing.labels(right, "time t = ηk (half of it at T/2)", "(σ₁ − σ₂)/(σ₁ + σ₂)")
    return figure


RESULT = Result(
    name="deep-linear",
    section="paper",
    position=90,
    title="Deep linear networks: every intermediate layer becomes ρ times an orthogonal matrix, unless SGD turns",
    claim=(
        "At the noise equilibrium of a deep linear network W_L…W₁ of square layers every intermediate layer is one"
        " common number ρ times an orthogonal matrix, whatever the teacher and the inputs, and the gradient noise is"
        " the same for all layers. Gradient descent keeps WᵢWᵢᵀ − Wᵢ₊₁ᵀWᵢ₊₁, and so the layers as unequal as"
        " they started."
    ),
    source="arXiv 2402.07193, section on deep linear networks",
    beyond=(
        "The experiment, which the paper has none of, for depths 3 to 6, with the number ρ predicted; and where the"
        " claim ends: with unequal noise in the labels SGD turns for ever, and the intermediate layers keep singular"
        " values and sizes apart, as the relative equilibrium says."
    ),
    seed=SEED,
    seconds=(5, 15),
    theories=theories,
    measure=measure,
)
