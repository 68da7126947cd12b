"""How fast noise balances two layers: rates of many learning rates, widths and batches fall on the predicted one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import sympy as sp

from sde.api.training import train
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import parameters
from symbolic.theory import Theory, derive

SEED, AWAY = 1108, 0.25
"""AWAY: the layers start e^(+-AWAY) from the predicted equilibrium."""
FROM, UNTIL = 0.25, 2.0
"""Times between which a rate is measured, in predicted relaxation times."""
MARGIN = 0.08
"""Of ratios: the labels' noise is all that theory counts, and fluctuations add to it by T Tr Hess L/(2 outputs), 4.5 %
where that is largest; two starts on both sides leave 1 % of curvature."""


class Setting(NamedTuple):
    """One member of the family."""

    learning_rate: float
    width: int
    batch_size: int

    @property
    def sgd(self) -> SGD:
        """The optimiser."""
        return SGD(self.learning_rate, batch_size=self.batch_size)

    def __str__(self) -> str:
        return f"η = {self.learning_rate:g}, width {self.width}, batch {self.batch_size}"


FAMILY = (
    Setting(0.001, 2, 1),
    Setting(0.002, 2, 1),
    Setting(0.004, 2, 1),
    Setting(0.004, 2, 2),
    Setting(0.004, 2, 4),
    Setting(0.002, 1, 1),
    Setting(0.002, 4, 1),
    Setting(0.004, 1, 4),
)


@cache
def loss(width: int) -> Loss:
    """|U W x - (I x + e)|^2, U width x width, W width x 2 width: a layer's width is that of inputs and outputs too."""
    U, W, x, e = parameters(U=(width, width), W=(width, 2 * width), x=(2 * width,), e=(width,))
    residual = U * (W * x) - sp.eye(width).row_join(sp.zeros(width)) * x - e
    data = {x: Normal(0, 1), e: Normal(0, 1)}
    return Loss(residual.dot(residual), {"U": U, "W": W}, data, name=f"linear network of width {width}")


@cache
def theories() -> Mapping[str, Theory]:
    """Of the losses, by width."""
    return {f"width {h}": derive(loss(h)) for h in sorted({s.width for s in FAMILY})}


def predicted(setting: Setting) -> tuple[float, dict[str, np.ndarray]]:
    """The slowest rate per unit of time, and the equilibrium itself."""
    theory, h = theories()[f"width {setting.width}"], setting.width
    found = theory.equilibrium({"U": np.eye(h), "W": np.eye(h, 2 * h)}, setting.sgd).joint
    assert found is not None
    return float(found.rates[0]), theory.loss.unpack(found.theta)


def distance(setting: Setting, effort: Effort) -> tuple[np.ndarray, np.ndarray]:
    """Predicted rate times time (K,), and Tr(U'U - WW') of a path from above the equilibrium less that of one from
    below with the same samples, over what it is at first (paths, K)."""
    rate, rest = predicted(setting)
    theory = theories()[f"width {setting.width}"]
    steps = round(UNTIL / (rate * setting.learning_rate))
    runs = [
        train(
            theory.loss,
            setting.sgd,
            start={"U": np.exp(side) * rest["U"], "W": np.exp(-side) * rest["W"]},
            steps=steps,
            paths=effort(16, 200),
            seed=SEED,
            observables={"C": "sum(U**2) - sum(W**2)"},
            save_at=17,
            keep="paths",
            threads=effort.threads,
        )
        for side in (AWAY, -AWAY)
    ]
    between = np.asarray(runs[0].C.values - runs[1].C.values)
    return rate * np.asarray(runs[0].time.values), between / between[:, :1]


def measure(effort: Effort) -> Finding:
    """Every member of the family from both sides of its equilibrium."""
    curves: dict[Setting, tuple[np.ndarray, np.ndarray]] = {}
    for k, setting in enumerate(FAMILY):
        curves[setting] = distance(setting, effort)
        effort.tick((k + 1) / len(FAMILY))
    ratios = {s: _ratios(*curves[s]) for s in FAMILY}
    rows = {
        s: Row.of_mean(str(s), f"SGD, {s}: measured rate over the predicted one", ratios[s], 1.0, MARGIN)
        for s in FAMILY
    }
    expected = np.log([predicted(s)[0] for s in FAMILY])
    seen = np.log([ratios[s] for s in FAMILY]) + expected[:, None]
    slopes = (expected - expected.mean()) @ seen / np.square(expected - expected.mean()).sum()
    power = Row.of_mean(
        "power",
        f"measured rates are the predicted ones to the power 1, over a factor of {np.exp(np.ptp(expected)):.3g} (slope"
        " of logarithms)",
        slopes,
        1.0,
        0.03,
    )
    wrong = (
        rows[FAMILY[4]].against(4.0, "batches that average nothing: rate ∝ η"),
        rows[FAMILY[6]].against(0.25, "a rate that does not depend on the width"),
        rows[FAMILY[2]].against(0.25, "weight decay's kind of rate, which does not depend on η (from η = 0.001)"),
        power.against(0.5, "rates as the root of the predicted ones, as if charges diffused"),
    )
    return Finding(rows=(*rows.values(), power), wrong=wrong, figures=_figures(curves, ratios, expected))


def _ratios(time: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Measured over predicted rate (paths,). time: in predicted relaxation times (K,); share: (paths, K)."""
    first = int(np.argmin(np.abs(time - FROM)))
    return np.log(share[:, first] / share[:, -1]) / (time[-1] - time[first])


def _figures(
    curves: Mapping[Setting, tuple[np.ndarray, np.ndarray]],
    ratios: Mapping[Setting, np.ndarray],
    expected: np.ndarray,
) -> Mapping[str, object]:
    figure, (left, right) = drawing.panels(2)
    colours, told = {1: "sgd", 2: "sde", 4: "gd"}, set[str]()
    for setting, (time, share) in curves.items():
        rate, colour = predicted(setting)[0], colours[setting.width]
        label = f"width {setting.width}" if colour not in told else ""
        told.add(colour)
        drawing.points(left, time, share.mean(axis=0), label, colour)
        drawing.points(right, np.array([rate]), np.array([rate * ratios[setting].mean()]), "", colour)
    ahead = np.linspace(0, UNTIL, 50)
    drawing.theory(left, ahead, np.exp(-ahead))
    left.set_yscale("log")
    drawing.labels(left, "predicted rate × time", "distance from equilibrium")
    ends = np.exp([expected.min(), expected.max()])
    drawing.theory(right, ends, ends)
    drawing.labels(right, "predicted rate", "measured rate")
    return {"The distance between a path from above and one from below, and the rates: points SGD, line theory": figure}


RESULT = Result(
    name="relaxation-rate",
    section="paper",
    position=80,
    title="Learning rate, width and batch enter the relaxation of a charge by one predicted rate",
    claim=(
        "Near the noise equilibrium the charges of a two-layer linear network relax exponentially, at the rate"
        " T·Tr[Σ(θ*)A²]/|Aθ*|² along a generator A, T = η/S. Learning rate, batch and width enter by nothing else, so"
        " that all runs fall on one curve once time is counted in relaxation times."
    ),
    source="arXiv 2402.07193: the charge's law under noise, here linearised at its equilibrium",
    beyond=(
        "The constant, from the derived equilibrium itself, tested with unequal numbers of inputs and outputs, where"
        " the layers are not balanced in norm; the width enters by the harmonic mean of inputs and outputs."
    ),
    seed=SEED,
    seconds=(9, 16),
    theories=theories,
    measure=measure,
)
