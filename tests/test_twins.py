"""The package against its brute-force twins (tests/naive), which know nothing but the mathematics."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import simulate, train
from symbolic import SGD, Bernoulli, Dataset, Loss, Moments, Normal
from symbolic.functions.activations import relu
from symbolic.library import LIBRARY, matrix_factorization, rescaling, softmax_regression, two_layer_relu
from symbolic.problem.optimizer import t
from symbolic.theory import derive
from tests.naive.cases import CASES
from tests.naive.equilibrium import lambda_star, pull
from tests.naive.gradient import gradients, values
from tests.naive.noise import Noise, noise_class
from tests.naive.sgd import euler_maruyama, every_run, heavy_ball, root, sgd, sgd_on_rows, step_moments
from tests.naive.symmetry import Algebra, algebra

LOSSES = {
    **{name: entry.build for name, entry in LIBRARY.items() if name != "two-layer-linear"},
    **{f"case-{name}": build for name, (build, _) in CASES.items()},
}
"""Every named loss (two-layer-linear is matrix-factorization by another name) and every hand-written one."""

SAMPLED = ("case-relu-gaussian", "case-exponential")
"""Losses whose noise the package samples: no polynomial in the data, no data set."""

HEAVY = ("deep-linear", "cp-factorization", "tucker-factorization")
"""Losses with so many data symbols that bisection on the averages over their tensor rule takes minutes."""

PATHS = 200_000

DRAWS = 4096
"""Samples behind Theory.sigma where the law has no exact average, as symbolic.noise.covariance documents."""


@cache
def _loss(name: str) -> Loss:
    return LOSSES[name]()


@cache
def _theory(name: str) -> Any:
    return derive(_loss(name))


@cache
def _noise(name: str) -> Noise:
    return Noise(_loss(name), samples=400_000 if name == "case-relu-gaussian" else 0)


def _point(name: str, seed: int = 0) -> np.ndarray:
    """The library's start, or a fixed generic point."""
    if name in LIBRARY:
        return _loss(name).pack(dict(LIBRARY[name].start))
    return 0.4 + 0.6 * np.random.default_rng(seed).normal(size=_loss(name).dimension)


def _counts(found: Algebra) -> tuple[int, int, int, int]:
    return found.dimension, found.symmetric, found.antisymmetric, found.charges


def _field(charge: Any) -> tuple[np.ndarray, np.ndarray]:
    A, b = charge.generator
    return np.array(A.tolist(), dtype=float), np.array(b.tolist(), dtype=float).ravel()


@pytest.mark.parametrize("name", LOSSES)
def test_the_algebra_has_the_dimensions_that_one_svd_finds(name: str) -> None:
    theory = _theory(name)
    found = theory.algebra
    mine = _counts(algebra(_loss(name)))
    assert (found.dimension, found.symmetric, found.antisymmetric, theory.independent_charges) == mine
    if name.startswith("case-"):
        assert mine == CASES[name.removeprefix("case-")][1]
    else:
        assert mine[3] == LIBRARY[name].independent


@pytest.mark.parametrize("name", LOSSES)
def test_every_generator_is_orthogonal_to_every_gradient(name: str) -> None:
    """docs/theory.md eq. (2.1)."""
    noise, theory = _noise(name), _theory(name)
    theta = _point(name, seed=5) + 0.01
    g = gradients(_loss(name), theta, noise.z[:2000])
    for charge in theory.charges:
        A, b = _field(charge)
        assert np.array_equal(A, A.T)
        v = A @ theta + b
        assert np.abs(g @ v).max() <= 1e-12 * (np.abs(g) @ np.abs(v)).max() + 1e-15


@pytest.mark.parametrize("name", LOSSES)
def test_noise_and_mean_gradient_agree(name: str) -> None:
    theory, noise, theta = _theory(name), _noise(name), _point(name)
    sigma, mean = noise.sigma(theta), noise.mean_gradient(theta)
    off, moved = np.abs(theory.sigma(theta) - sigma), np.abs(theory.mean_gradient(theta) - mean)
    if theory.noise.source == "samples":  # an average over DRAWS samples: to five standard errors of it
        g = gradients(_loss(name), theta, noise.z) - mean
        fourth = np.sqrt(np.einsum("n,ni,nj->ij", noise.weights, g**2, g**2) / DRAWS)
        assert (off <= 5 * fourth + 1e-12).all()
        assert (moved <= 5 * np.sqrt(np.diag(sigma) / DRAWS)).all()
    else:
        assert off.max() <= 1e-11 * np.abs(sigma).max() + 1e-30
        assert moved.max() <= 1e-11 * np.sqrt(np.trace(sigma)) + 1e-15


@pytest.mark.parametrize("name", [n for n in LOSSES if n not in SAMPLED])
def test_charges_have_the_sign_class_of_their_noise(name: str) -> None:
    theta, sgd_ = _point(name), SGD(0.01, batch_size=2)
    theory = _theory(name)
    there = theory.equilibrium(at=_loss(name).unpack(theta), sgd=sgd_).charges if theory.charges else ()
    for charge, local in zip(theory.charges, there, strict=True):
        mine = noise_class(_noise(name), theta, _field(charge)[0])
        assert charge.classification == local.classification == mine
    if name in LIBRARY:
        assert {c.classification for c in theory.charges} <= {LIBRARY[name].class_}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", [n for n in LOSSES if n not in (*SAMPLED, *HEAVY)])
def test_the_equilibrium_is_where_bisection_finds_it(name: str, weight_decay: float) -> None:
    """docs/theory.md eq. (4.2)."""
    theory, theta = _theory(name), _point(name)
    if not theory.charges:
        return
    settings = SGD(0.01, batch_size=2, weight_decay=weight_decay)
    for charge, local in zip(
        theory.charges, theory.equilibrium(at=_loss(name).unpack(theta), sgd=settings).charges, strict=True
    ):
        A, b = _field(charge)
        if charge.classification == "frozen":
            continue
        mine = lambda_star(_noise(name), A, b, theta, temperature=0.005, weight_decay=weight_decay)
        assert local.lambda_star == pytest.approx(mine, abs=1e-8)
        if np.isfinite(mine):
            left = pull(_noise(name), A, b, np.asarray(local.theta), temperature=0.005, weight_decay=weight_decay)
            scale = abs(pull(_noise(name), A, b, theta, temperature=0.005, weight_decay=weight_decay))
            assert abs(left) <= 1e-9 * scale


@pytest.mark.parametrize("name", [n for n in LOSSES if n not in SAMPLED])
def test_the_drift_and_the_increment_of_a_charge_are_the_naive_ones(name: str) -> None:
    """docs/theory.md eq. (3.2), (3.4), (3.5)."""
    theory, noise, theta, rate, batch, decay = _theory(name), _noise(name), _point(name), 0.03, 3, 0.2
    on_rows = [block.name for block in _loss(name).blocks] == ["dataset"]
    settings = SGD(rate, batch_size=batch, weight_decay=decay, replacement=not on_rows)
    rows = _rows(_loss(name), settings)
    slow, of_a_batch = step_moments(noise, theta, rate=1.0, batch=batch, weight_decay=decay, population=rows)
    mean, covariance = step_moments(noise, theta, rate=rate, batch=batch, weight_decay=decay, population=rows)
    gbar, sigma = noise.mean_gradient(theta), noise.sigma(theta)
    for charge in theory.charges:
        A, b = _field(charge)
        slope, size = 2 * (A @ theta + b), 1e-11 * (1 + np.abs(A).max() + np.abs(b).max())
        drift = rate * np.sum(A * of_a_batch) + slope @ slow
        assert charge.drift_at(theta, settings) == pytest.approx(drift, abs=size, rel=1e-9)
        step = slope @ mean + np.sum(A * covariance) + mean @ A @ mean
        assert charge.increment_at(theta, settings) == pytest.approx(step, abs=size, rel=1e-9)
        second = rate * np.sum(A * sigma) / batch + rate * gbar @ A @ gbar
        bare = SGD(rate, batch_size=batch)
        assert charge.drift_at(theta, bare, order=2) == pytest.approx(second, abs=size, rel=1e-9)


@pytest.mark.parametrize(
    "name",
    [n for n in LOSSES if n == "case-determinant" or (n in LIBRARY and LIBRARY[n].class_ == "convergent")],
)
def test_the_joint_equilibrium_silences_every_charge_and_keeps_the_loss(name: str) -> None:
    theory, noise, theta = _theory(name), _noise(name), _point(name)
    joint = np.asarray(theory.equilibrium(at=_loss(name).unpack(theta), sgd=SGD(0.01)).joint.theta)
    traces = np.array([[noise.trace(p, _field(c)[0]) for c in theory.charges] for p in (theta, joint)])
    assert np.abs(traces[1]).max() <= 1e-8 * np.abs(traces[0]).max()
    assert np.allclose(values(_loss(name), joint, noise.z), values(_loss(name), theta, noise.z), rtol=1e-8, atol=1e-10)


def test_bare_moments_stand_for_any_law_that_has_them() -> None:
    u, w, x, y = sp.symbols("u w x y", real=True)
    rows = np.array([-1.0, 0.0, 2.0, 3.0])
    powers = [sp.Rational(int((rows**k).sum()), 4) for k in range(1, 5)]
    value, theta = (u * w * x - y) ** 2, np.array([0.7, -1.1])
    y_law = {y: Normal(sp.Rational(1, 2), 1)}
    bare = derive(Loss(value, [u, w], {x: Moments(powers), **y_law}))
    full = Noise(Loss(value, [u, w], [Dataset({x: rows}), y_law]))
    assert np.allclose(bare.sigma(theta), full.sigma(theta), rtol=1e-12)
    assert np.allclose(bare.mean_gradient(theta), full.mean_gradient(theta), rtol=1e-12)


# One step: its mean and covariance over many paths


def _differ(increments: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Largest deviation of a sample's mean and covariance entries, in standard errors (exact entries: 1e-12 counts as
    one)."""
    n = len(increments)
    first = increments - mean
    worst = np.abs(first.mean(axis=0)) / (first.std(axis=0) / np.sqrt(n) + 1e-12)
    centred = increments - increments.mean(axis=0)
    out = worst.max()
    for i in range(len(mean)):
        prod = centred[:, i : i + 1] * centred[:, i:]
        error = prod.std(axis=0) / np.sqrt(n) + 1e-12
        out = max(out, (np.abs(prod.sum(axis=0) / (n - 1) - covariance[i, i:]) / error).max())
    return float(out)


def _flat(loss: Loss, run: Any, time: int = -1) -> np.ndarray:
    """theta of every path at a saved time, shape (P, D)."""
    return np.concatenate([run[p.name].values[:, time].reshape(run.sizes["path"], -1) for p in loss.parameters], axis=1)


_MATRIX = matrix_factorization(2, 1, 2)
_RELU = two_layer_relu(rows=20)
_STEPS: dict[str, tuple[Loss, np.ndarray, SGD]] = {
    "rescaling": (rescaling(), np.array([1.2, 0.6]), SGD(0.05, batch_size=2, weight_decay=0.3)),
    "matrices": (_MATRIX, np.array([0.9, -0.4, 0.5, 0.8]), SGD(0.05, weight_decay=0.2)),
    "relu": (_RELU, np.array([0.9, 0.2, -0.8, 0.1, 0.1, 0.2, 0.6, 0.5]), SGD(0.1, batch_size=3, weight_decay=0.1)),
    "relu-no-replacement": (
        _RELU,
        np.array([0.9, 0.2, -0.8, 0.1, 0.1, 0.2, 0.6, 0.5]),
        SGD(0.1, batch_size=3, weight_decay=0.1, replacement=False),
    ),
    "softmax": (
        softmax_regression(),
        np.array([0.3, -0.1, 0.0, 0.2, -0.2, 0.1, 0.1, 0.0, -0.2]),
        SGD(0.1, batch_size=4),
    ),
}


def _rows(loss: Loss, s: SGD) -> int | None:
    return None if s.replacement else loss.blocks[0].size


def _one_sgd_step(case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    loss, theta, s = _STEPS[case]
    run = train(loss, s, start=loss.unpack(theta), steps=1, paths=PATHS, seed=3, save_at=2, keep="paths")
    mean, covariance = step_moments(
        Noise(loss),
        theta,
        rate=s.learning_rate,
        batch=s.batch_size,
        weight_decay=s.weight_decay,
        population=_rows(loss, s),
    )
    assert np.array_equal(_flat(loss, run, 0), np.broadcast_to(theta, (PATHS, len(theta))))
    return _flat(loss, run) - theta, mean, covariance


@pytest.mark.parametrize("case", _STEPS)
def test_one_sgd_step_has_the_naive_mean_and_covariance(case: str) -> None:
    assert _differ(*_one_sgd_step(case)) < 5


@pytest.mark.parametrize("case", _STEPS)
def test_one_euler_maruyama_step_has_the_naive_mean_and_covariance(case: str) -> None:
    """docs/theory.md eq. (1.1)."""
    loss, theta, s = _STEPS[case]
    dt, noise = 0.02, Noise(loss)
    run = simulate(loss, s, start=loss.unpack(theta), time=dt, dt=dt, paths=PATHS, seed=4, save_at=2, keep="paths")
    _, of_a_step = step_moments(noise, theta, rate=s.learning_rate, batch=s.batch_size, population=_rows(loss, s))
    mean = -dt * (noise.mean_gradient(theta) + s.weight_decay * theta)
    assert _differ(_flat(loss, run) - theta, mean, dt / s.learning_rate * of_a_step) < 5


@pytest.mark.parametrize("case", ["rescaling", "relu-no-replacement"])
def test_the_comparison_of_moments_refuses_wrong_ones(case: str) -> None:
    increments, mean, covariance = _one_sgd_step(case)
    assert _differ(increments, mean, 1.1 * covariance) > 5
    assert _differ(increments, 1.1 * mean, covariance) > 5
    assert _differ(increments, mean, covariance + np.outer(mean, mean)) > 5


def test_the_comparison_of_moments_accepts_the_naive_dynamics() -> None:
    loss, theta, _ = _STEPS["rescaling"]
    noise, dt, T = Noise(loss), 0.02, 0.025
    normals = np.random.default_rng(0).normal(size=(2000, 1, 2))
    ends = np.array([euler_maruyama(noise, theta, xi, dt=dt, temperature=T)[-1] for xi in normals])
    assert np.allclose(root(noise.sigma(theta)) @ root(noise.sigma(theta)), noise.sigma(theta), atol=1e-14)
    assert _differ(ends - theta, -dt * noise.mean_gradient(theta), dt * T * noise.sigma(theta)) < 5


# Whole paths: gradient descent step by step, and the exact law of a few SGD steps

_WARMUP = sp.Min(t + sp.Rational(1, 5), 1)


def _warmup(time: float) -> float:
    return min(time + 0.2, 1.0)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("case", ["rescaling", "relu", "softmax"])
def test_full_batch_descent_is_the_naive_one(case: str, momentum: float) -> None:
    loss, theta, _ = _STEPS[case]
    settings = SGD(0.02, weight_decay=0.1, momentum=momentum, schedule=_WARMUP)
    run = train(loss, settings, start=loss.unpack(theta), steps=50, paths=2, save_at=51, keep="paths", full_batch=True)
    noise = Noise(loss)
    mine = heavy_ball(
        theta,
        lambda k, at: noise.mean_gradient(at),
        50,
        rate=0.02,
        weight_decay=0.1,
        momentum=momentum,
        multiplier=_warmup,
    )
    for k in range(51):
        assert np.abs(_flat(loss, run, k) - mine[k]).max() <= 1e-12
    assert run.time.values == pytest.approx(0.02 * np.arange(51), abs=1e-12)


def _misfit(found: np.ndarray, ends: np.ndarray, chances: np.ndarray) -> float:
    """Chi-squared of found end points (P, D) against the exact discrete law, in its standard deviations; inf if a point
    is no end."""
    line = np.random.default_rng(1).normal(size=found.shape[1])
    order = np.argsort(ends @ line)
    spots = (ends @ line)[order]
    first = np.concatenate([[True], np.diff(spots) > 1e-11])
    spots, chances = spots[first], np.add.reduceat(chances[order], np.flatnonzero(first))
    at = np.clip(np.searchsorted((spots[1:] + spots[:-1]) / 2, found @ line), 0, len(spots) - 1)
    if np.abs(spots[at] - found @ line).max() > 1e-11:
        return np.inf
    expected = len(found) * chances
    chi = ((np.bincount(at, minlength=len(spots)) - expected) ** 2 / expected).sum()
    return float((chi - (len(spots) - 1)) / np.sqrt(2 * (len(spots) - 1)))


def _few_rows() -> Loss:
    a, w, x, y = sp.symbols("a w x y", real=True)
    return Loss((a * relu(w * x) - y) ** 2, [a, w], Dataset({x: [1.0, -0.7, 0.4, 1.6], y: [0.5, 0.2, -0.3, 1.1]}))


@pytest.mark.parametrize("replacement", [True, False])
def test_a_few_sgd_steps_have_the_exact_law_of_all_minibatch_sequences(replacement: bool) -> None:
    loss, theta = _few_rows(), np.array([0.8, 0.9])
    settings = SGD(0.1, batch_size=2, weight_decay=0.2, momentum=0.7, replacement=replacement, schedule=_WARMUP)
    run = train(loss, settings, start=loss.unpack(theta), steps=2, paths=PATHS, seed=5, save_at=2, keep="paths")
    runs = every_run(4, 2, 2, replacement)

    def ends(**changes: float) -> np.ndarray:
        options: dict[str, Any] = {"rate": 0.1, "weight_decay": 0.2, "momentum": 0.7, "multiplier": _warmup, **changes}
        return np.array([sgd_on_rows(loss, theta, rows, **options)[-1] for rows in runs])

    chances, found = np.full(len(runs), 1 / len(runs)), _flat(loss, run)
    assert _misfit(found, ends(), chances) < 5
    assert _misfit(found, ends(momentum=0.69), chances) == np.inf
    assert _misfit(found, ends(weight_decay=0.21), chances) == np.inf
    assert _misfit(found[: PATHS // 2], ends(), np.linspace(0.8, 1.2, len(runs)) / len(runs)) > 5


def test_a_few_sgd_steps_have_the_exact_law_of_all_bernoulli_draws() -> None:
    u, w, x, y = sp.symbols("u w x y", real=True)
    loss = Loss((u * w * (x + 1) - y) ** 2, [u, w], {x: Bernoulli(sp.Rational(1, 4)), y: Bernoulli(sp.Rational(3, 5))})
    theta = np.array([0.8, 0.9])
    run = train(
        loss, SGD(0.1, momentum=0.5), start=loss.unpack(theta), steps=3, paths=PATHS, seed=6, save_at=2, keep="paths"
    )
    z = np.array(list(product([0.0, 1.0], repeat=2)))
    weight = np.where(z[:, 0] == 1, 0.25, 0.75) * np.where(z[:, 1] == 1, 0.6, 0.4)
    runs = np.array(list(product(range(4), repeat=3)))
    ends = np.array([sgd(loss, theta, z[r][:, None], rate=0.1, momentum=0.5)[-1] for r in runs])
    assert _misfit(_flat(loss, run), ends, weight[runs].prod(axis=1)) < 5
    assert _misfit(_flat(loss, run), ends, np.full(64, 1 / 64)) > 5
