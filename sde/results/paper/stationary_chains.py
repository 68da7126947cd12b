"""Stationary distributions of scalar chains: the law below its critical temperature, collapse above it, no critical
temperature for three factors, a power tail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
import xarray as xr

from sde.api.simulation import simulate
from sde.api.training import train
from sde.reports.figures import COLOURS
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.library.products import rescaling
from symbolic.predictions.stationary import StationaryLaw
from symbolic.predictions.stationary.scalar_chains import chain
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED = 1110
COLD, WARM, HOT = 0.2, 0.6, 1.5
"""Temperatures over T_c of two factors: below T_c/3, between T_c/3 and T_c, above T_c."""
TAIL, TAIL_STEP, TAIL_TIME = 0.4, 0.02, 20.0
SHARES = (0.1, 0.5, 0.9)
MASS, RATE, POWER, EXPONENT = 0.03, 0.3, 0.25, 0.4
"""Margins, of shares of paths, of a rate (ratio), of the power at 0 and of the tail's. The law is the SDE's: SGD's
finite steps add terms to it that fall with η, in a first run of another seed 14 % of a rate at T = 1.5 T_c."""
NEAR = (0.02, 0.2)
"""Quantiles between which the density's power at 0 is taken."""
FAR = (0.1, 0.003)
"""Shares of the mass above the two points between which the tail's power is taken."""


def loss(factors: int) -> Loss:
    """(u_0 u_1 ... x - y)^2 with a weak signal, y = x/20 + N(0, 4): T_c = 0.0125, so that SGD's steps are short."""
    parts = [sp.Symbol(f"u{k}", real=True) for k in range(factors)]
    x, e = sp.symbols("x e", real=True)
    return Loss((sp.Mul(*parts) * x - x / 20 - e) ** 2, parts, {x: Normal(0, 1), e: Normal(0, 2)}, name="scalar-chain")


def curved() -> Loss:
    """(u w x)^2 - 2 u w (1 + e): a chain whose curvature is noisier than its slope, so that its tail begins early."""
    u, w, x, e = sp.symbols("u w x e", real=True)
    return Loss(
        (u * w * x) ** 2 - 2 * u * w * (1 + e),
        [u, w],
        {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))},
        name="curved",
    )


@cache
def theories() -> Mapping[str, Theory]:
    """Of chains of two and three factors, and of the one with an early tail."""
    return {"two factors": derive(loss(2)), "three factors": derive(loss(3)), "early tail": derive(curved())}


def critical() -> float:
    """T_c of two factors."""
    return theories()["two factors"].stationary_law(SGD(0.01)).T_c


def law(factors: int, share: float) -> StationaryLaw:
    """At a share of the T_c of two factors."""
    return theories()["two factors" if factors == 2 else "three factors"].stationary_law(SGD(share * critical()))


def growth(temperature: float) -> float:
    """d E log v/dt near v = 0, two factors, by Ito's formula."""
    v = sp.Symbol("v", positive=True)
    drift, diffusion = chain(loss(2)).ito(v, sp.Float(temperature), 0)
    return float(sp.limit(sp.expand(drift / v - diffusion**2 / (2 * v**2)), v, 0))


def run(factors: int, share: float, time: float, begin: float, effort: Effort, *, sde: bool = False) -> np.ndarray:
    """v (paths, late times) of SGD with batches of one, or of its SDE, from factors of one size."""
    sgd, paths = SGD(share * critical()), effort(3000, 24000)
    common: dict[str, Any] = {
        "start": {f"u{k}": begin ** (1 / factors) for k in range(factors)},
        "observables": {"v": "*".join(f"u{k}" for k in range(factors))},
        "paths": paths,
        "seed": SEED,
        "keep": "paths",
        "save_at": 11,
        "threads": effort.threads,
    }
    if sde:
        return _late(simulate(loss(factors), sgd, time=time, check=False, **common))
    return _late(train(loss(factors), sgd, steps=round(time / sgd.learning_rate), **common))


def _late(found: xr.Dataset) -> np.ndarray:
    if found.exploded[-1]:
        raise ValueError(f"no path may be lost here; got {int(found.exploded[-1])}")
    return found.v.values[:, len(found.time) // 2 :]


def masses(label: str, v: np.ndarray, predicted: StationaryLaw, shares: tuple[float, ...] = SHARES) -> list[Row]:
    """Shares of a path's late times below the law's quantiles."""
    return [
        Row.of_mean(
            f"{label}, {share:.0%}",
            f"{label}: mass below the {share:.0%} quantile of the stationary law, v = {predicted.ppf(share):.3g}",
            (v <= predicted.ppf(share)).mean(axis=1),
            share,
            MASS,
        )
        for share in shares
    ]


def power(inner: np.ndarray, outer: np.ndarray, stretch: float, **told: Any) -> Row:
    """The power of a mass in v, from its means over paths at two points a factor e^stretch apart."""
    a, b = inner.mean(), outer.mean()
    error = float(np.std(inner / a - outer / b, ddof=1) / np.sqrt(len(inner)) / abs(stretch))
    return Row(measured=float(np.log(a / b) / stretch), error=error, samples=len(inner), **told)


def at_zero(label: str, v: np.ndarray, predicted: StationaryLaw) -> Row:
    """The power of v of the mass near 0, positive anyway; above 1 where the density vanishes at 0."""
    low, high = (predicted.ppf(q) for q in NEAR)
    stretch = float(np.log(low / high))
    return power(
        (v <= low).mean(axis=1),
        (v <= high).mean(axis=1),
        stretch,
        key=f"{label}, at 0",
        claim=f"{label}: the mass below v goes as v^k near 0, k > 1 where the density vanishes at 0; k between the"
        f" {NEAR[0]:.0%} and {NEAR[1]:.0%} quantiles",
        predicted=float(np.log(NEAR[0] / NEAR[1])) / stretch,
        margin=POWER,
    )


def tail(effort: Effort) -> tuple[np.ndarray, Row]:
    """The SDE of the chain with an early tail, by steps that each path chooses."""
    predicted = theories()["early tail"].stationary_law(SGD(TAIL))
    found = simulate(
        curved(),
        SGD(TAIL),
        start={"u": 0.6, "w": 0.6},
        time=TAIL_TIME,
        dt=TAIL_STEP,
        scheme="adaptive-euler",
        paths=effort(1500, 10000),
        seed=SEED,
        observables={"v": "u*w"},
        keep="paths",
        save_at=41,
        check=False,
        threads=effort.threads,
    )
    v, (near, far) = _late(found), (predicted.isf(q) for q in FAR)
    stretch = float(np.log(near / far))
    row = power(
        (v > near).mean(axis=1),
        (v > far).mean(axis=1),
        stretch,
        key="tail",
        claim=f"SDE of a chain with noisy curvature: the density falls as v^−a, a → 7/2; a from v = {near:.2g} to"
        f" {far:.2g}",
        predicted=1 - float(np.log(FAR[0] / FAR[1])) / stretch,
        margin=EXPONENT,
    )
    return v, replace(row, measured=1 - row.measured)


def exploding(effort: Effort) -> Row:
    """Euler-Maruyama with equal steps where the law is a fine one."""
    found = simulate(
        rescaling(),
        SGD(0.1),
        start={"u": 1.0, "w": 1.0},
        time=60.0,
        dt=0.01,
        paths=effort(600, 4000),
        seed=SEED,
        keep="paths",
        save_at=2,
        check=False,
        warn_share=1.0,
        threads=effort.threads,
    )
    return Row.of_mean(
        "plain Euler",
        "Euler–Maruyama with equal steps follows the SDE of (u·w·x − y)², x ~ N(0, 1), y = x + N(0, 1/4), at T = 0.1:"
        " share of paths lost by t = 60 at dt = 0.01",
        np.isnan(found.u.values[:, -1]).astype(float),
        0.0,
        0.01,
        expected="refuted",
        reason="the noise grows with the square of the state: paths leave every bound",
    )


def measure(effort: Effort) -> Finding:
    """SGD at three temperatures of two factors and at one of three; the SDE where plain steps do and where not."""
    rows, wrong, scale = list[Row](), list[Row](), critical()
    cold, warm = (run(2, share, time, law(2, share).median(), effort) for share, time in ((COLD, 150.0), (WARM, 500.0)))
    effort.tick(0.4)
    flow = run(2, WARM, 500.0, law(2, WARM).median(), effort, sde=True)
    deep = run(3, HOT, 600.0, law(3, HOT).median(), effort)
    effort.tick(0.7)
    labels = {share: f"{n} factors, T = {share:g} T_c" for share, n in ((COLD, 2), (WARM, 2), (HOT, 3))}
    rows += masses(f"SGD, {labels[COLD]}", cold, law(2, COLD))
    rows += masses(f"SGD, {labels[WARM]}", warm, law(2, WARM))
    rows += masses(f"SDE, {labels[WARM]}", flow, law(2, WARM), (0.5,))
    rows += masses(f"SGD, {labels[HOT]}", deep, law(3, HOT))
    wrong.append(rows[1].against(law(2, 2 * COLD).cdf(law(2, COLD).ppf(SHARES[1])), "σ² = η/S in place of η/(2S)"))
    wrong.append(rows[-2].against(1.0, "three factors collapse above the T_c of two"))
    zero = at_zero(f"SGD, {labels[COLD]}", cold, law(2, COLD)), at_zero(f"SGD, {labels[WARM]}", warm, law(2, WARM))
    rows += zero
    wrong.append(zero[1].against(1.0, "the density vanishes at 0 at every temperature below T_c", (1.0, np.inf)))
    for share, begin in ((WARM, 1e-9), (HOT, 1e-4)):
        expected = growth(share * scale)
        rates = _rates(run(2, share, 100.0, begin, effort))
        text = f"SGD near v = 0 at T = {share:g} T_c: log v moves by 4(β₂ − Tα₃) per unit time, {expected:+.3g} (ratio)"
        rows.append(Row.of_mean(f"near 0, T = {share:g} T_c", text, rates / expected, 1.0, RATE))
    plain = growth(0.0) / growth(HOT * scale)
    wrong.append(rows[-1].against(plain, "gradient noise does not move log v: no T_c"))
    effort.tick(0.8)
    far, power_law = tail(effort)
    wrong.append(power_law.against(2.5, "a tail of v^(−5/2), as if the noise did not grow with the factors' size"))
    rows += [power_law, exploding(effort)]
    notes = (f"T_c of two factors is {scale:.5g}; that of three is {law(3, HOT).T_c:g}.",)
    samples = {labels[COLD]: (cold, law(2, COLD)), labels[WARM]: (warm, law(2, WARM)), labels[HOT]: (deep, law(3, HOT))}
    figures = {
        "Stationary densities of log₁₀ v under SGD (bars) and by the law (lines), left; mass above v in the tail,"
        " right": _figure(samples, far)
    }
    return Finding(rows=tuple(rows), wrong=tuple(wrong), figures=figures, notes=notes)


def _rates(v: np.ndarray) -> np.ndarray:
    """Of log |v| between the first and the last time, saves are ten of a run of 100."""
    return (np.log(np.abs(v[:, -1])) - np.log(np.abs(v[:, 0]))) / 50.0


def _figure(samples: Mapping[str, tuple[np.ndarray, StationaryLaw]], far: np.ndarray) -> object:
    figure, (left, right) = drawing.panels(2)
    edges = np.linspace(-7, 0, 71)
    middle = (edges[1:] + edges[:-1]) / 2
    for (label, (v, predicted)), colour in zip(samples.items(), ("sgd", "sde", "gd"), strict=True):
        counts = np.histogram(np.log10(np.maximum(v, 1e-300)), edges)[0] / v.size / np.diff(edges)
        left.stairs(counts, edges, fill=True, color=COLOURS[colour], alpha=0.35, label=label)
        drawing.theory(left, middle, np.diff(predicted.cdf(10**edges)) / np.diff(edges), "", "-")
    drawing.labels(left, "log₁₀ v", "density")
    predicted = theories()["early tail"].stationary_law(SGD(TAIL))
    points = np.geomspace(0.2, 20, 40)
    right.loglog(
        points, [(far > p).mean() for p in points], ".", ms=4, color=COLOURS["sde"], label="SDE, adaptive steps"
    )
    drawing.theory(right, points, predicted.sf(points), "law")
    drawing.theory(right, points[20:], predicted.sf(points[20]) * (points[20:] / points[20]) ** -2.5, "v^(−5/2)", ":")
    drawing.labels(right, "v", "mass above v")
    return figure


RESULT = Result(
    name="stationary-chains",
    section="paper",
    position=100,
    title="Scalar chains settle in the predicted law, collapse above T_c, and with three factors never",
    claim=(
        "For ℓ = (u·w·x − y)² the product v = u·w has the stationary density p ∝ v^(−3/2) C₂(v)^(−1)"
        " exp{−(1/2T)∫(β₁s − β₂)/(s C₂(s)) ds}. It vanishes at 0 only for T < T_c/3, T_c = β₂/α₃; from T_c on all mass"
        " is at 0; its tail is v^(−7/2) at every temperature. With three or more factors there is no T_c."
    ),
    source="arXiv 2308.06671 (law of balance and stationary distribution)",
    beyond=(
        "Discrete SGD against the law's quantiles on both sides of T_c/3 and beyond T_c; the rate of collapse; the tail"
        " seen by steps that each path chooses, where equal steps explode."
    ),
    seed=SEED,
    seconds=(8, 50),
    theories=theories,
    measure=measure,
)
