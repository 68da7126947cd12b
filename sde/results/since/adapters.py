"""Low-rank adapters B A: the condition number at SGD's noise equilibrium, which is the best only for square ones."""

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

SEED = 1120
RANK, VALUES = 2, (4, 1)
"""Singular values of the adapter, up to a factor that no condition number sees."""
SCALE = 0.5
SHAPES = {"4 inputs, 4 outputs": (4, 4, 2.0), "8 inputs, 2 outputs": (8, 2, 1.0)}
"""Inputs d, outputs o, and c of the start: out of balance for d = o, in balance else."""
SGD_RUN = SGD(0.002)
TIME, SAVES, SETTLED = 300.0, 49, 25
"""From save SETTLED on, some ten relaxation times have passed."""
MARGIN = 0.04
"""Of ratios: paths fluctuate about the minimum by some 2 % of its smaller singular value squared, and steps are
finite."""


def adapter(inputs: int, outputs: int) -> Loss:
    """|B A x - M x - e|^2, x and e standard normal: A RANK x inputs, B outputs x RANK, M of rank RANK."""
    a, b, x, e = (
        entries(name, shape)
        for name, shape in (("A", (RANK, inputs)), ("B", (outputs, RANK)), ("x", (inputs,)), ("e", (outputs,)))
    )
    target = np.full((outputs, inputs), sp.S.Zero, dtype=object)
    for k, value in enumerate(VALUES):
        target[k, k] = sp.nsimplify(SCALE) * value
    residual = b @ (a @ x) - target @ x - e
    data = {tuple(x): Normal(0, 1), tuple(e): Normal(0, 1)}
    name = f"adapter, {inputs} inputs, {outputs} outputs"
    return Loss(sum(r**2 for r in residual), {"A": a, "B": b}, data, name=name)


@cache
def theories() -> Mapping[str, Theory]:
    """Of both shapes."""
    return {name: derive(adapter(d, o)) for name, (d, o, _) in SHAPES.items()}


def factors(inputs: int, outputs: int, c: float) -> dict[str, np.ndarray]:
    """c A and B/c, balanced for c = 1, with B A the target."""
    roots, a, b = np.sqrt(SCALE * np.array(VALUES)), np.zeros((RANK, inputs)), np.zeros((outputs, RANK))
    a[:, :RANK], b[:RANK] = np.diag(roots) * c, np.diag(roots) / c
    return {"A": a, "B": b}


def condition(within: np.ndarray, without: np.ndarray) -> np.ndarray:
    """(sigma_1(A)^2 + sigma_1(B)^2)/min(sigma_r(A)^2, sigma_r(B)^2) of A A' and B' B (..., r, r)."""
    a, b = np.linalg.eigvalsh(within), np.linalg.eigvalsh(without)
    return (a[..., -1] + b[..., -1]) / np.minimum(a[..., 0], b[..., 0])


def grams(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A A' and B' B."""
    return a @ np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2) @ b


def equilibrium(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A A' and B' B at the joint noise equilibrium."""
    inputs, outputs, c = SHAPES[name]
    joint = theories()[name].equilibrium(factors(inputs, outputs, c), SGD_RUN).joint
    assert joint is not None
    a, b = joint.theta[: RANK * inputs], joint.theta[RANK * inputs :]
    return grams(a.reshape(RANK, inputs), b.reshape(outputs, RANK))


def measure(effort: Effort) -> Finding:
    """The published examples; then SGD and gradient descent of both shapes."""
    kappa = {name: float(condition(*equilibrium(name))) for name in SHAPES}
    rows = [
        Row.exact(
            f"example, c = {c}",
            f"singular values (4, 1), A scaled by {c} and B by 1/{c}: condition number {stated:g}",
            float(condition(*grams(*factors(4, 4, c).values()))),
            stated,
            1e-9,
            source="arXiv 2605.31484",
        )
        for c, stated in ((1, 8.0), (2, 68.0), (4, 1028.0))
    ]
    found: dict[str, tuple[xr.Dataset, xr.Dataset]] = {}
    paths = effort(64, 512)
    for k, (name, (inputs, outputs, c)) in enumerate(SHAPES.items()):
        common: dict[str, Any] = {"start": factors(inputs, outputs, c), "steps": round(TIME / SGD_RUN.learning_rate)}
        common |= {"save_at": SAVES, "keep": "paths", "seed": SEED, "threads": effort.threads}
        loss = theories()[name].loss
        descent = train(loss, SGD_RUN, paths=2, full_batch=True, **common)
        found[name] = train(loss, SGD_RUN, paths=paths, **common), descent
        effort.tick((k + 1) / len(SHAPES))
    settled = {name: tuple(g[:, SETTLED:].mean(axis=1) for g in _grams(run)) for name, (run, _) in found.items()}
    ends = {
        name: Row.of_mean(
            f"condition, {name}",
            f"{name}: SGD ends at condition number {kappa[name]:g}, that of the noise equilibrium (ratio; mean Grams)",
            condition(*settled[name]) / kappa[name],
            1.0,
            MARGIN,
        )
        for name in SHAPES
    }
    law = {
        name: Row.of_mean(
            f"law, {name}",
            f"{name}: Tr AAᵀ/Tr BᵀB ends at d/o = {inputs / outputs:g}, as d·BᵀB = o·AAᵀ has it (ratio to that)",
            np.trace(settled[name][0], axis1=1, axis2=2) / np.trace(settled[name][1], axis1=1, axis2=2),
            inputs / outputs,
            MARGIN * inputs / outputs,
        )
        for name, (inputs, outputs, _) in SHAPES.items()
    }
    square, wide = SHAPES
    best = float(condition(*grams(*factors(8, 2, 1.0).values())))
    cost = Row.of_mean(
        "cost",
        f"{wide}: SGD makes the condition number of a balanced start worse, by (1 + d/o)/2 = 2.5",
        condition(*settled[wide]) / best,
        kappa[wide] / best,
        MARGIN * kappa[wide] / best,
    )
    stays = Row.exact(
        "descent",
        f"{square}: gradient descent keeps the condition number of its start at the target, c = 2",
        float(condition(*(g[0, -1] for g in _grams(found[square][1])))),
        68.0,
        1e-6,
    )
    rows += [*ends.values(), *law.values(), cost, stays]
    wrong = (
        ends[wide].against(best / kappa[wide], "SGD balances the factors: BᵀB = AAᵀ"),
        law[wide].against(2 / 8, "inputs and outputs exchanged: o·BᵀB = d·AAᵀ"),
        ends[square].against(68.0 / kappa[square], "SGD keeps the condition number, as gradient descent does"),
    )
    notes = (
        "At d·BᵀB = o·AAᵀ with a given product, A is c times and B 1/c times what balance has, c⁴ = d/o; the condition"
        " number is then (1 + max(d/o, o/d))/2 times that of balance.",
    )
    return Finding(rows=tuple(rows), wrong=wrong, notes=notes, figures=_figures(found, kappa))


def _grams(run: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return grams(run.A.values, run.B.values)


def _figures(found: Mapping[str, tuple[xr.Dataset, xr.Dataset]], kappa: Mapping[str, float]) -> Mapping[str, object]:
    figure, axes = drawing.panels(2)
    for ax, (name, (run, descent)) in zip(axes, found.items(), strict=True):
        drawing.band(ax, run.time.values, condition(*_grams(run)), "SGD", "sgd")
        still = condition(*_grams(descent))[0]
        ax.plot(descent.time.values, still, color=COLOURS["gd"], lw=1.2, label="gradient descent")
        drawing.theory(ax, run.time.values[[0, -1]], np.full(2, kappa[name]), "noise equilibrium")
        drawing.labels(ax, "time t = ηk", "condition number", yscale="log", title=name)
    return {"Condition number of the adapter's factors: mean and 5 to 95 % of paths": figure}


RESULT = Result(
    name="adapters",
    section="since",
    position=200,
    title="SGD conditions a square adapter best, and any other worse than balance by (1 + d/o)/2",
    claim=(
        "An adapter BA of low rank converges at a rate set by (σ₁(A)² + σ₁(B)²)/min(σ_r(A)², σ_r(B)²), which depends on"
        " how the product is split: for singular values (4, 1) scaling A by 1, 2, 4 gives 8, 68, 1028. SGD chooses the"
        " split itself: with isotropic inputs and label noise, d inputs and o outputs, it ends at d·BᵀB = o·AAᵀ. That"
        " is the best-conditioned point only when d = o."
    ),
    source="arXiv 2605.31484; 2402.07193 (noise equilibrium)",
    beyond=(
        "Where SGD goes by itself, without projection: to balance for square adapters, from any start; and for others"
        " away from it, at a cost that is known before the run."
    ),
    seed=SEED,
    seconds=(8, 45),
    theories=theories,
    measure=measure,
)
