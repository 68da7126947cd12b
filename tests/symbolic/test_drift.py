"""Drifts against exact enumeration and Monte Carlo of single SGD steps: a factor of two anywhere fails."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Dataset, Loss
from symbolic.exact.probe import sample
from symbolic.exact.tape import Tape
from symbolic.library import LIBRARY
from symbolic.sgd import t, warmup
from symbolic.theory import Theory, derive
from tests.symbolic import losses
from tests.symbolic.losses import u, w, x, y


def tiny(expression: sp.Expr, parameters: list, rows: int = 4) -> Loss:
    rng = np.random.default_rng(3)
    return Loss(expression, parameters, Dataset({x: rng.normal(1, 1, rows), y: rng.normal(0, 1, rows)}))


def tiny_losses() -> list[Loss]:
    return [
        tiny((u * w * x - y) ** 2, [u, w]),
        tiny(((u + 1) * (w - 2) * x - y) ** 2, [u, w]),
        tiny(sp.log(1 + sp.exp(u * w * x)) - y * u * w * x, [u, w]),
        tiny(sp.exp(-((u - w) * x)) + y * (u - w), [u, w]),
        losses.softmax(3, 1, rows=4),
    ]


def steps(loss: Loss, theta: np.ndarray, sgd: SGD) -> np.ndarray:
    """theta after one step, for every minibatch that can be drawn: (number, D)."""
    table = loss.blocks[0].parameters["table"].T
    inputs = np.concatenate([np.repeat(theta[:, None], table.shape[1], 1), table])
    g = Tape([loss.expression], (*loss.theta, *loss.z)).gradient(inputs, len(theta))[0]
    rows = range(table.shape[1])
    batches = product(rows, repeat=sgd.batch_size) if sgd.replacement else combinations(rows, sgd.batch_size)
    means = np.array([g[:, list(batch)].mean(axis=1) for batch in batches])
    return theta - sgd.learning_rate * (means + sgd.weight_decay * theta)


SETTINGS = [
    SGD(0.1),
    SGD(0.1, batch_size=2),
    SGD(0.1, batch_size=2, replacement=False),
    SGD(0.2, batch_size=3, weight_decay=0.3, replacement=False),
    SGD(0.05, batch_size=4, weight_decay=0.1, replacement=False),
]


@pytest.mark.parametrize("sgd", SETTINGS, ids=str)
def test_increment_is_exact_over_all_minibatches(sgd: SGD) -> None:
    rng = np.random.default_rng(4)
    for loss in tiny_losses():
        theory = derive(loss)
        assert theory.charges
        for charge in theory.charges:
            theta = rng.normal(size=loss.dimension)
            truth = np.mean(charge.value(steps(loss, theta, sgd)) - charge.value(theta))
            predicted = charge.increment_at(theta, sgd)
            assert predicted == pytest.approx(truth, rel=1e-10, abs=1e-13)
            if theory.noise.source == "features":
                at: Any = dict(zip(loss.theta, theta, strict=True))
                assert float(charge.increment(sgd).subs(at)) == pytest.approx(truth, rel=1e-9, abs=1e-13)


def test_pathwise_identity_on_every_library_loss() -> None:
    """C_{k+1} = (1 - eta lambda)^2 C_k + eta^2 g^T A g for homogeneous charges, whatever the minibatch."""
    rng, sgd = np.random.default_rng(5), SGD(0.01, batch_size=3, weight_decay=0.1)
    for name, entry in LIBRARY.items():
        loss = entry.build()
        data = np.concatenate([s for b in loss.blocks if (s := sample(b, 3, rng, {})) is not None])
        theta = loss.pack(entry.start)
        inputs = np.concatenate([np.repeat(theta[:, None], 3, 1), data])
        g = Tape([loss.expression], (*loss.theta, *loss.z)).gradient(inputs, len(theta))[0].mean(axis=1)
        after = theta - sgd.learning_rate * (g + sgd.weight_decay * theta)
        for charge in derive(loss).charges:
            if charge.b.any():
                continue
            eta = sgd.learning_rate
            expected = (1 - eta * sgd.weight_decay) ** 2 * charge.value(theta) + eta**2 * g @ charge.A @ g
            assert charge.value(after) == pytest.approx(expected, rel=1e-11, abs=1e-13), name


@pytest.mark.parametrize("name", [n for n, entry in LIBRARY.items() if entry.independent])
def test_increment_and_drift_agree_with_one_random_step(name: str) -> None:
    """Monte Carlo over 40 000 steps of SGD, and Euler's dt -> 0 limit of the SDE's drift read off their eta^2 part."""
    entry = LIBRARY[name]
    loss, rng, n = entry.build(), np.random.default_rng(6), 40_000
    theory, theta = derive(loss), loss.pack(entry.start)
    draws = np.concatenate([s for b in loss.blocks if (s := sample(b, n, rng, {})) is not None])
    inputs = np.concatenate([np.repeat(theta[:, None], n, 1), draws])
    g = Tape([loss.expression], (*loss.theta, *loss.z)).gradient(inputs, len(theta))[0]
    sgd, mean = SGD(0.1, weight_decay=0.2), theory.mean_gradient(theta)
    for charge in theory.charges:
        change = charge.value(
            (theta[:, None] - sgd.learning_rate * (g + sgd.weight_decay * theta[:, None])).T
        ) - charge.value(theta)
        error = change.std() / np.sqrt(n)
        assert abs(change.mean() - charge.increment_at(theta, sgd)) < 5 * error + 1e-12
        noise = np.einsum("in,ij,jn->n", g - mean[:, None], charge.A, g - mean[:, None])
        decay = -2 * sgd.weight_decay * (theta @ charge.A @ theta + charge.b @ theta)
        truth = decay + sgd.temperature * noise.mean()
        assert abs(charge.drift_at(theta, sgd) - truth) < 5 * sgd.temperature * noise.std() / np.sqrt(n) + 1e-12


def test_rescaling_drift_is_the_known_rate() -> None:
    """dC/dt = -(4 T C_2(v) + 2 lambda) C with C_2 = alpha_1 v^2 - 2 alpha_2 v + alpha_3. Source: 2308.06671, THEORY section 3."""
    mean, std, noise = sp.symbols("mu s q", positive=True)
    charge = derive(losses.rescaling(mean, std, noise)).charges[0]
    v = u * w
    a1 = 4 * mean**2 * std**2 + 2 * std**4
    a3 = a1 + noise**2 * (mean**2 + std**2)
    rate = 4 * sp.Symbol("T", nonnegative=True) * (a1 * v**2 - 2 * a1 * v + a3) + 2 * sp.Symbol(
        "lambda_wd", nonnegative=True
    )
    assert sp.expand(charge.drift() + rate * (u**2 - w**2)) == 0


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_second_order_is_the_modified_gradient_flow(decay: float) -> None:
    """Order 2 adds <grad C, -grad(eta/4 |grad L|^2)> with weight decay in L, also for b != 0. Source: Li, Tai, E."""
    sgd = SGD(0.1, weight_decay=decay)
    for expression in ((u * w * x - y) ** 2, ((u + 1) * (w - 2) * x - y) ** 2):
        loss = tiny(expression, [u, w])
        charge = derive(loss).charges[0]
        table = loss.blocks[0].parameters["table"]
        risk = sum(expression.subs({x: a, y: b}) for a, b in table) / len(table) + sp.nsimplify(decay) / 2 * (
            u**2 + w**2
        )
        slope = sp.Matrix([sp.diff(risk, u), sp.diff(risk, w)])
        extra = [-sp.diff(slope.dot(slope), s) / 40 for s in (u, w)]
        at = {u: 0.7, w: -1.1}
        truth = sp.Add(*(sp.diff(charge.expression, s) * f for s, f in zip((u, w), extra, strict=True))).subs(at)
        difference = charge.drift(sgd, order=2) - charge.drift(sgd)
        assert float(difference.subs(at)) == pytest.approx(float(truth), rel=1e-10)
        assert charge.drift_at(np.array([0.7, -1.1]), sgd, order=2) == pytest.approx(
            float(charge.drift(sgd, order=2).subs(at))
        )


def test_matrix_law_of_factorisation() -> None:
    """d(U^T U - W W^T)/dt = T (W Gamma_W W^T - U^T Gamma_U U), entry by entry. Source: THEORY section 3."""
    theory = derive(losses.linear_net([3, 2, 4], (2, sp.Rational(1, 3))))
    rng = np.random.default_rng(7)
    theta = rng.normal(size=14)
    U, W = theta[:6].reshape(3, 2), theta[6:].reshape(2, 4)
    left, right = gammas(U @ W, np.eye(4) * 4, np.eye(3) / 9)
    truth = W @ right @ W.T - U.T @ left @ U
    drifts = [c.drift_at(theta, SGD(1.0)) for c in theory.charges]
    assert drifts == pytest.approx([truth[0, 0], truth[0, 1], truth[1, 1]], rel=1e-9)


def gammas(v: np.ndarray, cov_x: np.ndarray, cov_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gamma_U and Gamma_W of |V x - y|^2, x and y independent centred normals: G = 2 r x^T, r = V x - y (Isserlis)."""
    cov_r, cross = v @ cov_x @ v.T + cov_y, v @ cov_x
    left = 4 * (cov_r * np.trace(cov_x) + cross @ cross.T)
    right = 4 * (cov_x * np.trace(cov_r) + cross.T @ cross)
    return left, right


def test_schedule_momentum_and_sampling_enter_the_drift() -> None:
    charge = derive(losses.rescaling()).charges[0]
    plain = charge.drift(SGD(0.1, weight_decay=0.2))
    noise = charge.drift(SGD(0.1))
    decay = plain - noise
    factor = sp.Min(t / 5, 1)
    assert (
        sp.expand(charge.drift(SGD(0.1, weight_decay=0.2, schedule=warmup(5))) - factor * decay - factor**2 * noise)
        == 0
    )
    assert sp.expand(charge.drift(SGD(0.1, weight_decay=0.2, momentum=0.5)) - 2 * decay - 4 * noise) == 0
    with pytest.raises(ValueError, match="increment: exact only"):
        charge.increment(SGD(0.1, momentum=0.5))
    with pytest.raises(ValueError, match="drift: order"):
        charge.drift(SGD(0.1), order=3)
    with pytest.raises(ValueError, match="schedule"):
        charge.drift_at(np.ones(2), SGD(0.1, schedule=warmup(5)))
    with pytest.raises(ValueError, match="plain SGD"):
        charge.drift(SGD(0.1, momentum=0.5), order=2)


def test_drift_without_an_expression_names_its_trace() -> None:
    theory: Theory = derive(losses.softmax(3, 1))
    text = str(theory.charges[-1].drift())
    assert "Tr[Sigma*A" in text
    assert "lambda_wd" in text
