"""Warmup on rank-1 factorisation: noise balances the layers while the rate is small, and larger ones are survived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
import xarray as xr

from sde.api.training import train
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.predictions.sharpness import Sharpness
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, warmup
from symbolic.problem.parameter import parameters
from symbolic.theory import Theory, derive

SEED, SIZE, STRENGTH, NOISE = 1105, 9, 3, sp.Rational(1, 10)
"""STRENGTH: norm of the matrix that is sought."""
KAIMING = {"U": np.ones(SIZE), "W": np.full((1, SIZE), 1 / 3)}
"""A minimum with the norms of Kaiming's start: |U|^2 = SIZE, as U sees one input, |W|^2 = 1."""
DRAWN = {"Kaiming": {"U": Normal(0, 1), "W": Normal(0, 1 / 3)}}
DRAWN["Xavier"] = {"U": Normal(0, 5**-0.5), "W": Normal(0, 5**-0.5)}
"""Variances 1/inputs and 2/(inputs + outputs) of a layer."""
RATE, TIME = 0.02, 500.0
SETTLED = 0.03
"""Margin of ratios of Tr Hess L: fluctuations lift it by a hundredth."""
NEAR = 0.02
"""Margin of gradient descent's limits, the step of the grid of rates."""
FAR = 0.15
"""Margin of the catapult's factor, which is exact for wide layers only."""
WARM = 3000
"""Steps of a warmup, some ten relaxation times of the balance."""


@cache
def loss() -> Loss:
    """|U W - M - e|^2, M of rank 1, with independent noise e in every entry."""
    U, W, e = parameters(U=(SIZE, 1), W=(1, SIZE), e=(SIZE, SIZE))
    residual = U * W - sp.ones(SIZE, SIZE) * sp.Rational(STRENGTH, SIZE) - e
    return Loss(sp.Add(*(r**2 for r in residual)), {"U": U, "W": W}, {e: Normal(0, NOISE)}, name="rank-1 factorisation")


@cache
def theories() -> Mapping[str, Theory]:
    """Of the loss."""
    return {"rank-1 factorisation": derive(loss())}


@cache
def predicted() -> Sharpness:
    """Sharpness at Kaiming's minimum and at the noise equilibrium that it is led to."""
    return theories()["rank-1 factorisation"].sharpness(KAIMING, SGD(RATE))


def kept_sharpness(charge: np.ndarray) -> np.ndarray:
    """Tr Hess L at the minimum that has a charge |U|^2 - |W|^2, on the orbit of Kaiming's, which that charge tells."""
    grid = np.linspace(-3, 3, 6001)
    U, W = (float(np.square(KAIMING[name]).sum()) for name in ("U", "W"))
    at = np.interp(charge, U * np.exp(2 * grid) - W * np.exp(-2 * grid), grid)
    return predicted().along(0, at)


def curves(effort: Effort) -> dict[str, xr.Dataset]:
    """Tr Hess L and the charge along training, from draws of either start."""
    gentle = SGD(RATE, schedule=warmup(TIME / 5))
    cases: dict[str, tuple[str, SGD, float, dict[str, Any]]] = {
        "SGD, Kaiming": ("Kaiming", SGD(RATE), TIME, {}),
        "SGD, Kaiming, warmup": ("Kaiming", gentle, TIME, {}),
        "SGD, Xavier": ("Xavier", SGD(RATE), TIME, {}),
        "gradient descent, Kaiming": ("Kaiming", SGD(RATE / 10), TIME / 10, {"full_batch": True}),
    }
    found = {}
    for k, (name, (start, sgd, time, more)) in enumerate(cases.items()):
        more |= {"save_at": 101, "observables": {"S": "sharpness", "C": "sum(U**2) - sum(W**2)"}}
        found[name] = _train(sgd, DRAWN[start], round(time / sgd.learning_rate), effort(24, 400), effort, **more)
        effort.tick(0.1 * (k + 1))
    return found


def _train(sgd: SGD, start: Any, steps: int, paths: int, effort: Effort, **more: Any) -> xr.Dataset:
    return train(
        loss(),
        sgd,
        start=start,
        steps=steps,
        paths=paths,
        seed=SEED,
        keep="paths",
        threads=effort.threads,
        warn_share=1.0,
        **{"save_at": 2, **more},
    )


def descent_limit(at: Mapping[str, np.ndarray], limit: float, effort: Effort) -> np.ndarray:
    """Largest rate at which gradient descent goes back to a minimum, over a limit, from points beside it (paths,).

    Few steps from very near: what grows must not yet have been led elsewhere.
    """
    nudge = np.random.default_rng(SEED).normal(0, 1e-8, (8, 2, SIZE))
    start = {name: at[name] + nudge[:, k].reshape(8, *at[name].shape) for k, name in enumerate(("U", "W"))}
    grid = 1 + NEAR * np.arange(-2.5, 3)

    def comes_back(rate: float) -> np.ndarray:
        found = _train(SGD(rate * limit), start, 200, 8, effort, full_batch=True)
        off = np.asarray([[_off(found, path, k) for k in (0, 1)] for path in range(8)])
        return np.array([later < first for first, later in off])

    return _largest(grid, comes_back)


def _off(run: xr.Dataset, path: int, k: int) -> float:
    """|U W - M|, inf where a path is lost."""
    found = np.outer(run.U.values[path, k], run.W.values[path, k]) - STRENGTH / SIZE
    return float(np.linalg.norm(found)) if np.isfinite(found).all() else np.inf


def survived(effort: Effort, grid: np.ndarray, limit: float, warm: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest rate over a limit at which SGD from Kaiming's minimum does not explode (paths,), and the share that
    explodes by rate. warm: steps of a warmup."""
    lost: list[float] = []

    def lives(rate: float) -> np.ndarray:
        sgd = SGD(rate * limit, schedule=warmup(warm * rate * limit) if warm else None)
        found = _train(sgd, KAIMING, warm + 500, effort(24, 400), effort)
        alive = np.isfinite(np.asarray(found.U.values)[:, -1]).sum(axis=1) == SIZE
        lost.append(1 - float(alive.mean()))
        return alive

    return _largest(grid, lives), np.array(lost)


def _largest(grid: np.ndarray, holds: Callable[[float], np.ndarray]) -> np.ndarray:
    """Where each path changes from holding to not holding, on a grid of rates with equal steps (paths,)."""
    step = grid[1] - grid[0]
    return grid[0] - step / 2 + step * np.sum([holds(float(rate)) for rate in grid], axis=0)


def measure(effort: Effort) -> Finding:
    """Training curves; gradient descent's limits; the rates that SGD survives."""
    runs, ahead = curves(effort), predicted().stable()
    rest = predicted().theta_star
    assert rest is not None
    limits = {"start": (KAIMING, ahead.limit), "noise equilibrium": (loss().unpack(rest), ahead.limit_star)}
    descent = {name: descent_limit(at, limit, effort) for name, (at, limit) in limits.items()}
    effort.tick(0.6)
    plain, cold = np.arange(1.6, 2.35, 0.1), np.arange(1.4, 2.15, 0.1)
    without, lost = survived(effort, plain, ahead.limit, 0)
    effort.tick(0.7)
    warm, lost_warm = survived(effort, cold, ahead.limit_star, WARM)
    rows, wrong = _rows(runs, descent, without, warm)
    shares = {"without warmup": (plain * ahead.limit, lost), "with warmup": (cold * ahead.limit_star, lost_warm)}
    return Finding(rows=rows, wrong=wrong, figures=_figures(runs, shares))


def _rows(
    runs: Mapping[str, xr.Dataset], descent: Mapping[str, np.ndarray], without: np.ndarray, warm: np.ndarray
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    star, ahead = predicted().value_star, predicted().stable()
    noisy = [
        Row.of_mean(
            name,
            f"{name}: Tr ∇²L ends at its value at the noise equilibrium (ratio)",
            np.asarray(run.S.values)[:, -25:].mean(axis=1) / star,
            1.0,
            SETTLED,
        )
        for name, run in runs.items()
        if name.startswith("SGD")
    ]
    still = runs["gradient descent, Kaiming"]
    kept = kept_sharpness(np.asarray(still.C.values)[:, 0])
    descended = Row.of_mean(
        "gradient descent, Kaiming",
        "gradient descent, Kaiming: Tr ∇²L ends at its value at the minimum with the start's charge (ratio)",
        np.asarray(still.S.values)[:, -1] / kept,
        1.0,
        SETTLED,
    )
    back = {
        name: Row.exact(
            f"descent's limit, {name}",
            f"gradient descent goes back to the minimum up to the stability limit at the {name} (ratio of rates)",
            float(found.mean()),
            1.0,
            NEAR,
        )
        for name, found in descent.items()
    }
    catapult = Row.of_mean(
        "survived without warmup",
        "SGD without warmup explodes from twice the stability limit at the start on, 4/λ_max (rate over the limit)",
        without,
        2.0,
        FAR,
        source="arXiv 2003.02218: the catapult, for wide layers",
    )
    at_once = catapult.against(
        1.0, "beyond the limit SGD is thrown to a flatter minimum, and explodes from about twice the limit on"
    )
    at_once = replace(
        at_once,
        key="explodes at the limit",
        claim="SGD without warmup explodes from the stability limit at the start on (rate over the limit)",
        source="a limit of gradient descent, taken for one of SGD",
    )
    balanced = Row.of_mean(
        "survived with warmup",
        "SGD with warmup explodes between the limit at the noise equilibrium and twice it (rate over the limit)",
        warm,
        2.0,
        (1.0, 2.0),
    )
    ratio = ahead.limit_star / ahead.limit
    gain = Row.of_mean(
        "gain",
        "warmup raises the largest rate that is survived, at most by the ratio of the limits (ratio of rates)",
        warm * ahead.limit_star / (without * ahead.limit),
        ratio,
        (1.1, ratio),
    )
    wrong = (
        descended.against(float(np.mean(star / kept)), "gradient descent ends at the noise equilibrium as well"),
        back["noise equilibrium"].against(1 / ratio, "the limit at the start holds for ever: balancing gains nothing"),
        gain.against(1.0, "warmup gains nothing", 0.1),
    )
    return (*noisy, descended, *back.values(), catapult, at_once, balanced, gain), wrong


def _figures(
    runs: Mapping[str, xr.Dataset], shares: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    for (name, run), colour in zip(runs.items(), ("sgd", "sde", "third", "gd"), strict=True):
        drawing.band(left, run.time.values, run.S.values, name, colour)
    drawing.theory(left, np.array([0, TIME]), np.full(2, predicted().value_star))
    drawing.labels(left, "time t = ηk", "Tr ∇²L", ylim=(80, 400))
    ahead = predicted().stable()
    for (name, (rates, share)), colour in zip(shares.items(), ("sgd", "sde"), strict=True):
        drawing.points(right, rates, share, f"SGD {name}", colour)
    for limit, dashes, where in ((ahead.limit, "--", "start"), (ahead.limit_star, ":", "noise equilibrium")):
        for times in (1, 2):
            label = f"1 and 2 times the limit, {where}" if times == 1 else ""
            drawing.theory(right, np.full(2, times * limit), np.array([0.0, 1.0]), label, dashes)
    drawing.labels(right, "learning rate η", "share of paths that explode", ylim=(-0.05, 1.7))
    return {"Tr ∇²L along training: mean and 5 to 95 % of draws; the rates at which SGD explodes": figure}


RESULT = Result(
    name="warmup",
    section="paper",
    position=50,
    title="Warmup lets noise balance the layers of a factorisation before the learning rate is large",
    claim=(
        "Kaiming's start leaves the two layers of a rank-1 factorisation unbalanced, where Tr ∇²L is large and the"
        " largest stable learning rate small. SGD's noise balances them, gradient descent does not; Xavier's start is"
        " balanced from the beginning. So a warmup, during which noise does its work, allows rates that are not stable"
        " at the start."
    ),
    source="arXiv 2402.07193: warmup on rank-1 matrix factorisation from Kaiming's and Xavier's starts",
    beyond=(
        "Where Tr ∇²L ends, derived beforehand, for SGD and for gradient descent; the limits measured: 2/λ_max is where"
        " a minimum lets go, but SGD explodes only at about twice that rate, since it is thrown to a flatter minimum"
        " first, so that warmup gains somewhat less than the ratio of the limits."
    ),
    seed=SEED,
    seconds=(14, 30),
    theories=theories,
    measure=measure,
)
