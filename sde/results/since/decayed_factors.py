"""Weight decay on two factors balances them exponentially under gradient flow; SGD's noise keeps them off balance."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

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

SEED = 1121
OUTPUTS, INPUTS, RANK = 4, 2, 2
TARGET = (2, 1)
FLOW, FLOW_TIME = SGD(5e-4, weight_decay=0.2), 5.0
"""Steps so short that descent is gradient flow within FLOW_MARGIN: what they add is about eta |C| t."""
FLOW_MARGIN = 0.003
NOISY, TIME, SAVES, SETTLED = SGD(0.002, weight_decay=0.004), 400.0, 41, 21
"""From save SETTLED on, six relaxation times have passed."""
MARGIN = 0.05
"""Of ratios: the equilibrium is that of small steps and small weight decay."""
START = {"A": [[1.6, 0.3], [-0.2, 0.9], [0.4, 0.1], [0.1, -0.5]], "B": [[0.5, 0.2], [-0.1, 0.4]]}


@cache
def theories() -> Mapping[str, Theory]:
    """Of |A B'x - M x - e|^2, x and e standard normal: A OUTPUTS x RANK, B INPUTS x RANK."""
    shapes = {"A": (OUTPUTS, RANK), "B": (INPUTS, RANK), "x": (INPUTS,), "e": (OUTPUTS,)}
    a, b, x, e = (entries(name, shape) for name, shape in shapes.items())
    target = np.full((OUTPUTS, INPUTS), sp.S.Zero, dtype=object)
    for k, value in enumerate(TARGET):
        target[k, k] = sp.Integer(value)
    residual = a @ (b.T @ x) - target @ x - e
    loss = Loss(
        sum(r**2 for r in residual),
        {"A": a, "B": b},
        {tuple(x): Normal(0, 1), tuple(e): Normal(0, 1)},
        name="two factors",
    )
    return {"two factors": derive(loss)}


def imbalance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A'A - B'B (..., RANK, RANK)."""
    return np.swapaxes(a, -1, -2) @ a - np.swapaxes(b, -1, -2) @ b


def unpacked(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A and B of a packed point."""
    cut = OUTPUTS * RANK
    return theta[:cut].reshape(OUTPUTS, RANK), theta[cut:].reshape(INPUTS, RANK)


def measure(effort: Effort) -> Finding:
    """Gradient flow with decay; SGD with decay to its end; one step of SGD."""
    theory = theories()["two factors"]
    common: dict[str, Any] = {"start": START, "seed": SEED, "keep": "paths", "threads": effort.threads}
    flow = train(
        theory.loss, FLOW, steps=round(FLOW_TIME / FLOW.learning_rate), paths=2, full_batch=True, save_at=41, **common
    )
    steps, paths = round(TIME / NOISY.learning_rate), effort(64, 512)
    run = train(theory.loss, NOISY, steps=steps, paths=paths, save_at=SAVES, **common)
    effort.tick(0.7)
    descent = train(theory.loss, NOISY, steps=steps, paths=2, full_batch=True, save_at=SAVES, **common)
    one = train(theory.loss, NOISY, steps=1, paths=effort(200_000, 1_000_000), save_at=2, **common)

    along, decay = imbalance(flow.A.values[0], flow.B.values[0]), FLOW.weight_decay
    size = np.linalg.norm(along, axis=(1, 2))
    kept = along * np.exp(2 * decay * flow.time.values)[:, None, None]
    constant = Row.exact(
        "constant",
        f"gradient flow: (AᵀA − BᵀB)·exp(2λt) stays, all entries (largest change up to t = {FLOW_TIME:g}, of its norm)",
        float(np.abs(kept - kept[0]).max() / size[0]),
        0.0,
        FLOW_MARGIN,
    )
    rate = Row.exact(
        "rate",
        f"gradient flow: AᵀA − BᵀB dies out at the rate 2λ (λ = {decay:g})",
        float(np.log(size[0] / size[-1]) / FLOW_TIME),
        2 * decay,
        FLOW_MARGIN / FLOW_TIME,
    )
    charge, at = theory.charges[0], theory.loss.points(START)
    shrunk, first = (
        (1 - NOISY.learning_rate * NOISY.weight_decay) ** 2,
        imbalance(one.A.values, one.B.values)[..., 0, 0],
    )
    added = Row.of_mean(
        "one step",
        "SGD: what one step adds to the first charge beyond its decay by (1 − ηλ)², over what its law says (ratio)",
        (first[:, 1] - shrunk * first[:, 0]) / (charge.increment_at(at, NOISY) + (1 - shrunk) * charge.value(at)),
        1.0,
        MARGIN,
        source="docs/theory.md eq. (3.3), (3.4)",
    )
    end = theory.equilibrium(START, NOISY).relative
    assert end is not None and not end.turns
    predicted = np.linalg.eigvalsh(imbalance(*unpacked(end.theta)))
    ended = np.linalg.eigvalsh(imbalance(run.A.values, run.B.values)[:, SETTLED:].mean(axis=1))
    ends = [
        Row.of_mean(
            f"end, {k}",
            f"SGD with decay λ = {NOISY.weight_decay:g}: the {word} eigenvalue of AᵀA − BᵀB ends off zero, at"
            f" {predicted[k]:.4g} (ratio; mean over time)",
            ended[:, k] / predicted[k],
            1.0,
            MARGIN,
            source="docs/theory.md eq. (5.6)",
        )
        for k, word in enumerate(("smaller", "larger"))
    ]
    gone = np.linalg.norm(imbalance(descent.A.values[0], descent.B.values[0]), axis=(1, 2))
    alone = Row.exact(
        "descent",
        "gradient descent with the same steps and decay: AᵀA − BᵀB falls by exp(−2λt) to the run's end (ratio)",
        float(gone[-1] / gone[0] / np.exp(-2 * NOISY.weight_decay * TIME)),
        1.0,
        MARGIN,
    )
    wrong = (
        rate.against(decay, "the rate is λ: the penalty taken for λ|θ|²/4"),
        ends[1].against(0.0, "weight decay alone: SGD balances the factors"),
        added.against(0.0, "weight decay alone: noise adds nothing"),
    )
    notes = (
        "λ is that of an optimiser, penalty λ(|A|² + |B|²)/2. With A (outputs × rank) and B (inputs × rank) the product"
        f" is ABᵀ, and isotropic noise alone would end at d·AᵀA = o·BᵀB (d = {INPUTS} inputs, o = {OUTPUTS} outputs):"
        " the end lies between that and balance.",
    )
    rows = (constant, rate, alone, added, *ends)
    figures = _figures(flow, kept, run, descent, predicted)
    return Finding(rows=rows, wrong=wrong, notes=notes, figures=figures)


def _figures(
    flow: xr.Dataset, kept: np.ndarray, run: xr.Dataset, descent: xr.Dataset, predicted: np.ndarray
) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    for (i, j), style in {(0, 0): "-", (0, 1): "--", (1, 1): ":"}.items():
        shown = f"({i + 1}, {j + 1})·exp(2λt)"
        left.plot(flow.time.values, kept[:, i, j], style, color=COLOURS["gd"], lw=1.2, label=shown)
        drawing.theory(left, flow.time.values[[0, -1]], np.full(2, kept[0, i, j]), "_", dashes=":")
    drawing.labels(left, "time t", "entries of (AᵀA − BᵀB)·exp(2λt)")
    traces = np.trace(imbalance(run.A.values, run.B.values), axis1=2, axis2=3)
    drawing.band(right, run.time.values, traces, "SGD with decay", "sgd")
    alone = np.trace(imbalance(descent.A.values[0], descent.B.values[0]), axis1=1, axis2=2)
    right.plot(descent.time.values, alone, color=COLOURS["gd"], lw=1.2, label="gradient descent with decay")
    drawing.theory(right, run.time.values[[0, -1]], np.full(2, predicted.sum()))
    drawing.labels(right, "time t = ηk", "Tr(AᵀA − BᵀB)")
    return {"Gradient flow with decay, entry by entry; SGD with decay: mean and 5 to 95 % of paths": figure}


RESULT = Result(
    name="decayed-factors",
    section="since",
    position=210,
    title="Weight decay balances two factors exponentially under gradient flow, and SGD's noise stops it short",
    claim=(
        "With weight decay λ on both factors of ABᵀ, gradient flow makes (AᵀA − BᵀB)·exp(2λt) constant: the factors"
        " balance exponentially, and the penalty becomes that of the nuclear norm. The charge's law under SGD,"
        " dC/dt = −2λC + T·Tr[ΣA], says where noise stops this: at an imbalance that is known before the run."
    ),
    source="arXiv 2410.23819",
    beyond="What SGD's noise adds to the law, in one step and at the end: the balance that is claimed is not reached.",
    seed=SEED,
    seconds=(8, 50),
    theories=theories,
    measure=measure,
)
