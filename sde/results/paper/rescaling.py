"""Rescaling: from every start SGD goes to one point of its hyperbola, u^2 - w^2 dying out at the rate 4T C_2(uw)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
import xarray as xr

from sde.api.simulation import simulate
from sde.api.training import train
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.library.products import rescaling
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED, RATE, BATCH, TIME = 1102, 0.02, 4, 1200.0
STARTS = np.array([[2.0, 0.3], [0.3, 2.0], [1.6, 1.1], [0.5, 0.4]])
SETTLED, LATE = 10, 30
"""Indices of times, of 61: the product uw is stationary from the first on; the rate is read between the two."""
SOON = 2000
"""Steps of gradient descent, which is at its minimum long before."""
MARGIN = 0.1
"""Of rates over 4T C_2(uw) at the minimum: it leaves out how uw fluctuates about it, of first order in T, and what
mean gradients add at a finite learning rate."""
CLOSE = 0.02
"""Of rates over their averages in the stationary law of uw, which leave out what is of second order."""
KEPT = 0.05
"""Of the charge that gradient descent keeps: of first order in the learning rate."""
PLACE = 0.02
"""Of positions on the orbit, as lambda: what is left of the decay, and the fluctuations' asymmetry."""


@cache
def theories() -> Mapping[str, Theory]:
    """Of the loss."""
    return {"rescaling": derive(rescaling())}


def rate(change: sp.Expr, sgd: SGD, at: float | None = None) -> float:
    """-change/C of u^2 - w^2, a polynomial in v = uw: at one v, or on average over v's stationary law."""
    theory, v = theories()["rescaling"], sp.Symbol("v")
    u, w = theory.loss.theta
    of_product = -sp.cancel(change / theory.charges[0].expression).subs({u: v, w: 1})
    if at is not None:
        return float(of_product.subs(v, at))
    law = theory.stationary_law(sgd)
    return sum(float(c) * float(law.moment(k)) for (k,), c in sp.Poly(of_product, v).terms())


def pairs(run: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """u and w, (paths, times)."""
    return np.asarray(run.u.values), np.asarray(run.w.values)


def rates(run: xr.Dataset) -> np.ndarray:
    """At which each path's |u^2 - w^2| falls, (paths,)."""
    u, w = pairs(run)
    c, t = np.log(np.abs(u**2 - w**2)), np.asarray(run.time.values)
    return (c[:, SETTLED] - c[:, LATE]) / (t[LATE] - t[SETTLED])


def moved(run: xr.Dataset) -> np.ndarray:
    """How far each path has gone along its orbit, u -> e^lambda u, w -> e^-lambda w: lambda (paths, times)."""
    u, w = pairs(run)
    return np.log((u / w) / (u[:, :1] / w[:, :1])) / 2


def measure(effort: Effort) -> Finding:
    """SGD, its SDE and gradient descent, each from every start."""
    theory, sgd, each = theories()["rescaling"], SGD(RATE, batch_size=BATCH), effort(50, 800)
    loss, charge, steps = theory.loss, theory.charges[0], round(TIME / RATE)
    start = np.repeat(STARTS, each, axis=0)
    common = {"paths": len(start), "seed": SEED, "threads": effort.threads, "keep": "paths", "save_at": 61}
    runs = {"SGD": train(loss, sgd, start={"u": start[:, 0], "w": start[:, 1]}, steps=steps, **common)}
    effort.tick(0.5)
    runs["SDE"] = simulate(loss, sgd, start={"u": start[:, 0], "w": start[:, 1]}, time=TIME, **common)
    effort.tick(0.9)
    settings: dict[str, Any] = common | {"paths": len(STARTS), "save_at": SOON + 1}
    descent = train(loss, sgd, start={"u": STARTS[:, 0], "w": STARTS[:, 1]}, steps=SOON, full_batch=True, **settings)
    v = float(np.prod([values[0, -1] for values in pairs(descent)]))
    plain, found = rate(charge.drift(sgd), sgd, v), rates(runs["SGD"]).reshape(len(STARTS), each)
    names = [f"({u:g}, {w:g})" for u, w in STARTS]
    decay = [
        Row.of_mean(
            f"decay from {name}",
            f"SGD from (u, w) = {name}: |u² − w²| dies out at the rate 4T·C₂(v), v = uw at the minimum (ratio)",
            values / plain,
            1.0,
            MARGIN,
        )
        for name, values in zip(names, found, strict=True)
    ]
    places = moved(runs["SGD"])[:, -1].reshape(len(STARTS), each)
    stars = [theory.equilibrium({"u": u, "w": w}, sgd)[0].lambda_star for u, w in STARTS]
    places_rows = [
        Row.of_mean(
            f"end from {name}",
            f"SGD from (u, w) = {name}: its way along the orbit, u → e^λ u, ends at the noise equilibrium λ*",
            values,
            star,
            PLACE,
        )
        for name, values, star in zip(names, places, stars, strict=True)
    ]
    averaged = {
        "SGD": rate(charge.increment(sgd) / sp.Float(sgd.learning_rate), sgd),
        "SDE": rate(charge.drift(sgd), sgd),
    }
    told = {"SGD": "finite step included, ", "SDE": ""}
    means = [
        Row.of_mean(
            f"rate, {name}",
            f"{name}: the rate is that of the drift, {told[name]}averaged over the stationary law of uw (ratio)",
            rates(run) / averaged[name],
            1.0,
            CLOSE,
        )
        for name, run in runs.items()
    ]
    kept = _kept(descent, sgd)
    ends = moved(descent)[:, -1]
    wrong = (
        decay[0].against(0.5, "the rate 2T·C₂: σ² = η/(2S) taken for T"),
        decay[0].against(-1.0, "u² − w² grows: a sign turned in A"),
        places_rows[0].against(float(ends[0]), "SGD ends where gradient descent does"),
        means[0].against(averaged["SDE"] / averaged["SGD"], "SGD without its finite step"),
    )
    figures = _figures(runs["SGD"], descent, (plain, averaged["SGD"]), v)
    return Finding(rows=(*decay, *places_rows, *means, *kept), wrong=wrong, figures=figures)


def _kept(descent: xr.Dataset, sgd: SGD) -> list[Row]:
    """Gradient descent's u^2 - w^2, and what its finite steps take of it, over the start's."""
    (charge,) = theories()["rescaling"].charges
    thetas = np.stack(pairs(descent), axis=-1)
    values = np.asarray(charge.value(thetas))
    shares = values[:, -1] / values[:, 0]
    worst = int(np.argmin(shares))
    taken = sum(charge.terms(theta).mean_form for theta in thetas[worst, :-1]) * sgd.learning_rate**2
    claim = "gradient descent keeps u² − w² (ratio of last to first, the worst of the starts)"
    exact = "what it loses are its finite steps, η²ḡᵀAḡ each (the same ratio)"
    return [
        Row.exact("descent", claim, float(shares[worst]), 1.0, KEPT),
        Row.exact("finite steps", exact, float(shares[worst]), float(1 + taken / values[worst, 0]), 1e-10),
    ]


def _figures(run: xr.Dataset, descent: xr.Dataset, slopes: tuple[float, float], v: float) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    x = np.geomspace(0.2, 2.4, 200)
    drawing.theory(left, x, v / x, "minima")
    u, w = (values.reshape(len(STARTS), -1, len(run.time)) for values in pairs(run))
    (gd_u, gd_w), time = pairs(descent), np.asarray(run.time.values)
    for k in range(len(STARTS)):
        label = "SGD, mean of paths" if k == 0 else None
        left.plot(u[k].mean(axis=0), w[k].mean(axis=0), color=drawing.COLOURS["sgd"], lw=1.5, label=label)
    left.plot(gd_u[:, -1], gd_w[:, -1], "s", ms=4, color=drawing.COLOURS["gd"], label="gradient descent ends")
    left.plot(STARTS[:, 0], STARTS[:, 1], "o", ms=3, color=drawing.COLOURS["gd"], mfc="none", label="starts")
    left.plot([v**0.5], [v**0.5], "*", ms=10, color=drawing.COLOURS["theory"], label="noise equilibrium")
    drawing.labels(left, "u", "w", xlim=(0, 2.4), ylim=(0, 2.4))
    share = np.abs(u[0] ** 2 - w[0] ** 2)
    drawing.band(right, time, share, f"SGD from ({STARTS[0, 0]:g}, {STARTS[0, 1]:g})", "sgd")
    plain, averaged = (share[0, 0] * np.exp(-slope * time) for slope in slopes)
    drawing.theory(right, time, plain, "exp(−4T·C₂(v)·t)")
    drawing.theory(right, time, averaged, "averaged over v's law, finite step", ":")
    ends = np.abs(gd_u[0, [0, -1]] ** 2 - gd_w[0, [0, -1]] ** 2)
    right.plot(time[[0, -1]], ends, color=drawing.COLOURS["gd"], lw=1.2, label="gradient descent")
    drawing.labels(right, "time t = ηk", "|u² − w²|", yscale="log")
    return {"From four starts to one point, and the charge's decay with 5 to 95 % of paths": figure}


RESULT = Result(
    name="rescaling",
    section="paper",
    position=20,
    title="Rescaling: every start ends at one point of its hyperbola, the charge dying out at 4T·C₂(v)",
    claim=(
        "The loss (uwx − y)² is kept by u → cu, w → w/c, and gradient descent keeps u² − w²: where it ends depends on"
        " where it began. Gradient noise takes u² − w² to 0 at the rate 4T·C₂(v), v = uw, 4C₂ the variance of the"
        " gradient in v: SGD ends at u = w, λ* = ½ ln|w/u| along the orbit from any start."
    ),
    source="arXiv 2402.07193, section on rescaling symmetry; 2308.06671",
    beyond=(
        "The rate measured within 2 %: the average over the stationary law of v, with what mean gradients add at a"
        " finite learning rate; each start's λ*; discrete SGD and its SDE apart."
    ),
    seed=SEED,
    seconds=(2, 7),
    theories=theories,
    measure=measure,
)
