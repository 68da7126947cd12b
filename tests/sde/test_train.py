"""Discrete SGD against a plain NumPy twin, its noise, and the identity of charges over ten thousand steps."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import sympy as sp

from sde import SDE, SGD, simulate, train, verify
from symbolic import Bernoulli, Dataset, Laplace, Loss, Moments, Normal, Uniform, derive
from symbolic.errors import InputError
from symbolic.library import LIBRARY
from symbolic.problem.optimizer import cosine, warmup
from symbolic.theory import Theory

u, w, x, y = sp.symbols("u w x y", real=True)
RNG = np.random.default_rng(0)
POINTS, TARGETS = RNG.normal(size=16), RNG.normal(size=16)
ROWS = Dataset({x: POINTS, y: TARGETS})
LOSSES = {
    "polynomial": Loss((u * w * x - y) ** 2, [u, w], ROWS),
    "tanh": Loss((u * sp.tanh(w * x) - y) ** 2, [u, w], ROWS),
}
RESCALING = LIBRARY["rescaling"].build()


def slope(name: str, theta: np.ndarray) -> np.ndarray:
    """Mean gradient over all rows, by hand."""
    p, q = theta
    if name == "polynomial":
        r = 2 * (p * q * POINTS - TARGETS)
        return np.array([np.mean(r * q * POINTS), np.mean(r * p * POINTS)])
    f = np.tanh(q * POINTS)
    r = 2 * (p * f - TARGETS)
    return np.array([np.mean(r * f), np.mean(r * p * (1 - f**2) * POINTS)])


SETTINGS = {
    "plain": SGD(0.05),
    "decay": SGD(0.05, weight_decay=0.3),
    "momentum": SGD(0.02, momentum=0.9),
    "all": SGD(0.02, weight_decay=0.2, momentum=0.8, schedule=warmup(0.5)),
    "cosine": SGD(0.05, schedule=cosine(1.5, 0.1)),
    "warmup": SGD(0.05, schedule=warmup(1.0) * cosine(3.0)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_full_batch_against_a_plain_twin(name: str, setting: str) -> None:
    """PyTorch's update, step by step: 1e-12 relative after 60 steps. docs/theory.md eq. (1.2)."""
    sgd = SETTINGS[setting]
    run = train(
        LOSSES[name], sgd, start={"u": 0.8, "w": -0.4}, steps=60, paths=2, full_batch=True, save_at=61, keep="paths"
    )
    theta, velocity = np.array([0.8, -0.4]), np.zeros(2)
    for k in range(61):
        assert [run.u.values[1, k], run.w.values[1, k]] == pytest.approx(theta, rel=1e-12)
        rate = sgd.learning_rate * float(sgd.factor(np.array([sgd.learning_rate * k]))[0])
        velocity = sgd.momentum * velocity + slope(name, theta) + sgd.weight_decay * theta
        theta = theta - rate * velocity
    assert run.attrs["kind"] == "gd" and run.attrs["steps"] == 60


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_all_rows_without_replacement_is_the_full_batch(name: str) -> None:
    settings: dict[str, Any] = {"start": {"u": 0.8, "w": -0.4}, "steps": 30, "paths": 3, "save_at": 4, "keep": "paths"}
    whole = train(LOSSES[name], SGD(0.05), full_batch=True, **settings)
    batch = train(LOSSES[name], SGD(0.05, 16, replacement=False), **settings)
    assert batch.u.values == pytest.approx(whole.u.values, rel=1e-12)
    assert not np.allclose(
        train(LOSSES[name], SGD(0.05, 16), **settings).u.values[:, -1], whole.u.values[:, -1], rtol=1e-6
    )


def test_a_batch_larger_than_the_data_is_refused_without_replacement_only() -> None:
    settings: dict[str, Any] = {"start": {"u": 0.8, "w": -0.4}, "steps": 1, "paths": 2, "save_at": 2}
    for loss in LOSSES.values():
        with pytest.raises(
            ValueError,
            match=(
                r"SGD.batch_size: without replacement a minibatch cannot exceed the data set; got 17 \(int\) of 16 rows"
            ),
        ):
            train(loss, SGD(0.05, 17, replacement=False), **settings)
    assert train(LOSSES["tanh"], SGD(0.05, 17), **settings).attrs["paths"] == 2


@pytest.mark.parametrize(("batch", "replacement"), [(1, True), (4, True), (4, False), (15, False)])
@pytest.mark.parametrize("name", LOSSES)
def test_one_step_has_the_minibatch_covariance(name: str, batch: int, replacement: bool) -> None:
    """eta^2 Sigma/S times (N-S)/(N-1) without replacement; mean -eta grad L: each within 5 standard errors.
    docs/theory.md eq. (1.2), (1.3)."""
    loss, theta, n = LOSSES[name], np.array([0.8, -0.4]), 20_000
    run = train(
        loss,
        SGD(0.05, batch, replacement=replacement),
        start={"u": 0.8, "w": -0.4},
        steps=1,
        paths=n,
        seed=4,
        save_at=2,
        keep="paths",
    )
    moved = np.stack([run.u.values[:, -1], run.w.values[:, -1]]) - theta[:, None]
    factor = (16 - batch) / 15 if not replacement else 1.0
    expected = 0.05**2 * derive(loss).sigma(theta) / batch * factor
    assert (np.abs(moved.mean(axis=1) + 0.05 * slope(name, theta)) < 5 * moved.std(axis=1) / np.sqrt(n)).all()
    centred = moved - moved.mean(axis=1, keepdims=True)
    for i in range(2):
        for j in range(2):
            products = centred[i] * centred[j]
            assert abs(products.mean() - expected[i, j]) < 5 * products.std() / np.sqrt(n)


def test_rows_with_fresh_label_noise_have_no_single_temperature_without_replacement() -> None:
    """The rows' share of the noise shrinks by (N-S)/(N-1), the fresh noise's does not: SGD has that variance (5
    standard errors), and the SDE, whose noise is one Sigma, is refused instead of being run with either factor."""
    loss = Loss(u * x + u * y, [u], [Dataset({x: np.arange(8.0)}), {y: Normal(0, 0.1)}])
    sgd, n = SGD(0.1, 7, replacement=False), 20_000
    expected = 0.01 * (5.25 / 7 * (1 / 7) + 0.01 / 7)
    discrete = train(loss, sgd, start={u: 0.0}, steps=1, paths=n, save_at=2).u.sel(statistic="std").values[-1]
    assert abs(discrete**2 / expected - 1) < 5 * np.sqrt(2 / n)
    with pytest.raises(ValueError, match="SGD.replacement: without replacement"):
        simulate(loss, sgd, start={u: 0.0}, time=0.1, dt=0.1, paths=n, save_at=2)
    with pytest.raises(ValueError, match="SGD.replacement: without replacement"):
        verify(loss, sgd, start={u: 0.0}, time=1.0)


@pytest.mark.parametrize("law", [Uniform(-1, 2), Bernoulli(0.3), Normal(0.5, 2), Laplace(0.5, 1)])
def test_fresh_samples_follow_their_law(law: Any) -> None:
    """Means of theta after one step of l = theta (x - 2 x^2): exact moments, 5 standard errors."""
    loss = Loss(u * (x - 2 * x**2), [u], {x: law})
    run = train(loss, SGD(1.0, 3), start={u: 0.0}, steps=1, paths=20_000, seed=9, save_at=2, keep="paths")
    out = run.u.values[:, -1]
    theory = derive(loss)
    assert abs(out.mean() + theory.mean_gradient(np.zeros(1))[0]) < 5 * out.std() / np.sqrt(len(out))
    assert abs(out.var() / (theory.sigma(np.zeros(1))[0, 0] / 3) - 1) < 5 * np.sqrt(
        ((out - out.mean()) ** 4).mean() / out.var() ** 2 / len(out)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [2, 5, 9])
def test_samples_of_a_batch_are_independent(batch: int, dtype: str) -> None:
    """The mean of S draws has variance Var/S and entries do not mix, for normals, uniforms and coins alike: 5 standard
    errors."""
    names, z = sp.symbols("q0:6", real=True), sp.symbols("z0:6", real=True)
    laws = {z[:3]: Normal(0, 1), z[3]: Uniform(-1, 1), z[4]: Bernoulli(0.5), z[5]: Laplace(0, 1)}
    loss, n = Loss(-sp.Add(*(p * s for p, s in zip(names, z, strict=True))), list(names), laws), 20_000
    run = train(
        loss,
        SGD(1.0, batch),
        start=dict.fromkeys(names, 0.0),
        steps=1,
        paths=n,
        seed=3,
        save_at=2,
        keep="paths",
        dtype=dtype,
    )
    drawn = np.stack([run[p.name].values[:, -1].astype(float) for p in names])
    variances = np.array([1, 1, 1, 1 / 3, 1 / 4, 2]) / batch
    assert (np.abs(drawn.var(axis=1) / variances - 1) < 5 * np.sqrt(2 / n)).all()
    assert np.abs(np.corrcoef(drawn) - np.eye(6)).max() < 5 / np.sqrt(n)


def test_steps_are_independent() -> None:
    """Increments of l = -theta x over 50 steps: no correlation between steps or paths, variance of the sum 50."""
    run = train(
        Loss(-u * x, [u], {x: Normal(0, 1)}),
        SGD(1.0),
        start={u: 0.0},
        steps=50,
        paths=4000,
        seed=2,
        save_at=51,
        keep="paths",
    )
    increments = np.diff(run.u.values, axis=1)
    assert np.abs(np.corrcoef(increments.T) - np.eye(50)).max() < 6 / np.sqrt(4000)
    assert abs(run.u.values[:, -1].var() / 50 - 1) < 5 * np.sqrt(2 / 4000)


def test_time_is_rate_times_steps_and_saves_land_on_steps() -> None:
    run = train(RESCALING, SGD(0.01), start={"u": 1.0, "w": 0.5}, steps=100, paths=2, save_at=5)
    assert run.time.values == pytest.approx([0, 0.25, 0.5, 0.75, 1.0], rel=1e-14)
    assert (
        run.u.dims == ("statistic", "time")
        and run.attrs["kind"] == "sgd"
        and run.attrs["scheme"] == "sgd"
        and run.attrs["dt"] == 0.01
    )
    chosen = train(RESCALING, SGD(0.01), start={"u": 1.0, "w": 0.5}, steps=100, paths=2, save_at=[0.25, 0.5])
    assert chosen.time.values == pytest.approx([0.25, 0.5, 1.0])
    assert np.array_equal(chosen.u.values, run.u.sel(time=chosen.time, method="nearest").values)


def test_momentum_keeps_its_velocity_to_itself() -> None:
    run = train(RESCALING, SGD(0.01, momentum=0.9), start={"u": 1.0, "w": 0.5}, steps=10, paths=2, save_at=2)
    assert set(run.data_vars) == {"u", "w", "exploded"} and run.attrs["scheme"] == "sgd-momentum"


def test_a_network_with_gaussian_inputs_trains_though_its_sde_is_refused() -> None:
    loss = Loss((u * sp.tanh(w * x) - x) ** 2, [u, w], {x: Normal(0, 1)})
    run = train(loss, SGD(0.05, 8), start={"u": 0.5, "w": 0.5}, steps=400, paths=64, save_at=2)
    assert np.isfinite(run.u.values).all() and run.u.sel(statistic="mean").values[-1] > 0.6
    with pytest.raises(ValueError, match=r"train\(full_batch=True\): gradient descent needs the mean gradient"):
        train(loss, SGD(0.05), start={"u": 0.5, "w": 0.5}, steps=4, paths=1, full_batch=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: train(cast("Any", SDE([u], [0], [[1]])), SGD(0.1), start={u: 1.0}, steps=3),
            "train: needs a Loss; got SDE",
        ),
        (
            lambda: train(RESCALING, SGD(0.1), start={"u": 1.0, "w": 1.0}, steps=0),
            "steps: must be a whole number of at least 1",
        ),
        (
            lambda: train(RESCALING, SGD(0.1), start={"u": 1.0, "w": 1.0}, steps=3, save_at=[0.15]),
            "must be multiples of the learning rate",
        ),
        (
            lambda: train(Loss((u * x - 1) ** 2, [u], {x: Moments([0, 1, 0, 3])}), SGD(0.1), start={u: 1.0}, steps=3),
            "only moments are given",
        ),
        (
            lambda: train(
                RESCALING, SGD(0.1, schedule=1 - sp.Symbol("t", real=True)), start={"u": 1.0, "w": 1.0}, steps=30
            ),
            "SGD.schedule: must be finite and not negative",
        ),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@cache
def theory_of(name: str) -> Theory:
    return derive(LIBRARY[name].build())


CHARGED = [name for name in LIBRARY if name != "two-layer-linear" and LIBRARY[name].independent]

PLAIN = ("rescaling", "net-a", "single-head-attention")
"""Quick without weight decay too."""
LONG = ("cp-factorization", "tucker-factorization", "deep-linear", "softmax-regression", "single-head-attention",
        "gated-mixture")  # fmt: skip
"""Slow with it; a step of every loss of the library is in tests/symbolic/test_drift.py."""


def residual(name: str, decay: float, flip: bool = False) -> float:
    """Largest deviation from C_{k+1} = (1 - eta wd)^2 C_k + eta^2 g^T A g over 10^4 steps, each charge's recursion run
    from C_0, relative to the largest |theta|^T |A| |theta| + 2 |b|^T |theta| met.

    With a linear part the identity gains -2 (eta wd) (eta g)^T b and its linear part decays by 1 - eta wd, from <g, A
    theta + b> = 0.
    """
    theory, steps, entry = theory_of(name), 10_000, LIBRARY[name]
    rate = min(entry.sgd.learning_rate, 0.01)
    run = train(
        theory.loss,
        SGD(rate, 2, weight_decay=decay),
        start=dict(entry.start),
        steps=steps,
        paths=2,
        seed=1,
        save_at=steps + 1,
        keep="paths",
    )
    theta = np.concatenate([run[p.name].values.reshape(2, steps + 1, -1) for p in theory.loss.parameters], axis=2)
    assert np.isfinite(theta).all() and run.attrs["exploded_paths"] == 0
    s, worst = 1 - rate * decay, 0.0
    delta = s * theta[:, :-1] - theta[:, 1:]
    assert np.abs(delta).max() > 0
    for charge in theory.charges:
        A, b = np.array(charge.A, dtype=float), np.array(charge.b, dtype=float).ravel()
        if flip:
            A = A.copy()
            A[tuple(np.argwhere(A)[-1])] *= -1
        quadratic, linear = np.einsum("pki,ij,pkj->pk", theta, A, theta), 2 * theta @ b
        gain = np.einsum("pki,ij,pkj->pk", delta, A, delta)
        extra, push = -2 * delta @ b, 2 * s * (delta @ b)
        scale = (
            np.einsum("pki,ij,pkj->pk", np.abs(theta), np.abs(A), np.abs(theta)) + 2 * np.abs(theta) @ np.abs(b)
        ).max()
        first, second = quadratic[:, 0].copy(), linear[:, 0].copy()
        for k in range(steps):
            first, second = s**2 * first + gain[:, k] + push[:, k], s * second + extra[:, k]
            worst = max(worst, float(np.abs(first + second - quadratic[:, k + 1] - linear[:, k + 1]).max()) / scale)
    return worst


@pytest.mark.parametrize(
    ("decay", "name"),
    [
        pytest.param(decay, name, marks=[pytest.mark.slow] * (name in LONG if decay else name not in PLAIN))
        for decay in (0.0, 0.1)
        for name in CHARGED
    ],
)
def test_pathwise_identity_over_ten_thousand_steps(name: str, decay: float) -> None:
    """docs/theory.md eq. (3.3)."""
    assert residual(name, decay) < 1e-10


@pytest.mark.parametrize("name", ["rescaling", "matrix-factorization", "two-layer-relu"])
def test_a_flipped_sign_breaks_the_identity(name: str) -> None:
    assert residual(name, 0.0, flip=True) > 1e-4


def test_a_network_without_charges_has_none_to_check() -> None:
    assert not theory_of("two-layer-tanh").charges and "two-layer-tanh" not in CHARGED and len(CHARGED) >= 8


def test_what_is_derived_and_simulated_refuses_nesterov() -> None:
    loss, sgd = RESCALING, SGD(0.01, momentum=0.9, nesterov=True)
    theory, start = derive(loss), {"u": 1.0, "w": 0.5}
    for ask in (
        lambda: theory.charges[0].drift(sgd),
        lambda: theory.equilibrium(start, sgd),
        lambda: simulate(loss, sgd, start=start, time=0.1, paths=2),
        lambda: verify(loss, sgd, start=start, time=1.0, paths=10),
    ):
        with pytest.raises(InputError, match=r"SGD\.nesterov: is for train alone"):
            ask()
