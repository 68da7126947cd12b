"""A tanh network has no charge, and where its symmetry is nearly one SGD normalises the hidden representation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
import xarray as xr

from sde.api.training import train
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from symbolic.predictions import Breaking
from symbolic.predictions.horizon import BreakingSizes
from symbolic.problem.distributions import Dataset
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import parameters
from symbolic.theory import Theory, derive

SEED, ROWS, NOISE = 1107, 256, 0.3
SPREAD = np.array([1.5, 0.5])
"""Standard deviations of the inputs."""
TARGET = 0.1 * np.array([[1.0, 0.2], [-0.1, 0.8]])
START = {"U": np.sqrt(0.3) * np.eye(2), "W": TARGET / np.sqrt(0.3)}
"""A minimum of the linear network, whose second layer is three times as strong as for |U| = |W|."""
RATE, TIME = 0.02, 800.0
GENTLE, DESCENT = SGD(RATE), SGD(5 * RATE)
NEAR = 0.2
"""Margin of the logarithm of a ratio: tanh differs from a line by a tenth of the hidden units' size here, the noise in
U and W likewise."""
ALIGNED = 0.05
STEP = 0.15
"""Margin of ratios of single steps: theory tells the mean exactly and the variance up to 3 %, the step's square; more
steps could decide less."""
SINGLE = {"start, two values": 50_000, "start, normal": 50_000, "equilibrium, normal": 200_000}
"""Single steps from a point, in quick mode."""


class Case(NamedTuple):
    """The same inputs and labels under a tanh and under no activation. Tr(U'U - WW') is watched under both."""

    tanh: Theory
    linear: Theory
    broken: Breaking
    inputs: np.ndarray
    labels: np.ndarray


def _data(normal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and label noise (ROWS, 2), uncorrelated, of exact covariances; inputs normal or of two values each."""
    rng = np.random.default_rng(SEED)
    signs = np.repeat([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], ROWS // 4, axis=0)
    x = _white(rng.normal(size=(ROWS, 2)), np.ones((ROWS, 1))) if normal else signs
    return x * SPREAD, NOISE * _white(rng.normal(size=(ROWS, 2)), np.hstack([np.ones((ROWS, 1)), x]))


def _white(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    left = values - others @ np.linalg.lstsq(others, values, rcond=None)[0]
    return np.linalg.solve(np.linalg.cholesky(left.T @ left / ROWS), left.T).T


@cache
def case(normal: bool) -> Case:
    """Both networks on inputs that are normal, or of two values each."""
    inputs, noise = _data(normal)
    U, W, x, y = parameters(U=(2, 2), W=(2, 2), x=(2,), y=(2,))
    data = Dataset({x: inputs, y: inputs @ TARGET.T + noise})
    hidden = W * x
    made = []
    for name, layer in (("two-layer tanh", hidden.applyfunc(sp.tanh)), ("two-layer linear", hidden)):
        residual = U * layer - y
        made.append(derive(Loss(residual.dot(residual), {"U": U, "W": W}, data, name=name)))
    return Case(made[0], made[1], made[0].breaking({"U": 1, "W": -1}), inputs, noise)


@cache
def theories() -> Mapping[str, Theory]:
    """Of both networks on inputs of two values."""
    return {"tanh": case(False).tanh, "linear": case(False).linear}


def representations(run: Mapping[Any, Any], of: Case) -> tuple[np.ndarray, np.ndarray]:
    """W Sigma_x W'/Tr Sigma_x and U' Sigma_e U/Tr Sigma_e (..., 2, 2) of U and W (..., 2, 2)."""
    x, e = (values.T @ values / ROWS for values in (of.inputs, of.labels))
    U, W = (np.asarray(run[name]) for name in ("U", "W"))
    return W @ x @ W.swapaxes(-1, -2) / np.trace(x), U.swapaxes(-1, -2) @ e @ U / np.trace(e)


def log_ratio(run: Mapping[Any, Any], of: Case) -> np.ndarray:
    """Of the traces of both (...)."""
    of_w, of_u = representations(run, of)
    return np.log(np.trace(of_w, axis1=-2, axis2=-1) / np.trace(of_u, axis1=-2, axis2=-1))


def alignment(run: Mapping[Any, Any], of: Case) -> np.ndarray:
    """Cosine between both (...)."""
    of_w, of_u = representations(run, of)
    inner = lambda a, b: np.sum(a * b, axis=(-2, -1))  # noqa: E731
    return inner(of_w, of_u) / np.sqrt(inner(of_w, of_w) * inner(of_u, of_u))


def _train(loss: Loss, effort: Effort, start: Any = None, sgd: SGD = GENTLE, **more: Any) -> xr.Dataset:
    told = {"steps": round(TIME / sgd.learning_rate), "paths": effort(64, 1000), "save_at": 41, "seed": SEED}
    watched = {"C": "sum(U**2) - sum(W**2)"}
    given = {"start": START if start is None else start, "observables": watched, "threads": effort.threads}
    return train(loss, sgd, keep="paths", **{**told, **given, **more})


def measure(effort: Effort) -> Finding:
    """Both kinds of inputs: training, and single steps from a point, where breaking and noise are told apart."""
    runs, sizes, steps = dict[str, xr.Dataset](), dict[str, BreakingSizes](), dict[str, np.ndarray]()
    for k, normal in enumerate((False, True)):
        of, name = case(normal), ("two values", "normal")[normal]
        rest = of.linear.equilibrium(START, GENTLE).joint
        assert rest is not None
        for activation, theory in (("tanh", of.tanh), ("linear", of.linear)):
            runs[f"{activation}, {name}"] = _train(theory.loss, effort)
        runs[f"descent, {name}"] = _train(of.tanh.loss, effort, sgd=DESCENT, paths=1, full_batch=True)
        points = {"start": START, "equilibrium": of.linear.loss.unpack(rest.theta)}
        for key in (k for k in SINGLE if k.endswith(f", {name}")):
            at = points[key.split(", ")[0]]
            sizes[key] = of.broken.at(at, GENTLE)
            one = _train(of.tanh.loss, effort, at, steps=1, paths=SINGLE[key] * effort(1, 4), save_at=2)
            steps[key] = np.diff(one.C.values, axis=1)[:, 0] / RATE
        effort.tick((k + 1) / 2)
    rows, wrong = _rows(runs, sizes, steps)
    return Finding(rows=rows, wrong=wrong, figures=_figures(runs), notes=_report(sizes))


def _rows(
    runs: Mapping[str, xr.Dataset], sizes: Mapping[str, BreakingSizes], steps: Mapping[str, np.ndarray]
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    two, normal = case(False), case(True)
    ratio = Row.of_mean(
        "normalisation",
        "SGD, inputs of two values: Tr WΣ_xWᵀ/Tr Σ_x and Tr UᵀΣ_εU/Tr Σ_ε end equal (logarithm of their ratio)",
        log_ratio(runs["tanh, two values"], two)[:, -1],
        0.0,
        NEAR,
    )
    cosine = Row.of_mean(
        "alignment",
        "SGD, inputs of two values: WΣ_xWᵀ and UᵀΣ_εU end aligned (cosine)",
        alignment(runs["tanh, two values"], two)[:, -1],
        1.0,
        ALIGNED,
    )
    still = runs["descent, two values"]
    descent = Row.exact(
        "descent",
        "gradient descent, inputs of two values: both stay as at the start (logarithm of their ratio)",
        float(log_ratio(still, two)[0, -1]),
        float(log_ratio(START, two)),
        NEAR / 2,
    )
    refuted = Row.of_mean(
        "normalisation, normal inputs",
        "SGD, normal inputs: Tr WΣ_xWᵀ/Tr Σ_x and Tr UᵀΣ_εU/Tr Σ_ε end equal (logarithm of their ratio)",
        log_ratio(runs["tanh, normal"], normal)[:, -1],
        0.0,
        NEAR,
        expected="refuted",
        reason=(
            "at the linear network's equilibrium the breaking drift is"
            f" {sizes['equilibrium, normal'].ratio:.2g} times the noise: tanh on normal inputs is no line, and descent"
            " itself lowers the first layer"
        ),
    )
    drifts = {key: _drift(key, sizes[key], found) for key, found in steps.items()}
    last = "equilibrium, normal"
    spread = Row.of_mean(
        f"diffusion, {last}",
        f"one step of SGD from the {_words(last)}: C spreads as its diffusion tells (ratio of variances)",
        np.square(steps[last] - steps[last].mean()) * RATE / sizes[last].diffusion,
        1.0,
        STEP,
    )
    horizon = _horizon(runs, sizes["start, normal"])
    at = sizes[last]
    wrong = (
        cosine.against(float(alignment(START, two)), "noise leaves the representation as it is"),
        descent.against(0.0, "gradient descent normalises as SGD does"),
        drifts[last].against(at.noise / _whole(at), "the symmetric theory alone, without breaking"),
        spread.against(0.0, "no diffusion, as of a charge"),
    )
    return (ratio, cosine, descent, refuted, *drifts.values(), spread, horizon), wrong


def _words(key: str) -> str:
    point, inputs = key.split(", ")
    where = {"start": "start", "equilibrium": "linear network's equilibrium"}[point]
    return f"{where}, {'normal inputs' if inputs == 'normal' else 'inputs of two values'}"


def _whole(sizes: BreakingSizes) -> float:
    """The mean of a discrete step over eta."""
    assert sizes.finite_step is not None
    return sizes.drift + sizes.finite_step


def _drift(key: str, sizes: BreakingSizes, found: np.ndarray) -> Row:
    return Row.of_mean(
        f"drift, {key}",
        f"one step of SGD from the {_words(key)}: C = |U|² − |W|² moves by breaking and noise together (ratio)",
        found / _whole(sizes),
        1.0,
        STEP,
    )


def _horizon(runs: Mapping[str, xr.Dataset], sizes: BreakingSizes) -> Row:
    """How far C is from the linear network's when the report says that it may be a tenth of its size."""
    time = np.asarray(runs["tanh, normal"].time.values)
    k = int(np.searchsorted(time, sizes.holds_until, side="right")) - 1
    means = np.asarray(runs["linear, normal"].C.values)[:, k].mean()
    return Row.of_mean(
        "horizon",
        f"SGD, normal inputs, t = {time[k]:g}: C is within a tenth of its size of the linear network's until t ="
        f" {sizes.holds_until:.3g} (mean distance over size)",
        np.abs(np.asarray(runs["tanh, normal"].C.values)[:, k] - means) / sizes.size,
        sizes.deviation(float(time[k])) / sizes.size,
        (0.0, 0.1),
    )


def _report(sizes: Mapping[str, BreakingSizes]) -> tuple[str, ...]:
    """Breaking, noise and diffusion side by side."""
    return tuple(
        f"C = |U|² − |W|² at the {_words(key)}: breaking drift {s.breaking:.3g}, noise drift {s.noise:.3g}, diffusion"
        f" {s.diffusion:.3g} per unit of time; breaking over noise {s.ratio:.2g}; the symmetric theory is right to a"
        f" tenth of the size until t = {s.holds_until:.3g}."
        for key, s in sizes.items()
    )


def _figures(runs: Mapping[str, xr.Dataset]) -> Mapping[str, object]:
    figure, panels = drawing.panels(2)
    for axes, normal in zip(panels, (False, True), strict=True):
        of, name = case(normal), ("two values", "normal")[normal]
        for kind, words, colour in (("tanh", "SGD", "sgd"), ("descent", "gradient descent", "gd")):
            run = runs[f"{kind}, {name}"]
            drawing.band(axes, run.time.values, log_ratio(run, of), words, colour)
        linear = runs[f"linear, {name}"]
        drawing.theory(axes, linear.time.values, log_ratio(linear, of).mean(axis=0), "SGD without activation", ":")
        drawing.theory(axes, linear.time.values[[0, -1]], np.zeros(2), "noise equilibrium without activation")
        drawing.labels(axes, "time t = ηk", f"log-ratio, inputs {'normal' if normal else 'of two values'}")
    return {"ln of Tr WΣ_xWᵀ/Tr Σ_x over Tr UᵀΣ_εU/Tr Σ_ε: mean and 5 to 95 % of paths": figure}


RESULT = Result(
    name="tanh-representations",
    section="paper",
    position=70,
    title="A tanh network has no symmetry, and SGD normalises its representation where it nearly has one",
    claim=(
        "In a two-layer linear network SGD ends where WΣ_xWᵀ and UᵀΣ_εU, each over the trace of its Σ, are one matrix,"
        " and gradient descent keeps what it started with. A tanh layer has no charge, yet while its hidden units are"
        " small the symmetry is nearly one, and SGD does nearly the same."
    ),
    source="arXiv 2402.07193: two-layer tanh networks, and what is said where the symmetry is not exact",
    beyond=(
        "How good an approximate symmetry is, told beforehand: breaking drift, noise drift and diffusion side by side,"
        " and each measured. On inputs of two values a tanh network can be exactly linear and SGD normalises; on normal"
        " inputs with the same covariance the breaking drift is several times the noise, and it does not."
    ),
    seed=SEED,
    seconds=(6, 12),
    theories=theories,
    measure=measure,
)
