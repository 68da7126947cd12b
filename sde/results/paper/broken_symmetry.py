"""A symmetry that is broken more and more: what moves its charge, part by part, and for how long the symmetric theory
holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import sympy as sp

from sde.api.training import train
from sde.reports.figures import COLOURS
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.predictions.horizon import BreakingSizes
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED, TIME, SAVES, GROUPS = 1112, 40.0, 801, 20
OPTIMISER = SGD(0.004)
STRENGTHS = (sp.Rational(1, 20), sp.Rational(1, 10), sp.Rational(1, 5))
"""Of the breaking term, beside WEAK, for which the symmetric theory holds for ever."""
WEAK, FRACTION = sp.Rational(1, 100), 0.1
START = {"u": 1.6, "w": 0.625}
U, W = sp.symbols("u w", real=True)
C = U**2 - W**2
DRIFT, DIFFUSION, HORIZON = 0.02, 0.25, 0.4
"""Margins of ratios. Integrals over SGD's steps are taken at every twelfth; finite steps add a spread of η²ĝᵀAĝ, which
first runs of other seeds showed to be some 7 % of the diffusion at ε = 1/10; a horizon takes all terms for frozen at
the start."""


def loss(strength: sp.Expr) -> Loss:
    """(u w x + eps u z - x - e)^2: z reaches the output past w, so that u -> c u, w -> w/c holds for eps = 0 alone."""
    x, z, e = sp.symbols("x z e", real=True)
    data = {x: Normal(0, 1), e: Normal(0, 1)} | ({z: Normal(0, 1)} if strength else {})
    return Loss((U * W * x + strength * U * z - x - e) ** 2, [U, W], data, name=f"broken-{strength}")


@cache
def theories() -> Mapping[str, Theory]:
    """For every strength of the breaking term."""
    return {f"ε = {eps}": derive(loss(eps)) for eps in (sp.S.Zero, WEAK, *STRENGTHS)}


@dataclass(frozen=True)
class Broken:
    """SGD at one strength. charge: (paths, times); parts: integrals of dC's terms along each path, (paths,) by name;
    sizes: of the terms at the start."""

    time: np.ndarray
    charge: np.ndarray
    parts: Mapping[str, np.ndarray]
    sizes: BreakingSizes

    @property
    def change(self) -> np.ndarray:
        return self.charge[:, -1] - self.charge[:, 0]

    @property
    def drift(self) -> np.ndarray:
        """Integrals of all of the drift, (paths,)."""
        return self.parts["breaking"] + self.parts["noise"] + self.parts["finite step"]

    @property
    def martingale(self) -> np.ndarray:
        """What the drift leaves of the change, (paths,)."""
        return self.change - self.drift

    def share(self, name: str) -> float:
        """Of a part in the mean drift."""
        return float(self.parts[name].mean() / self.drift.mean())


def trained(strength: sp.Expr, effort: Effort) -> Broken:
    """SGD from START, with the terms of dC recorded beside it."""
    theory = theories()[f"ε = {strength}"]
    breaking = theory.breaking(C)
    parts = breaking.parts(OPTIMISER)
    form = theory.noise.mean_form(sp.diag(1, -1))
    assert form is not None
    step = OPTIMISER.learning_rate * form
    terms = {"breaking": parts["breaking"], "noise": parts["noise"], "finite": step, "spread": parts["diffusion"]}
    run = train(
        loss(strength),
        OPTIMISER,
        start=START,
        steps=round(TIME / OPTIMISER.learning_rate),
        paths=effort(2000, 8000),
        seed=SEED,
        observables={"C": C, **terms},
        save_at=SAVES,
        keep="paths",
        threads=effort.threads,
    )
    time = run.time.values
    found = {name: np.trapezoid(run[name].values, time, axis=1) for name in terms}
    found["finite step"] = found.pop("finite")
    return Broken(time, run.C.values, found, breaking.at(START, OPTIMISER))


def decomposed(strength: sp.Expr, found: Broken) -> Row:
    """The mean change of C over that of the drift's three parts together."""
    shares = ", ".join(f"{name} {found.share(name):.0%}" for name in found.parts if name != "spread")
    return Row.of_mean(
        f"drift, ε = {strength}",
        f"ε = {strength}: SGD's mean change of C is the integral of its drift ({shares}), ratio",
        1 + found.martingale / found.drift.mean(),
        1.0,
        DRIFT,
    )


def spread(strength: sp.Expr, found: Broken) -> Row:
    """The square of what is no drift, over the integrated diffusion."""
    return Row.of_mean(
        f"diffusion, ε = {strength}",
        f"ε = {strength}: about its drift C spreads as T∇CᵀΣ∇C says (ratio of variances)",
        found.martingale**2 / found.parts["spread"].mean(),
        1.0,
        DIFFUSION,
    )


def deviation(charge: np.ndarray, symmetric: np.ndarray) -> np.ndarray:
    """Mean distance from the symmetric C (times,), plus one standard deviation, over paths (..., paths, times)."""
    return np.abs((charge - symmetric).mean(axis=-2)) + charge.std(axis=-2)


def grouped(found: Broken, symmetric: np.ndarray) -> np.ndarray:
    """The deviation over the size of C, (GROUPS, times)."""
    return deviation(found.charge.reshape(GROUPS, -1, SAVES), symmetric) / found.sizes.size


def horizon(strength: sp.Expr, found: Broken, symmetric: np.ndarray) -> Row:
    """When the deviation reaches its share of the size of C, over the time predicted."""
    times = [np.interp(FRACTION, np.maximum.accumulate(one), found.time) for one in grouped(found, symmetric)]
    predicted = found.sizes.horizon(FRACTION)
    return Row.of_mean(
        f"horizon, ε = {strength}",
        f"ε = {strength}: C leaves the symmetric theory's by a tenth of its size at t = {predicted:.3g} (ratio)",
        np.array(times) / predicted,
        1.0,
        HORIZON,
        unit=f"groups of {len(found.charge) // GROUPS} paths",
    )


def measure(effort: Effort) -> Finding:
    """SGD of the symmetric loss, of one hardly broken and of three that are broken more and more."""
    found = dict[sp.Expr, Broken]()
    for k, strength in enumerate((sp.S.Zero, WEAK, *STRENGTHS)):
        found[strength] = trained(strength, effort)
        effort.tick(0.2 * (k + 1))
    symmetric = found[sp.S.Zero].charge.mean(axis=0)
    rows = [decomposed(strength, one) for strength, one in found.items()]
    rows += [spread(strength, found[strength]) for strength in STRENGTHS[1:]]
    rows += [horizon(strength, found[strength], symmetric) for strength in STRENGTHS]
    weak, most, strongest = found[WEAK], STRENGTHS[-1], found[STRENGTHS[-1]]
    held = Row.of_mean(
        "held",
        f"ε = {WEAK}: the symmetric theory is right to a tenth of C's size for longer than t = {TIME:g}, as the horizon"
        f" is t = {weak.sizes.horizon(FRACTION):.3g}; deviation over size by then",
        grouped(weak, symmetric).max(axis=1),
        weak.sizes.deviation(TIME) / weak.sizes.size,
        (0.0, FRACTION),
        unit=f"groups of {len(weak.charge) // GROUPS} paths",
    )
    alone = replace(
        spread(WEAK, weak),
        expected="refuted",
        reason="SGD's own fluctuation of η²ĝᵀAĝ, which every SDE leaves out, is of the size of so small a diffusion",
    )
    drift, square = rows[len(found) - 1], spread(most, strongest)
    wrong = (
        drift.against(strongest.share("noise"), "the symmetric theory: noise alone moves C"),
        drift.against(1 - strongest.share("breaking") / 2, "a breaking drift of −⟨ḡ, Aθ⟩, half of −⟨∇C, ḡ⟩"),
        square.against(0.25, "a diffusion of TθᵀAΣAθ, as if ∇C were Aθ"),
        rows[-1].against(
            4.0, "a breaking drift that grows as ε, so that the horizon of ε = 1/20 falls to a quarter only"
        ),
    )
    figures = {
        "C under SGD for growing ε, mean and 5 to 95 % of paths, and predicted horizons (dots), left; deviation from"
        " the symmetric theory over the size of C and its forecast with frozen terms, right": _figure(found, symmetric)
    }
    return Finding(rows=(*rows, held, alone), wrong=wrong, figures=figures)


def _figure(found: Mapping[sp.Expr, Broken], symmetric: np.ndarray) -> object:
    figure, (left, right) = drawing.panels(2)
    for (strength, one), colour in zip(found.items(), ("equilibrium", "fourth", "gd", "sgd", "sde"), strict=True):
        drawing.band(left, one.time, one.charge, f"ε = {strength}", colour)
        if strength in STRENGTHS:
            late = one.sizes.horizon(FRACTION)
            left.plot(late, np.interp(late, one.time, one.charge.mean(axis=0)), "o", ms=4, color=COLOURS[colour])
        if strength:
            right.loglog(one.time[1:], deviation(one.charge, symmetric)[1:] / one.sizes.size, color=COLOURS[colour])
            frozen = [one.sizes.deviation(t) / one.sizes.size for t in one.time[1:]]
            right.loglog(one.time[1:], frozen, "--", lw=1, color=COLOURS[colour])
    right.axhline(FRACTION, color=COLOURS["theory"], lw=0.8, ls=":", label="a tenth of the size")
    drawing.labels(left, "time t = ηk", "C = u² − w²")
    drawing.labels(right, "time t = ηk", "deviation over size", ylim=(1e-3, 2.0))
    return figure


RESULT = Result(
    name="broken-symmetry",
    section="paper",
    position=120,
    title="A symmetry broken more and more: each part of the drift is as derived, and so is how long the theory holds",
    claim=(
        "Where a symmetry holds only nearly, its charge still obeys dC = [−⟨∇C, ḡ⟩ + T·Tr[ΣA]]dt + √T ∇CᵀΣ^(1/2)dW:"
        " breaking drift, noise drift and diffusion, whose sizes at one point say for how long the theory of the exact"
        " symmetry describes SGD."
    ),
    source="arXiv 2402.07193, remarks on symmetries that hold only approximately",
    beyond=(
        "The three parts measured apart along SGD for five strengths of the breaking term; a horizon predicted in steps"
        " before the run; the spread that SGD has and no SDE has."
    ),
    seed=SEED,
    seconds=(3, 9),
    theories=theories,
    measure=measure,
)
