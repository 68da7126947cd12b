"""E f(X_T) to a tolerance: against closed forms, over many seeds, two-sided; the levels' paths; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import erf, exp, log, sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.linalg import expm

from sde import SGD, expectation, simulate
from sde.api import expectations, level_paths
from sde.api.event_functions import EventFunction
from sde.engine import ensemble
from sde.estimators import sample_moments
from symbolic import SDE, Normal
from symbolic.library import LIBRARY

X, Y, s = sp.symbols("X Y s", real=True)
HALF = sp.Rational(1, 2)
GBM = SDE([X], [sp.Rational(3, 4) * X], [[X / 2]], name="gbm")
MARKET = SDE([X], [X / 20], [[X / 5]], name="market")
OU = SDE([X], [-2 * X], [[1]], name="ornstein-uhlenbeck")
CIR = SDE([X], [2 * (1 - X)], [[sp.sqrt(X) / 2]], name="cox-ingersoll-ross")
WELLS = SDE([X], [sp.sin(2 * X)], [[HALF]], name="wells")
TURNING = SDE([X, Y], [X / 2, -Y / 2], [[0, 3 * Y / 4], [3 * X / 4, 0]], name="non-commuting")


def call(strike: float, mu: float, sigma: float) -> float:
    """E (X_1 - K)+ of geometric Brownian motion from 1 (Black and Scholes)."""
    d = (-log(strike) + mu + sigma**2 / 2) / sigma
    return exp(mu) * (1 + erf(d / sqrt(2))) / 2 - strike * (1 + erf((d - sigma) / sqrt(2))) / 2


def from_generator(f: Callable[[np.ndarray], np.ndarray], start: float) -> float:
    """E f(X_1) of WELLS by central differences of its generator on [-4.5, 5.5], and the matrix exponential. Error about
    1e-4."""
    x, h = np.linspace(-4.5, 5.5, 401, retstep=True)
    up, down = np.sin(2 * x) / (2 * h) + 1 / (8 * h * h), -np.sin(2 * x) / (2 * h) + 1 / (8 * h * h)
    up[-1] = down[0] = 0.0
    generator = np.diag(up[:-1], 1) + np.diag(down[1:], -1) - np.diag(up + down)
    return float(np.interp(start, x, expm(generator) @ f(x)))


SQUARES = expm(np.array([[1, 9 / 16], [9 / 16, -1]])) @ np.ones(2)
"""E X_1**2 and E Y_1**2 of TURNING from (1, 1)."""


@dataclass(frozen=True)
class Case:
    sde: SDE
    f: Any
    start: dict[Any, float]
    exact: float
    tolerance: float
    settings: dict[str, Any] = field(default_factory=dict)


CASES = {
    "gbm": Case(GBM, X, {X: 1.0}, exp(0.75), 0.02),
    "gbm-euler": Case(GBM, X, {X: 1.0}, exp(0.75), 0.02, {"scheme": "euler-maruyama"}),
    "gbm-four": Case(GBM, X, {X: 1.0}, exp(0.75), 0.02, {"refine": 4}),
    "market": Case(MARKET, X, {X: 1.0}, exp(0.05), 0.003),
    "square": Case(OU, X**2, {X: 1.5}, 2.25 * exp(-4) + (1 - exp(-4)) / 4, 0.005),
    "square-sra1": Case(OU, X**2, {X: 1.5}, 2.25 * exp(-4) + (1 - exp(-4)) / 4, 0.005, {"scheme": "sra1"}),
    "rate": Case(CIR, X, {X: 1.5}, 1 + exp(-2) / 2, 0.005, {"steps": 4}),
    "call": Case(MARKET, sp.Max(X - 1, 0), {X: 1.0}, call(1, 0.05, 0.2), 0.002),
    "call-euler": Case(MARKET, sp.Max(X - 1, 0), {X: 1.0}, call(1, 0.05, 0.2), 0.002, {"scheme": "euler-maruyama"}),
    "put": Case(GBM, sp.Max(1 - X, 0), {X: 1.0}, call(1, 0.75, 0.5) - exp(0.75) + 1, 0.003),
    "digital": Case(MARKET, sp.Piecewise((1, X > 1), (0, True)), {X: 1.0}, (1 + erf(0.15 / sqrt(2))) / 2, 0.01),
    "turning": Case(TURNING, X + Y, {X: 1.0, Y: 1.0}, exp(0.5) + exp(-0.5), 0.03),
    "turning-square": Case(TURNING, X**2, {X: 1.0, Y: 1.0}, SQUARES[0], 0.05),
    "turning-levy": Case(TURNING, X + Y, {X: 1.0, Y: 1.0}, exp(0.5) + exp(-0.5), 0.03, {"scheme": "milstein-levy:2"}),
    "wells": Case(WELLS, sp.cos(X), {X: 0.2}, from_generator(np.cos, 0.2), 0.005),
}
DEFAULT = ("gbm", "call-euler", "turning")


def run(case: Case, **changes: Any) -> Any:
    settings: dict[str, Any] = {"tolerance": case.tolerance, "start": case.start, "time": 1.0} | case.settings
    return expectation(case.sde, case.f, **settings | changes)


@pytest.mark.parametrize(
    ("name", "seeds"),
    [(name, 20) for name in DEFAULT]
    + [pytest.param("square", 20, marks=pytest.mark.slow)]
    + [pytest.param(name, 100, marks=pytest.mark.slow) for name in CASES],
)
def test_the_error_is_what_was_asked(name: str, seeds: int) -> None:
    """Root mean square over seeds at most the tolerance (chi-square, 4 standard errors), at least 0.4 of it; intervals
    hold the exact value."""
    case = CASES[name]
    found = [run(case, seed=seed) for seed in range(seeds)]
    gaps = np.array([e.value - case.exact for e in found])
    assert 0.4 * case.tolerance < np.sqrt((gaps**2).mean()) < case.tolerance * (1 + 4 / np.sqrt(2 * seeds))
    held = np.mean([low <= case.exact <= high for low, high in (e.interval for e in found)])
    assert held > 0.95 - 4 * np.sqrt(0.95 * 0.05 / seeds)


def milstein_on_gbm(steps: int) -> tuple[float, float]:
    """Bias and variance of the scheme's end: each step multiplies by 1 + mu h + sigma dW + sigma**2 (dW**2 - h)/2."""
    mu, variance, h = 0.75, 0.25, 1 / steps
    mean = (1 + mu * h) ** steps
    return exp(mu) - mean, ((1 + mu * h) ** 2 + variance * h + variance**2 * h * h / 2) ** steps - mean**2


def test_plain_monte_carlos_cost_is_told_right() -> None:
    """Against the scheme's exact bias and variance; and what multilevel takes is a fifth of it at most."""
    found = run(CASES["gbm"], tolerance=0.005)
    costs = {}
    for n in range(50, 1000):
        bias, variance = milstein_on_gbm(n)
        if bias < found.error:
            costs[n] = n * variance / (found.error**2 - bias**2)
    assert found.plain_path_steps == pytest.approx(min(costs.values()), rel=0.4)
    assert found.path_steps < min(costs.values()) / 5 and found.saving > 5
    assert found.decay > 1.05 and found.scheme == "milstein"


@pytest.mark.slow
def test_a_thousandth_at_a_fifth_of_plain_monte_carlos_cost() -> None:
    """Root mean square error over 50 seeds, and a plain run that reaches it: 1024 steps, whose bias and variance are
    measured."""
    found = [run(CASES["gbm"], tolerance=1e-3, seed=seed) for seed in range(50)]
    rmse = np.sqrt(np.mean([(e.value - exp(0.75)) ** 2 for e in found]))
    assert 0.5e-3 < rmse < 1.25e-3
    flow = simulate(GBM, start={X: 1.0}, time=1.0, dt=1 / 1024, paths=200_000, scheme="milstein", save_at=2)
    variance, bias = float(flow.X.sel(statistic="std")[-1]) ** 2, milstein_on_gbm(1024)[0]
    assert float(flow.X.sel(statistic="mean")[-1]) == pytest.approx(exp(0.75) - bias, abs=5 * sqrt(variance / 200_000))
    cost = 1024 * variance / (max(rmse, 1e-3) ** 2 - bias**2)
    assert np.mean([e.path_steps for e in found]) < cost / 5 and np.mean([e.saving for e in found]) > 5


def sampler(sde: SDE = GBM, f: Any = X, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "start": {X: 1.0},
        "time": 1.0,
        "scheme": "milstein",
        "parameters": None,
        "steps": 2,
        "refine": 2,
        "seed": 7,
    }
    settings |= {"dtype": "float64", "threads": None, "bound": None} | changes
    return level_paths.LevelPaths(sde, {"f": EventFunction((f,))}, **settings)


def test_the_first_levels_paths_are_simulates() -> None:
    whole = simulate(
        GBM, start={X: 1.0}, time=1.0, dt=0.5, paths=1000, seed=7, scheme="milstein", save_at=2, keep="paths"
    )
    sample = sampler()
    assert np.array_equal(sample(0, 0, 1000, False)[0], whole.X.values[:, -1])
    assert np.array_equal(sample(0, 437, 300, False)[0], whole.X.values[437:737, -1])


def test_a_level_continues_with_new_paths_and_shares_none() -> None:
    sample = sampler(start={X: Normal(1, sp.Rational(1, 10))})
    whole = np.array(sample(2, 0, 700, True))
    assert np.array_equal(np.hstack([sample(2, 0, 123, True), sample(2, 123, 577, True)]), whole)
    levels = [sample(k, 0, 700, True)[0] for k in (1, 2, 3)]
    assert len(np.unique(levels)) == 2100
    assert np.abs(np.corrcoef(levels)[np.triu_indices(3, 1)]).max() < 5 / sqrt(700)


@pytest.mark.parametrize("refine", [2, 3, 4])
def test_fine_and_coarse_are_of_one_path(refine: int) -> None:
    """dX = dW: the step does not matter. With a drift, they differ by order dt."""
    fine, coarse = sampler(SDE([X], [0], [[1]]), refine=refine)(2, 5, 500, True)
    assert fine == pytest.approx(coarse, abs=1e-13) and np.std(fine) > 0.9
    fine, coarse = sampler(refine=refine)(2, 5, 500, True)
    assert 0 < np.std(fine - coarse) < 0.2 * np.std(fine)


def test_levels_agree_on_what_they_estimate() -> None:
    """Level 2's coarse f has the law of level 1's fine one: means and variances within 5 standard errors."""
    sample = sampler()
    (one, _), (_, two) = sample(1, 0, 40_000, True), sample(2, 0, 40_000, True)
    low, high = sample_moments.Moments.of(one), sample_moments.Moments.of(two)
    assert abs(low.mean - high.mean) < 5 * np.hypot(low.sem, high.sem)
    assert abs(low.variance / high.variance - 1) < 5 * np.hypot(low.variance_error, high.variance_error)


def test_one_program_serves_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, load = [], level_paths.load
    monkeypatch.setattr(level_paths, "load", lambda text, manifest: (texts.append(text), load(text, manifest))[1])
    assert len(run(CASES["gbm"]).levels) > 5 and len(texts) == 1


def same(one: Any, other: Any) -> bool:
    """But for the seconds, which no two runs share; NaN equals itself."""
    left, right = ({**vars(e), "seconds": 0.0, "levels": None} for e in (one, other))
    tables = ([list(row.values()) for row in e.table] for e in (one, other))
    return left == right and np.array_equal(*tables, equal_nan=True)


def test_threads_do_not_matter_and_seeds_do() -> None:
    found = run(CASES["call"])
    assert same(found, run(CASES["call"], threads=1)) and same(found, run(CASES["call"], threads=3))
    assert not same(found, run(CASES["call"], seed=1))


def test_what_it_reports(tmp_path: Path) -> None:
    found = run(CASES["gbm"])
    text = str(found)
    assert (
        text.startswith("E[X] at time 1 of gbm (scalar noise), milstein\n")
        and f"{found.value:.6g} ± {found.error:.1e}" in text
    )
    assert len(text.splitlines()) == 6 + len(found.levels) and f"{found.saving:.3g} times as many" in text
    assert found.error == pytest.approx(np.hypot(found.sem, found.bias)) and found.error < 1.02 * 0.02
    assert found.table[0]["dt"] == found.levels[0].dt and [row["paths"] for row in found.table] == [
        v.paths for v in found.levels
    ]
    for name in ("plot.png", "plot.svg"):
        assert found.plot(tmp_path / name).stat().st_size > 1000


@pytest.mark.parametrize(
    ("sde", "scheme"),
    [
        (GBM, "milstein"),
        (OU, "milstein"),
        (TURNING, "euler-maruyama"),
        (SDE([X], [X], [[X]], "stratonovich"), "heun"),
    ],
)
def test_the_scheme_follows_from_the_noise(sde: SDE, scheme: str) -> None:
    assert expectations._default(sde) == scheme


def test_start_laws_parameters_and_time() -> None:
    """E X_1 = E X_0 exp(int mu + cos s ds); f with a parameter and the time of its own."""
    mu, k = sp.symbols("mu k", real=True)
    sde = SDE([X], [(mu + sp.cos(s)) * X], [[X / 5]], parameters=[mu, k], time=s, name="driven")
    found = expectation(
        sde, k * X + s, tolerance=0.01, start={X: Normal(2, HALF)}, time=1.0, parameters={"mu": 0.25, k: 0.5}, steps=2
    )
    assert found.value == pytest.approx(exp(0.25 + np.sin(1)) + 1, abs=4 * found.error)


def test_a_stratonovich_equation() -> None:
    found = expectation(SDE([X], [0], [[X / 2]], "stratonovich"), X, tolerance=0.01, start={X: 1.0}, time=1.0)
    assert found.scheme == "heun" and found.value == pytest.approx(exp(1 / 8), abs=4 * found.error)


def test_single_precision() -> None:
    found = run(CASES["gbm"], dtype="float32")
    assert found.value == pytest.approx(exp(0.75), abs=4 * found.error)
    with pytest.raises(ValueError, match="must be well above the rounding of the steps, about .*; got 1e-06"):
        run(CASES["market"], dtype="float32", tolerance=1e-6)


def test_coarse_paths_of_their_own_are_seen_in_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    coupled, ends = run(CASES["call"], tolerance=0.004), level_paths.LevelPaths._final_states
    monkeypatch.setattr(
        level_paths.LevelPaths,
        "_final_states",
        lambda self, level, at, first, n: ends(self, level, at, first + (at < level) * 2**30, n),
    )
    loose = run(CASES["call"], tolerance=0.004)
    assert loose.path_steps > 3 * coupled.path_steps


def test_coarse_steps_of_the_wrong_length_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Level l's coarse steps twice too long: the sum does not telescope, and the levels say so."""
    ends = level_paths.LevelPaths._final_states
    monkeypatch.setattr(
        level_paths.LevelPaths,
        "_final_states",
        lambda self, level, at, first, n: ends(self, level, at - (1 if 0 < at < level else 0), first, n),
    )
    with pytest.raises(ValueError, match="levels must agree on E f at .* standard errors apart"):
        run(CASES["gbm"], tolerance=0.005)


def test_exploded_paths_are_never_averaged() -> None:
    steep = SDE([X], [-100 * X**3], [[1]], name="steep")
    with pytest.raises(
        ValueError,
        match=(
            r"no path may explode; got 1000 of 1000 .* on level 0 at dt = 0.125 with milstein, the first path 0 at time"
            r" .* \(X = "
        ),
    ):
        expectation(steep, X, tolerance=0.1, start={X: 5.0}, time=1.0, steps=8, levels=3)


def test_f_must_be_a_number_on_every_path() -> None:
    with pytest.raises(
        ValueError,
        match=r"expectation.f: must be finite; got nan \(float\) on path \d+ and \d+ others on level 0 at dt = 1",
    ):
        expectation(OU, sp.sqrt(X), tolerance=0.1, start={X: 0.1}, time=1.0, steps=1)


def test_an_interrupted_run_is_not_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "run", lambda *arguments: SimpleNamespace(interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        run(CASES["gbm"])


def test_a_problem_without_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="f must vary for its mean to have an error; got 1 "):
        expectation(OU, sp.Integer(1), tolerance=0.1, start={X: 0.1}, time=1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sde": "gbm"}, "expectation: needs an SDE; got 'gbm'"),
        ({"f": [X, X]}, r"expectation.f: must be one SymPy expression of the states; got \[X, X\] \(list\)"),
        ({"f": sp.Symbol("Z")}, r"may use the problem's symbols and time only; got \['Z'\]"),
        ({"f": sp.Symbol("X")}, "with other assumptions"),
        ({"tolerance": 0}, "expectation.tolerance: must be positive and finite; got 0"),
        ({"tolerance": "small"}, "expectation.tolerance: must be positive and finite; got 'small'"),
        ({"tolerance": float("nan")}, "expectation.tolerance: must be positive"),
        ({"budget": -1.0}, "expectation.budget: must be positive and finite; got -1.0"),
        ({"steps": 0}, "expectation.steps: must be a whole number from 1"),
        ({"refine": 1}, "expectation.refine: must be a whole number from 2 to 64; got 1"),
        ({"refine": 2.5}, "expectation.refine: must be a whole number"),
        ({"levels": 1}, "expectation.levels: must be a whole number from 2"),
        ({"first_paths": 10}, "expectation.first_paths: must be a whole number from 100"),
        ({"seed": -1}, "expectation.seed: must be a whole number from 0"),
        ({"threads": 0}, "expectation.threads: must be a whole number from 1"),
        ({"time": 0.0}, "time: must be positive and finite; got 0.0"),
        ({"dtype": "float16"}, "dtype: must be 'float32' or 'float64'; got 'float16'"),
        ({"scheme": "sgd"}, "scheme: sgd is a minibatch optimiser"),
        ({"scheme": "adaptive-euler"}, "expectation.scheme: levels need steps that are the same for all paths"),
        ({"scheme": "heun"}, "integrates stratonovich equations"),
        ({"scheme": "rk4"}, "scheme: must be one of"),
        ({"start": {}}, r"start\[X\]: every parameter needs one value; got nothing"),
        ({"start": {X: [1.0, 2.0]}}, r"expectation.start\[X\]: paths are not known in advance"),
        ({"parameters": {"mu": 1.0}}, r"parameters\[mu\]: must name a parameter of the SDE"),
    ],
)
def test_what_it_refuses(changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is compiled."""
    monkeypatch.setattr(level_paths, "load", lambda *_: pytest.fail("compiled"))
    settings: dict[str, Any] = {"sde": GBM, "f": X, "tolerance": 0.1, "start": {X: 1.0}, "time": 1.0} | changes
    with pytest.raises(ValueError, match=message):
        expectation(settings.pop("sde"), settings.pop("f"), **settings)


def test_a_loss_is_taken_as_its_sde() -> None:
    """Against `simulate` of the loss at steps four times shorter than the last level's."""
    loss, sgd, start = LIBRARY["rescaling"].build(), SGD(0.01), {"u": 1.2, "w": 0.6}
    u, w = (p.symbols[0] for p in loss.parameters)
    found = expectation(SDE.from_loss(loss, sgd), u**2 - w**2, tolerance=2e-3, start=start, time=2.0, steps=32)
    flow = simulate(loss, sgd, start=start, time=2.0, dt=0.001, paths=2000, observables={"C": u**2 - w**2}, save_at=2)
    assert found.value == pytest.approx(float(flow.C.sel(statistic="mean")[-1]), abs=3 * found.error)
