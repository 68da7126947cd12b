"""A published conservation law that does not hold: the sum of a normalised-sigmoid router's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
import xarray as xr

from sde.api.training import train
from sde.reports.figures import COLOURS
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.functions.activations import silu
from symbolic.problem.distributions import Dataset
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import entries
from symbolic.theory import Theory, derive

SEED = 1122
THEOREM, SUMMARY = "arXiv 2606.17816, Theorem 4.7", "arXiv 2606.17816, Theorem 4.5"
router, up, gate, down = (entries(name, (2,)) for name in ("router", "up", "gate", "down"))
x, y = sp.symbols("x y", real=True)
SUM = router.sum()
ONE = {x: [1], y: [0]}
"""One sample, x = 1 and y = 0: the stated point's loss is half the square of what the network puts out."""
SAMPLES = {x: [1.0, -0.5, 1.5, -1.2, 0.7], y: [0.3, 0.4, -0.6, 0.1, 0.9]}
POINT = {
    "router": [0.0, np.log(3)],
    "up": [0.0, 1.0],
    "gate": [1.0, 1.0],
    "down": [0.0, 1 + np.exp(-1)],
}
"""Gates 1/2 and 3/4 before normalising; experts put out 0 and 1 (silu(1) = 1/(1 + exp(-1)))."""
RATE, BATCH, STEPS = 0.02, 1, 2000
SHORT = 1e-4
FINITE_STEP = 0.005
"""Margin for what steps of finite length add to laws of gradient flow, some eta |grad L|^2 t."""


def sigmoid(logits: Sequence[Any]) -> list[Any]:
    """Gates in proportion to logistic functions."""
    raised = [1 / (1 + sp.exp(-z)) for z in logits]
    return [v / sum(raised) for v in raised]


def softmax(logits: Sequence[Any]) -> list[Any]:
    """Gates in proportion to exponentials."""
    raised = [sp.exp(z) for z in logits]
    return [v / sum(raised) for v in raised]


def mixture(gates: Callable[[Sequence[Any]], list[Any]], samples: Mapping[Any, Any], name: str) -> Loss:
    """(sum_i g_i(x) down_i silu(gate_i x) (up_i x) - y)^2/2: two SwiGLU experts of width 1, all of them active."""
    experts = [c * silu(b * x) * a * x for a, b, c in zip(up, gate, down, strict=True)]
    out = sum(g * f for g, f in zip(gates([v * x for v in router]), experts, strict=True))
    parameters = {"router": router, "up": up, "gate": gate, "down": down}
    return Loss((out - y) ** 2 / 2, parameters, Dataset(samples), name=name)


@cache
def theories() -> Mapping[str, Theory]:
    """Of both routers, on the samples of the runs."""
    gates = {"softmax router": softmax, "normalised-sigmoid router": sigmoid}
    return {name: derive(mixture(g, SAMPLES, name)) for name, g in gates.items()}


def exact_drift(gates: Callable[[Sequence[Any]], list[Any]]) -> sp.Expr:
    """d(sum of the router's weights)/dt of gradient flow at the point, as a number without rounding: logits 0 and
    ln 3, experts' outputs 0 and 1."""
    at = {router[0]: 0, router[1]: sp.log(3)}
    slopes = [sp.diff(gates(list(router))[1] ** 2 / 2, v).subs(at) for v in router]
    return sp.nsimplify(sp.simplify(-sp.Add(*slopes)))


def runs(theory: Theory, effort: Effort) -> Mapping[str, xr.Dataset]:
    """SGD and gradient descent from the point, on the samples."""
    seen = {"sum": SUM, "balance": up[1] ** 2 - down[1] ** 2}
    common: dict[str, Any] = {
        "start": POINT,
        "observables": seen,
        "seed": SEED,
        "threads": effort.threads,
        "keep": "paths",
    }
    sgd = SGD(RATE, batch_size=BATCH)
    kept: dict[str, Any] = {"steps": STEPS, "save_at": 41}
    return {
        "SGD": train(theory.loss, sgd, paths=effort(400, 8000), **common, **kept),
        "gradient descent": train(theory.loss, sgd, paths=2, full_batch=True, **common, **kept),
    }


def first_step(effort: Effort) -> float:
    """The same drift by one short step of compiled gradient descent on one sample, all parameters free."""
    common: dict[str, Any] = {
        "observables": {"sum": SUM},
        "keep": "paths",
        "save_at": 2,
        "seed": SEED,
        "threads": effort.threads,
    }
    loss = mixture(sigmoid, ONE, "one sample")
    run = train(loss, SGD(SHORT), start=POINT, steps=1, paths=2, full_batch=True, **common)
    return float(np.diff(run["sum"].values[0])[0] / SHORT)


def measure(effort: Effort) -> Finding:
    """At the point; one step of SGD on the samples; two thousand steps with each router."""
    soft, sigm = theories().values()
    sgd = SGD(RATE, batch_size=BATCH)
    stated = exact_drift(sigmoid)
    there = derive(mixture(sigmoid, ONE, "one sample")).breaking(SUM).at(POINT, sgd)
    published = "no symmetry: a shift of all logits changes the ratio of two logistic functions, and so the gates"
    step = first_step(effort)
    at_point = Row.exact(
        "at the point",
        "normalised sigmoid: Σᵢ Wᵢ of the router stays under gradient flow (its drift at the stated point)",
        step,
        0.0,
        1e-3,
        source=THEOREM,
        expected="refuted",
        reason=published,
    )
    own = "docs/theory.md eq. (3.1)"
    derived = Row.exact(
        "drift, derived",
        f"the drift there is {stated} = {float(stated):g}, in exact arithmetic (the breaking term for the whole loss)",
        there.breaking,
        float(stated),
        1e-12,
        source=own,
    )
    run_there = Row.exact(
        "drift, run",
        f"one step of η = {SHORT:g} of compiled gradient descent moves Σᵢ Wᵢ by {stated} per unit time",
        step,
        float(stated),
        1e-5,
        source=own,
    )
    refused = {"expected": "refuted", "reason": published}
    cases = (("softmax", soft, SUMMARY, {}), ("normalised sigmoid", sigm, THEOREM, refused))
    counts = [
        Row.exact(
            f"count, {word}",
            f"{word}: two balances of experts and the router's Σᵢ Wᵢ are the conservation laws: three (count derived)",
            float(theory.conservation_laws or 0),
            3.0,
            0.5,
            source=place,
            **more,
        )
        for word, theory, place, more in cases
    ]
    effort.tick(0.2)
    found = {"softmax": runs(soft, effort), "normalised sigmoid": runs(sigm, effort)}
    kept: dict[str, Any] = {
        "observables": {"sum": SUM},
        "keep": "paths",
        "save_at": 2,
        "seed": SEED,
        "threads": effort.threads,
    }
    single = train(sigm.loss, sgd, start=POINT, steps=1, paths=effort(20_000, 200_000), **kept)
    begin, ends = float(np.log(3)), {name: run["SGD"]["sum"].values[:, -1] for name, run in found.items()}
    stays = Row.exact(
        "softmax, SGD",
        "softmax: Σᵢ Wᵢ of the router stays on every path of SGD, to rounding (largest change)",
        float(np.abs(ends["softmax"] - begin).max()),
        0.0,
        1e-12,
        source=SUMMARY,
    )
    moved = Row.of_mean(
        "sigmoid, SGD",
        f"normalised sigmoid: Σᵢ Wᵢ of the router stays, up to finite steps (SGD, five samples, t = {RATE * STEPS:g})",
        ends["normalised sigmoid"],
        begin,
        FINITE_STEP,
        source=THEOREM,
        expected="refuted",
        reason=published,
    )
    drift = sigm.breaking(SUM).at(POINT, sgd).drift
    mean = Row.of_mean(
        "sigmoid, first step",
        "normalised sigmoid: Σᵢ Wᵢ sets out under SGD at the derived drift (five samples)",
        np.diff(single["sum"].values)[:, 0] / RATE,
        drift,
        0.02,
        source=own,
    )
    balance = found["normalised sigmoid"]["gradient descent"].balance.values[0]
    experts = Row.exact(
        "experts",
        "normalised sigmoid: the balance up² − down² of an expert stays, up to finite steps (gradient descent)",
        float(balance[-1] - balance[0]),
        0.0,
        FINITE_STEP,
        source=THEOREM,
    )
    wrong = (
        run_there.against(-float(stated), "the sign turned: Σᵢ Wᵢ falls"),
        mean.against(0.0, "the law of softmax for the normalised sigmoid"),
        stays.against(float(stated), "the normalised sigmoid's drift for softmax, per unit time"),
    )
    notes = (
        "Tested is this: with gates σ(Wᵢx)/Σⱼσ(Wⱼx) the conservation laws are those of softmax gates, the SwiGLU"
        " experts' |up|² − |down|² and the sum of the router's weights Σᵢ Wᵢ. The theorem is taken from published"
        " summaries of the paper, which agree on it; its own text was not at hand.",
        f"The stated point: logits 0 and ln 3 at x = 1, so σ = 1/2 and 3/4; experts that put out 0 and 1; loss half the"
        f" squared output. Then g₂ = 3/5, ∂g₂/∂W₁ + ∂g₂/∂W₂ = −3/25 + 3/50, and Σᵢ Wᵢ gains {stated} per unit time.",
        "The theorem's other half holds: the experts' balances are conserved under either router.",
    )
    rows = (at_point, derived, run_there, *counts, stays, moved, mean, experts)
    return Finding(rows=rows, wrong=wrong, notes=notes, figures=_figures(found))


def _figures(found: Mapping[str, Mapping[str, xr.Dataset]]) -> Mapping[str, object]:
    figure, axes = drawing.panels(2)
    for ax, (name, made) in zip(axes, found.items(), strict=True):
        drawing.band(ax, made["SGD"].time.values, made["SGD"]["sum"].values, "SGD", "sgd")
        run = made["gradient descent"]
        ax.plot(run.time.values, run["sum"].values[0], color=COLOURS["gd"], lw=1.2, label="gradient descent")
        drawing.theory(ax, run.time.values[[0, -1]], np.full(2, np.log(3)), "published law")
        drawing.labels(ax, "time t = ηk", "Σᵢ Wᵢ of the router", ylim=(1.08, 1.2), title=name)
    return {"The sum of the router's weights under both gates: mean and 5 to 95 % of paths": figure}


RESULT = Result(
    name="router",
    section="since",
    position=220,
    title="A published law refuted: a normalised-sigmoid router conserves nothing of its own",
    claim=(
        "A mixture of SwiGLU experts is said to have the same conservation laws with a normalised-sigmoid router as"
        " with softmax: the experts' balances, and the sum of the router's weights Σᵢ Wᵢ. Softmax does not see a shift"
        " of all logits; logistic functions divided by their sum do. The law of the sum therefore fails: at logits 0"
        " and ln 3, experts' outputs 0 and 1, and loss f²/2 it drifts at 9/250."
    ),
    source=THEOREM,
    beyond=(
        "The counterexample, exact and run; the whole algebra of both losses: three laws with softmax, two with the"
        " normalised sigmoid, each proved to be all; how fast the published quantity moves under SGD."
    ),
    seed=SEED,
    seconds=(4, 15),
    theories=theories,
    measure=measure,
)
