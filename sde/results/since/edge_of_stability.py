"""Gradient descent with large steps on (uw - 1)^2: every step multiplies u^2 - w^2 by 1 - 4 eta^2 r^2."""

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
from symbolic.functions.numeric import Numeric
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED = 1119
u, w, e = sp.symbols("u w e", real=True)
SEEN = {"C": "u**2 - w**2", "r": "u*w - 1", "sharpness": "sharpness"}
NOISE = sp.Rational(1, 2)
ORBIT_RATE, ORBIT_START, ORBIT_STEPS = 0.55, {"u": 1.2, "w": 0.6}, (60, 160)
"""Above 1/2, where even the balanced minimum is unstable: a 2-cycle. Between these steps ln|C| is a line: the approach
to the cycle is over, and C is far above rounding."""
EDGE_RATE, EDGE_STEPS = 0.4, 600
STEP_RATE = 0.5
NOISY = SGD(0.2, batch_size=4)
NOISY_START = {"u": 1.3, "w": 0.5}
LAW = "docs/theory.md eq. (3.3)"
ROUNDING = 1e-13
"""Of C, relative to its start: some hundred times the error of a sum."""


@cache
def theories() -> Mapping[str, Theory]:
    """Without data, and with noisy labels."""
    noisy = Loss((u * w - 1 - e) ** 2, [u, w], {e: Normal(0, NOISE)}, name="(uw - 1 - e)^2")
    return {"plain": derive(Loss((u * w - 1) ** 2, [u, w], {}, name="(uw - 1)^2")), "noisy": derive(noisy)}


def factor(rate: float) -> Numeric:
    """C_{k+1}/C_k at [u, w], by the charge's law for one step."""
    charge = theories()["plain"].charges[0]
    ratio = sp.cancel(1 + charge.increment(SGD(rate)) / charge.expression)
    return Numeric([ratio], [u, w])


def descend(rate: float, start: Mapping[str, Any], steps: int, paths: int) -> xr.Dataset:
    """Gradient descent, every step kept."""
    common = {"observables": SEEN, "save_at": steps + 1, "keep": "paths", "full_batch": True, "seed": SEED}
    return train(theories()["plain"].loss, SGD(rate), start=start, steps=steps, paths=paths, threads=1, **common)


def cycle(rate: float) -> tuple[float, float]:
    """r = s^2 - 1 on the balanced 2-cycle u = w = s: s' = (1 + 2 eta) s - 2 eta s^3 with both signs of the sum and
    difference of its points gives s_1^2 + s_2^2 = (1 + 2 eta)/(2 eta) and s_1 s_2 = 1/(2 eta)."""
    total, product = (1 + 2 * rate) / (2 * rate), 1 / (2 * rate)
    half = np.sqrt(total**2 / 4 - product**2)
    return total / 2 + half - 1, total / 2 - half - 1


def threshold(scan: xr.Dataset) -> float:
    """eta |r| beyond which one step makes |C| larger, between two starts."""
    at = STEP_RATE * np.abs(scan.r.values[:, 0])
    growth = np.abs(scan.C.values[:, 1] / scan.C.values[:, 0]) - 1
    k = int(np.flatnonzero(growth > 0)[0])
    return float(np.interp(0.0, growth[k - 1 : k + 1], at[k - 1 : k + 1]))


def measure(effort: Effort) -> Finding:
    """The cycle; one step from many starts; many unbalanced starts to their minima; one step of SGD."""
    orbit = descend(ORBIT_RATE, ORBIT_START, max(ORBIT_STEPS), 2)
    points = np.sqrt(1 + 2 * np.linspace(0.5, 0.95, effort(400, 4000)))
    scan = descend(STEP_RATE, {"u": 1.5 * points, "w": points / 1.5}, 1, len(points))
    effort.tick(0.2)
    count = effort(400, 4000)
    tall = np.linspace(1.6, 2.05, count)
    ends = descend(EDGE_RATE, {"u": tall, "w": 1.02 / tall}, EDGE_STEPS, count)
    small = descend(0.001, ORBIT_START, 5000, 2)
    effort.tick(0.6)
    noisy, paths = theories()["noisy"], effort(4000, 100_000)
    kept = {"observables": {"C": SEEN["C"]}, "save_at": 2, "keep": "paths", "threads": effort.threads, "seed": SEED}
    stirred = train(noisy.loss, NOISY, start=NOISY_START, steps=1, paths=paths, **kept)

    predicted = factor(ORBIT_RATE)([orbit.u.values[0, :-1], orbit.w.values[0, :-1]])[0]
    c = orbit.C.values[0]
    exact = Row.exact(
        "every step",
        f"every step multiplies C by 1 − 4η²r² (largest error over {len(c) - 1} steps at η = {ORBIT_RATE:g}, of C₀)",
        float(np.abs(c[1:] - predicted * c[:-1]).max() / abs(c[0])),
        0.0,
        ROUNDING,
        source=LAW,
    )
    first, last = ORBIT_STEPS
    law = [np.log(abs(1 - 4 * ORBIT_RATE**2 * r**2)) for r in cycle(ORBIT_RATE)]
    decay = Row.exact(
        "on the cycle",
        f"at η = {ORBIT_RATE:g} > 1/2 no minimum is stable: on the cycle of two points ln|C| falls by this a step",
        float(np.log(abs(c[last] / c[first])) / (last - first)),
        float(np.mean(law)),
        1e-4,
    )
    limit = Row.exact(
        "threshold",
        "one step makes |C| smaller while η|r| is below this",
        threshold(scan),
        1 / np.sqrt(2),
        1e-4,
        source=LAW,
    )
    begun, ended = (ends.sharpness.values[:, k] for k in (0, -1))
    edge = Row.exact(
        "edge",
        f"from {count} starts at η = {EDGE_RATE:g}, the sharpest with η·sharpness/2 ="
        f" {EDGE_RATE * begun.max() / 2:.2f}, descent ends where η·sharpness/2 is at most 1 (largest)",
        float(EDGE_RATE * ended.max() / 2),
        1.0,
        (0.0, 1.0),
    )
    flow = Row.exact(
        "small steps",
        "with steps of 0.001 C stays (last over first)",
        float(small.C.values[0, -1] / small.C.values[0, 0]),
        1.0,
        0.001,
    )
    ratio = stirred.C.values[:, 1] / stirred.C.values[:, 0]
    charge, at = noisy.charges[0], np.array([NOISY_START["u"], NOISY_START["w"]])
    step = charge.increment_at(at, NOISY) / charge.value(at)
    mean = Row.of_mean(
        "noisy labels",
        "SGD with noisy labels: the mean of C after one step, over C, as the charge's law for a step has it",
        ratio,
        1 + step,
        2e-3,
        source=LAW,
    )
    without = 1 + NOISY.learning_rate * charge.drift_at(at, NOISY) / charge.value(at)
    wrong = (
        decay.against(0.0, "gradient flow's law: C stays"),
        decay.against(float(np.mean(law)) / 2, "1 − 2η²r² a step: half of it"),
        limit.against(0.5, "balance while η|r| < 1/2"),
        edge.against(1.5, "descent stays at the minimum that gradient flow leads to", (1.0, np.inf)),
        mean.against(without, "the SDE of order 1: noise alone moves C"),
    )
    notes = (
        "The factor never has to be small: 1 − 4η²r² < −1 where η|r| > 1/√2, and there a step unbalances the layers."
        " That |C| falls monotonically therefore holds along orbits that keep η|r| below it, as the cycle of two"
        f" points does (η|r| = {', '.join(f'{ORBIT_RATE * abs(r):.3f}' for r in cycle(ORBIT_RATE))}).",
    )
    rows = (exact, decay, limit, edge, flow, mean)
    return Finding(rows=rows, wrong=wrong, notes=notes, figures=_figures(orbit, scan, ends))


def _figures(orbit: xr.Dataset, scan: xr.Dataset, ends: xr.Dataset) -> Mapping[str, object]:
    figure, (left, middle, right) = drawing.panels(3, width=3.4)
    steps = np.arange(len(orbit.time))
    c, path = orbit.C.values[0], (orbit.u.values[0, :-1], orbit.w.values[0, :-1])
    left.semilogy(steps, np.abs(c), color=COLOURS["gd"], label="gradient descent")
    law = np.abs(c[0] * np.cumprod(np.concatenate([[1.0], factor(ORBIT_RATE)(path)[0]])))
    drawing.theory(left, steps, law, "product of 1 − 4η²r²")
    drawing.labels(left, "step k", "|u² − w²|")
    at = STEP_RATE * np.abs(scan.r.values[:, 0])
    middle.plot(at, np.abs(scan.C.values[:, 1] / scan.C.values[:, 0]), color=COLOURS["gd"], label="one step")
    drawing.theory(middle, at, np.abs(1 - 4 * at**2), "|1 − 4η²r²|")
    middle.axvline(1 / np.sqrt(2), color=COLOURS["theory"], lw=0.8, ls=":")
    drawing.labels(middle, "η|r|", "|C′/C|")
    begun, ended = (EDGE_RATE * ends.sharpness.values[:, k] / 2 for k in (0, -1))
    right.plot(begun, ended, ".", ms=2, color=COLOURS["gd"], label="where descent ends")
    drawing.theory(right, begun, np.ones_like(begun), "stable up to here")
    drawing.labels(right, "η·sharpness/2 at the start", "at the end")
    return {
        "Balance at a step size without stable minimum; one step from many starts; sharpness at the end against"
        " the start's": figure
    }


RESULT = Result(
    name="edge-of-stability",
    section="since",
    position=190,
    title="Beyond the edge of stability the layers balance, by a factor that is exact at every step",
    claim=(
        "Gradient flow on deep linear networks keeps the balance of the layers. Beyond the edge of stability gradient"
        " descent oscillates and that law breaks: the gap between the layers decays to zero. On (uw − 1)² one step"
        " gives C′ = C(1 − 4η²r²) exactly, with C = u² − w² and r = uw − 1: the layers balance while η|r| < 1/√2."
    ),
    source="arXiv 2502.20531",
    beyond=(
        "The factor itself, derived from the charge's law for a step; the decay rate on the cycle of two points before"
        " the run; the threshold beyond which a step unbalances; the same law under noisy labels."
    ),
    seed=SEED,
    seconds=(4, 8),
    theories=theories,
    measure=measure,
)
