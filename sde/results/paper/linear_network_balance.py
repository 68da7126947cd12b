"""Two-layer linear networks: noise balances the layers only where inputs are isotropic and as many as outputs, weight
decay always does; whether noise sharpens or flattens, the covariances of the data decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sde.api.training import train
from sde.results import drawing
from sde.results.linear_network import charge_matrix, linear_network, points
from sde.results.result import ALPHA, Effort, Finding, Result, Row
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED, BATCH, STEEP = 1104, 2, 0.04
"""STEEP: learning rate times the largest curvature."""
SQUARE = np.array([[1.0, 0.2], [-0.1, 0.8]])
WIDE = np.array([[1.0, 0.2, 0.4], [-0.1, 0.8, -0.3]])
INPUTS, LABELS = (0.25, 1.0, 4.0), (1 / 6, 1 / 3, 1.0, 3.0, 6.0)
"""phi_x and phi_e: Cov x = diag(phi_x, 1), Cov e = diag(phi_e, 1)."""
RELAXED, DECAY, DECAYED = 4.5, 0.05, 40.0
"""Relaxation times that SGD has; weight decay, and the time that gradient descent has with it."""
EDGE = STEEP / BATCH
"""Relative change of the sharpness below which a point lies on the boundary of the diagram and is not judged: what is
left out, of first order in eta/S, is about as large."""
EIGENVALUE, SLOPE = 2.5 * EDGE, 0.15
"""Margins: of eigenvalues of U'U - WW', where those of U'U are about 1, and of changes of the sharpness over the
predicted ones. They leave out the same."""


@cache
def network(phi_x: float, phi_e: float, inputs: int = 2) -> Theory:
    """Of the loss with these covariances."""
    spread, labels = np.ones(inputs), np.ones(2)
    spread[0], labels[0] = phi_x**0.5, phi_e**0.5
    return derive(linear_network(SQUARE if inputs == 2 else WIDE, spread, labels))


def theories() -> Mapping[str, Theory]:
    """Of one loss."""
    return {"linear network": network(4.0, 1.0)}


def balanced(target: np.ndarray, ratio: float = 1.0) -> dict[str, np.ndarray]:
    """A minimum with U'U = WW' times ratio^4."""
    left, sizes, right = np.linalg.svd(target, full_matrices=False)
    return {"U": left * np.sqrt(sizes) * ratio, "W": np.sqrt(sizes)[:, None] * right / ratio}


@dataclass(frozen=True)
class Ended:
    """Where SGD ends from the balanced minimum: U'U - WW' of each path in the axes of their mean, the diagonal (paths,
    2), Tr Hess L of the minimum beneath
    each path over the start's, less 1 (paths,), and both as predicted."""

    eigenvalues: np.ndarray
    change: np.ndarray
    known_eigenvalues: np.ndarray
    known_change: float


def ended(theory: Theory, paths: int, effort: Effort, seed: int) -> Ended:
    """Discrete SGD, then gradient descent to the minimum beneath: what lies across the valley does not count."""
    loss = theory.loss
    start = balanced(SQUARE if loss.dimension == 8 else WIDE)
    unit = theory.sharpness(start, SGD(1.0))
    sgd = SGD(STEEP / unit.largest, batch_size=BATCH)
    at_rate = theory.equilibrium(start, sgd)
    end, finite = at_rate.relative, at_rate.finite_step
    assert end is not None and finite is not None
    steps = round(RELAXED / float(end.rates[0]) / sgd.learning_rate)
    common: dict[str, Any] = {"paths": paths, "threads": effort.threads, "keep": "paths"}
    run = train(loss, sgd, start=start, steps=steps, save_at=[steps * sgd.learning_rate], seed=seed, **common)
    last = points(run)[:, -1]
    begin = {p.name: np.asarray(run[p.name].values)[:, -1] for p in loss.parameters}
    slow = SGD(0.1 / unit.largest)
    beneath = train(
        loss,
        slow,
        start=begin,
        steps=3000,
        save_at=[3000 * slow.learning_rate],
        full_batch=True,
        observables={"S": theory.sharpness_expression},
        **common,
    )
    known = theory.sharpness(loss.unpack(finite.theta), sgd).value / unit.value - 1
    each = charge_matrix(loss, last)
    axes = np.linalg.eigh(each.mean(axis=0))[1]
    values = np.einsum("ik,pij,jk->pk", axes, each, axes)
    change = np.asarray(beneath.S.values)[:, -1] / unit.value - 1
    return Ended(values, change, np.round(np.linalg.eigvalsh(charge_matrix(loss, end.theta)), 9) + 0.0, known)


def measure(effort: Effort) -> Finding:
    """SGD on a grid of covariances and on another shape; gradient descent with weight decay."""
    many = effort(96, 480)
    grid = dict[tuple[float, float], Ended]()
    for k, (phi_x, phi_e) in enumerate(covariances := list(product(INPUTS, LABELS))):
        paths = many if phi_e == 1 else effort(24, 120)
        grid[phi_x, phi_e] = ended(network(phi_x, phi_e), paths, effort, SEED + 10000 * k)
        effort.tick(0.9 * (k + 1) / len(covariances))
    wide = ended(network(1.0, 1.0, 3), many, effort, SEED + 200000)
    balance = [
        row
        for phi in INPUTS
        for row in _eigenvalues(f"Cov x = diag({phi:g}, 1)", grid[phi, 1.0], "as many outputs as inputs")
    ]
    shape = _eigenvalues("Cov x = 1, three inputs", wide, "two outputs")
    decided = {at: one for at, one in grid.items() if abs(one.known_change) > EDGE}
    signs = Row.exact(
        "signs",
        f"sharpening or flattening has the predicted sign at all {len(decided)} covariances of the grid that do not lie"
        " on the boundary (number of those where SGD's change has that sign, beyond its error)",
        sum(_sign(one.change, len(decided)) == np.sign(one.known_change) for one in decided.values()),
        len(decided),
        0.5,
    )
    slope = _slope(list(decided.values()))
    largest = [max(decided, key=lambda at: sign * decided[at].known_change) for sign in (1, -1)]
    sizes = [
        Row.of_mean(
            f"most {word}",
            f"Cov x = diag({at[0]:.3g}, 1), Cov ε = diag({at[1]:.3g}, 1): noise {word} the balanced minimum (relative"
            " change of Tr ∇²L over the predicted one)",
            decided[at].change / decided[at].known_change,
            1.0,
            SLOPE,
        )
        for at, word in zip(largest, ("sharpens", "flattens"), strict=True)
    ]
    wrong = (
        slope.against(-1.0, "Tr[HA] with the other sign"),
        balance[-2].against(0.0, "noise balances the layers whatever the covariance of the inputs"),
        shape[0].against(0.0, "isotropic noise balances the layers whatever the shapes"),
    )
    rows = (*balance, *shape, _decayed(effort), signs, slope, *sizes)
    return Finding(rows=rows, wrong=wrong, figures=_figures(grid))


def _eigenvalues(data: str, seen: Ended, shape: str) -> list[Row]:
    return [
        Row.of_mean(
            f"{which} eigenvalue, {data}",
            f"{shape}, {data}, isotropic label noise: {which} eigenvalue of the mean of UᵀU − WWᵀ",
            seen.eigenvalues[:, k],
            seen.known_eigenvalues[k],
            EIGENVALUE,
        )
        for k, which in enumerate(("lower", "upper"))
    ]


def _sign(values: np.ndarray, claims: int) -> float:
    """Of a mean, 0 where it may be either, at ALPHA in all of so many claims."""
    bound = float(stdtrit(len(values) - 1, 1 - ALPHA / (2 * claims))) * values.std(ddof=1) / np.sqrt(len(values))
    return float(np.sign(values.mean())) if abs(values.mean()) > bound else 0.0


def _slope(ends: list[Ended]) -> Row:
    """Of the measured changes over the predicted ones, through 0, all points alike."""
    known = np.array([one.known_change for one in ends])
    weights = known / (known @ known)
    means = np.array([one.change.mean() for one in ends])
    errors = np.array([one.change.std(ddof=1) / np.sqrt(len(one.change)) for one in ends])
    return Row(
        key="slope",
        claim="relative changes of Tr ∇²L over the grid, regressed on the predicted ones (slope)",
        predicted=1.0,
        measured=float(weights @ means),
        error=float(np.sqrt(weights**2 @ errors**2)),
        margin=SLOPE,
        samples=min(len(one.change) for one in ends),
        unit="paths at each",
    )


def _decayed(effort: Effort) -> Row:
    """The rate at which weight decay alone takes U'U - WW' to 0."""
    loss, sgd = network(4.0, 1.0).loss, SGD(0.01, weight_decay=DECAY)
    run = train(
        loss,
        sgd,
        start=balanced(SQUARE, 1.5),
        steps=round(DECAYED / sgd.learning_rate),
        paths=1,
        full_batch=True,
        save_at=2,
        keep="paths",
        threads=effort.threads,
    )
    sizes = np.linalg.norm(charge_matrix(loss, points(run)[0]), axis=(1, 2))
    return Row.exact(
        "weight decay",
        "weight decay λ without noise (gradient descent) balances the layers at Cov x = diag(4, 1) too: |UᵀU − WWᵀ|"
        " falls at the rate 2λ (ratio)",
        float(np.log(sizes[0] / sizes[1]) / (2 * DECAY * DECAYED)),
        1.0,
        0.02,
    )


def _figures(grid: Mapping[tuple[float, float], Ended]) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    most = max(abs(one.known_change) for one in grid.values())
    for sign, colour, word in ((1, "gd", "sharpens"), (-1, "sgd", "flattens")):
        for (phi_x, phi_e), one in grid.items():
            told, seen = np.sign(one.known_change) == sign, np.sign(one.change.mean()) == sign
            size, fill = 4 + 14 * abs(one.known_change) / most, drawing.COLOURS[colour]
            edge = abs(one.known_change) <= EDGE
            if told:
                left.plot(phi_x, phi_e, "o", ms=size, color=fill, mfc="none" if edge else fill, alpha=0.5)
            if seen:
                left.plot(phi_x, phi_e, "^" if sign > 0 else "v", ms=5, color=drawing.COLOURS["theory"])
        left.plot([], [], "o", color=drawing.COLOURS[colour], alpha=0.5, label=f"theory: {word}")
        left.plot([], [], "^" if sign > 0 else "v", color=drawing.COLOURS["theory"], label=f"SGD: {word}")
    drawing.labels(left, "φ_x", "φ_ε", xscale="log", yscale="log", xlim=(0.15, 60))
    for axis, values in ((left.xaxis, INPUTS), (left.yaxis, LABELS)):
        axis.set_ticks(values, labels=[f"{Fraction(value).limit_denominator(9)}" for value in values])
        axis.set_ticks([], minor=True)
    known = np.array([one.known_change for one in grid.values()])
    means = np.array([one.change.mean() for one in grid.values()])
    errors = np.array([3 * one.change.std() / np.sqrt(len(one.change)) for one in grid.values()])
    right.errorbar(known, means, errors, fmt="o", ms=3, color=drawing.COLOURS["sgd"], label="SGD, three errors")
    ends = np.array([known.min(), known.max()])
    drawing.theory(right, ends, ends)
    right.locator_params(axis="x", nbins=5)
    drawing.labels(right, "predicted", "measured")
    return {"Relative change of Tr ∇²L from the balanced minimum, by size of circles; hollow: on the boundary": figure}


RESULT = Result(
    name="linear-network-balance",
    section="paper",
    position=40,
    title="Two-layer linear networks: the data decide balance, and whether noise sharpens or flattens",
    claim=(
        "With label noise SGD ends where UᵀΣ_εU/Tr Σ_ε = WΣ_xWᵀ/Tr Σ_x: with Cov x = diag(φ_x, 1) and isotropic label"
        " noise the layers are balanced, UᵀU = WWᵀ, only at φ_x = 1, and only with as many outputs as inputs. Weight"
        " decay alone balances them always. From the balanced minimum noise raises or lowers Tr ∇²L, progressive"
        " sharpening or flattening, as the covariances of inputs and labels alone decide."
    ),
    source="arXiv 2402.07193, sections on two-layer linear networks and on sharpening and flattening",
    beyond=(
        "Eigenvalues in place of norms; the condition on the shape; a phase diagram over both covariances, with sizes,"
        " at the relative equilibrium that SGD ends in."
    ),
    seed=SEED,
    seconds=(10, 13),
    theories=theories,
    measure=measure,
)
